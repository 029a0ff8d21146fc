"""Group commit on a thread of its own: whatever was asked for while the disk was busy goes into the next commit."""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple, Protocol

from ...domain.errors import StoreUnavailable
from ...domain.ports import Committed
from .writer import Result, Work, Writer, Written, unavailable

QUEUE_MAX: Final = 10_000
"""Works that may wait; with more the store is said to be unavailable."""

GROUP_MAX: Final = 512
"""Works in one transaction."""

Tell = Callable[[Sequence[Committed]], None]
"""Takes the news of one group, on the event loop."""


class Committer(Protocol):
    """Runs works in groups. The simulator brings one that runs in line."""

    async def start(self, tell: Tell) -> None:
        """Begin; `tell` gets the news of every commit, before its authors get their results."""
        ...

    def submit(self, work: Work) -> asyncio.Future[Any]:
        """Queue a work. The future gets its value once it is durable, or the error."""
        ...

    failing: bool
    """Whether the last group could not be written (a full disk, a lock that is held for ever)."""

    @property
    def waiting(self) -> int:
        """Works that are not durable yet."""
        ...

    def foreign_commits(self) -> asyncio.Future[bool]:
        """Whether anybody else has committed since this was last asked."""
        ...

    async def close(self) -> None:
        """Finish what is queued, then stop."""
        ...


class _Entry(NamedTuple):
    work: Work | None  # None: the question for foreign commits
    future: asyncio.Future[Any]


class ThreadCommitter:
    """One thread, one connection. The event loop never waits for it; it calls the loop once a group."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._queue: queue.SimpleQueue[list[_Entry] | None] = queue.SimpleQueue()
        self._arrived: list[_Entry] = []
        self._waiting = 0
        self.failing = False
        self._open = False
        self._thread: threading.Thread | None = None

    async def start(self, tell: Tell) -> None:
        """Open the connection and begin. Raises StoreUnavailable."""
        self._loop = asyncio.get_running_loop()
        self._tell = tell
        self._ended = self._loop.create_future()
        self._writer.open()
        self._thread = threading.Thread(target=self._run, name="reattach-committer", daemon=True)
        self._thread.start()
        self._open = True

    @property
    def waiting(self) -> int:
        """Works that are not durable yet."""
        return self._waiting

    def submit(self, work: Work) -> asyncio.Future[Any]:
        """Queue a work. The future gets its value once it is durable, or the error."""
        return self._enter(work)

    def foreign_commits(self) -> asyncio.Future[bool]:
        """Whether anybody else has committed since this was last asked."""
        return self._enter(None)

    def _enter(self, work: Work | None) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if not self._open or self._waiting >= QUEUE_MAX:
            why = f"{QUEUE_MAX} writes are waiting." if self._open else "It is not open."
            future.set_exception(StoreUnavailable(why))
            return future
        self._waiting += 1
        if not self._arrived:
            # What is asked for in one turn of the loop is handed over at once, and so lands in one group.
            self._loop.call_soon(self._hand_over)
        self._arrived.append(_Entry(work, future))
        return future

    def _hand_over(self) -> None:
        if self._arrived:
            self._queue.put(self._arrived)
            self._arrived = []

    async def close(self) -> None:
        """Finish what is queued, then stop."""
        if self._thread is None or not self._open:
            return
        self._open = False
        self._hand_over()
        self._queue.put(None)
        await self._ended
        self._thread.join()

    # On the thread.

    def _run(self) -> None:
        open_for_more = True
        while open_for_more:
            entries, open_for_more = self._take()
            for begin in range(0, len(entries), GROUP_MAX):
                group = entries[begin : begin + GROUP_MAX]
                self._call_loop(self._deliver, group, self._written(group))
        self._writer.close()
        self._call_loop(self._finish)

    def _take(self) -> tuple[list[_Entry], bool]:
        entries: list[_Entry] = []
        arrived = self._queue.get()
        while arrived is not None:
            entries += arrived
            try:
                arrived = self._queue.get_nowait()
            except queue.Empty:
                return entries, True
        return entries, False

    def _written(self, group: Sequence[_Entry]) -> Written:
        works = [entry.work for entry in group if entry.work is not None]
        try:
            written = self._writer.write(works) if works else Written([])
        except Exception as error:  # noqa: BLE001  - the thread must outlive a bug; its authors are told
            written = unavailable(works, f"The writer failed: {error!r}.")
        results = iter(written.results)
        asked = [next(results) if entry.work is not None else self._foreign() for entry in group]
        return Written(asked, written.news)

    def _foreign(self) -> Result:
        try:
            return Result(self._writer.foreign_commits())
        except Exception as error:  # noqa: BLE001  - as above
            return Result(error=error)

    def _call_loop(self, callback: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the loop was closed before the store: nobody is left to be told
            self._open = False

    # On the loop again.

    def _deliver(self, group: Sequence[_Entry], written: Written) -> None:
        self._waiting -= len(group)
        writes = [r.error for e, r in zip(group, written.results, strict=True) if e.work is not None]
        if writes:
            self.failing = all(isinstance(error, StoreUnavailable) for error in writes)
        if written.news:
            self._tell(written.news)
        for entry, result in zip(group, written.results, strict=True):
            if entry.future.done():  # its author has gone; the work stands all the same
                continue
            if result.error is None:
                entry.future.set_result(result.value)
            else:
                entry.future.set_exception(result.error)

    def _finish(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)
