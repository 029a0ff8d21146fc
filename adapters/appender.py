"""The appender: one run's output on its way to the store, batched by the store's own pace.

At most one append is in flight per run; what arrives meanwhile is the next one. Thus a slow commit makes larger
batches, a fast one makes smaller ones, and nothing waits for a timer (unless `linger_s` asks for it).
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ..domain.agent import Output
from ..domain.application import Application
from ..domain.errors import StoreUnavailable
from ..domain.identifiers import RunId
from ..domain.ports import Append
from ..domain.scribe import Batch, Scribe

PENDING_FRAMES_MAX: Final = 1024
"""Frames written and not yet handed to the store; an agent that is ahead of this waits."""

PENDING_BYTES_MAX: Final = 1_048_576
"""Bytes likewise."""

YIELD_OUTPUTS: Final = 128
"""Outputs after which an agent that never waits lets the others run."""

RETRIES_MAX: Final = 5
"""Times an append whose outcome is unknown is sent again. The same append twice is one copy in the log."""

RETRY_S: Final = 0.1
"""Seconds before the first retry; doubled each time."""


class Appender:
    """Owns the scribe of one segment and the one task that appends what it wrote."""

    def __init__(self, application: Application, run_id: RunId, epoch: int, scribe: Scribe, linger_s: float) -> None:
        self.scribe = scribe
        self._application = application
        self._run_id = run_id
        self._epoch = epoch
        self._linger_s = linger_s
        self._outputs = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._settled = asyncio.Event()
        self._settled.set()
        self._error: Exception | None = None
        self._task = asyncio.get_running_loop().create_task(self._append_all())

    async def write(self, output: Output) -> None:
        """Write one output; returns at once unless the store is behind. Raises what the last append raised."""
        if self._error is not None:  # nobody makes room any more
            raise self._error
        self.scribe.write(output)
        self._settled.clear()
        self._arrived.set()
        self._outputs += 1
        if self.scribe.pending >= PENDING_FRAMES_MAX or self.scribe.pending_bytes >= PENDING_BYTES_MAX:
            self._room.clear()
            await self._room.wait()
        elif self._outputs % YIELD_OUTPUTS == 0:
            await asyncio.sleep(0)
        if self._error is not None:
            raise self._error

    async def flush(self) -> None:
        """Wait until everything written is durable. Raises what an append raised."""
        if self.scribe.pending and self._error is None:
            self._settled.clear()
            self._arrived.set()
        await self._settled.wait()
        if self._error is not None:
            raise self._error

    async def close(self) -> None:
        """Stop. What was not appended by now is dropped."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _append_all(self) -> None:
        try:
            while True:
                await self._arrived.wait()
                if self._linger_s > 0:
                    await asyncio.sleep(self._linger_s)
                self._arrived.clear()
                if self.scribe.pending:
                    batch = self.scribe.take()
                    self._room.set()
                    await self._append(batch)
                if not self.scribe.pending:
                    self._settled.set()
        except Exception as error:  # noqa: BLE001  - handed to the agent's side, which knows what each one means
            self._error = error
            self._room.set()
            self._settled.set()

    async def _append(self, batch: Batch) -> None:
        append = Append(self._run_id, self._epoch, batch)
        await patiently(lambda: self._application.append(append))


async def patiently(write: Callable[[], Awaitable[None]]) -> None:
    """Write, and again while the store is unavailable; a repeat of what did land is refused or harmless."""
    for retry in range(RETRIES_MAX):
        try:
            await write()
        except StoreUnavailable:
            await asyncio.sleep(RETRY_S * 2**retry)
        else:
            return
    await write()
