"""The producer of all benchmarks: an agent that yields measured texts when it is told to go.

The same generator feeds Reattach and the bare servers, so that both sides of a ratio pay the same for it.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final, Protocol

from reattach.domain.agent import Text

GATE_BYTES: Final = 16
"""A datagram at the gate says only `go on`."""


class HasInput(Protocol):
    """The part of an agent's context that the producer reads."""

    @property
    def input(self) -> Any: ...


def marker(index: int) -> str:
    """30 characters: which text this is, and when it was made (CLOCK_MONOTONIC). load.c reads them."""
    return f"@F{index:07d}T{time.monotonic_ns():019d}@"


class Gate:
    """A datagram socket in the file system; the producer stops at it until somebody sends."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.bind(path)

    async def opened(self) -> None:
        """Wait for one datagram."""
        await asyncio.get_running_loop().sock_recv(self._socket, GATE_BYTES)

    def close(self) -> None:
        """Remove the socket."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


async def bench(context: HasInput) -> AsyncIterator[Text]:
    """`bursts` times `frames` texts, `rate` a second (None: as fast as it can), each burst after its own opening.

    With `hold` the end waits for one more opening. Input: {"gate": path, "bursts", "frames", "rate", "hold"}.
    """
    script = context.input
    gate = Gate(script["gate"])
    rate = script.get("rate")
    try:
        for burst in range(script["bursts"]):
            await gate.opened()
            begun = time.monotonic()
            for index in range(script["frames"]):
                if rate is not None:
                    await asyncio.sleep(begun + index / rate - time.monotonic())
                yield Text(marker(burst * script["frames"] + index))
        if script.get("hold"):
            await gate.opened()
    finally:
        gate.close()
