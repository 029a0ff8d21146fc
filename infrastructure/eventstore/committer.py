"""Group commit: whatever was asked for while the disk was busy goes into the next commit.

`Committer` collects, groups and tells; `ThreadCommitter` writes on a thread of its own, a simulator in line.
"""

import asyncio
import queue
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from ...domain.errors import StoreUnavailable
from ...domain.ports import News
from .writer import GroupWriter, Result, Work, Written, unavailable

QUEUE_MAX: Final = 10_000
"""Works that may wait; with more the store is said to be unavailable."""

GROUP_MAX: Final = 512
"""Works in one transaction."""

AGAIN_S: Final = 4.0
"""Seconds a work is done again and again because others are in its way; then its author gets the error."""

Tell = Callable[[Sequence[News]], None]
"""Takes the news of one group, on the event loop."""


class Entry(NamedTuple):
    """What was asked for, and who waits for it."""

    work: Work | None  # None: the question for foreign commits
    future: asyncio.Future[Any]
    until: float | None = None  # when it is given up, once it was done again


class Committer(ABC):
    """Runs works in groups. Says what goes together and who is told what; where it is written, a subclass says."""

    def __init__(self) -> None:
        self._arrived: list[Entry] = []
        self._waiting = 0
        self._open = False
        self.failing = False
        """Whether the last group could not be written (a full disk, a lock that is held for ever)."""

    async def start(self, tell: Tell) -> None:
        """Begin; `tell` gets the news of every commit, before its authors get their results."""
        self._loop = asyncio.get_running_loop()
        self._tell = tell
        self._open = True

    @abstractmethod
    async def close(self) -> None:
        """Finish what is queued, then stop."""

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
        self._arrived.append(Entry(work, future))
        return future

    def _hand_over(self) -> None:
        if self._arrived:
            entries, self._arrived = self._arrived, []
            self._queue_up(entries)

    # What a subclass brings: a queue, from which it takes groups of up to GROUP_MAX, and what writes.

    @abstractmethod
    def _queue_up(self, entries: list[Entry]) -> None:
        """Take these for writing, after those that came before. Called on the loop; each is delivered in the end."""

    @abstractmethod
    def _write(self, group: list[Work]) -> Written:
        """Write the group, as `GroupWriter.write`."""

    @abstractmethod
    def _foreign(self) -> Result:
        """The answer to `foreign_commits`."""

    def _written(self, group: Sequence[Entry]) -> Written:
        """Write the works of a group and answer its questions: a result for each entry, and the news."""
        works = [entry.work for entry in group if entry.work is not None]
        written = self._write(works) if works else Written([])
        results = iter(written.results)
        asked = [next(results) if entry.work is not None else self._foreign() for entry in group]
        return Written(asked, written.news)

    def _deliver(self, group: Sequence[Entry], written: Written) -> None:
        """Tell everybody what became of it. Called on the loop, group after group."""
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


class ThreadCommitter(Committer):
    """One thread, one connection. The event loop never waits for it; it calls the loop once a group."""

    def __init__(self, writer: GroupWriter) -> None:
        super().__init__()
        self._writer = writer
        self._queue: queue.SimpleQueue[list[Entry] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def start(self, tell: Tell) -> None:
        """Open the connection and begin. Raises StoreUnavailable."""
        await asyncio.to_thread(self._writer.open)
        self._ended = asyncio.get_running_loop().create_future()
        self._thread = threading.Thread(target=self._run, name="reattach-committer", daemon=True)
        self._thread.start()
        await super().start(tell)

    async def close(self) -> None:
        """Finish what is queued, then stop."""
        if self._thread is None or not self._open:
            return
        self._open = False
        self._hand_over()
        self._queue.put(None)
        await self._ended
        self._thread.join()

    def _queue_up(self, entries: list[Entry]) -> None:
        self._queue.put(entries)

    def _finish(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)

    # On the thread.

    def _run(self) -> None:
        open_for_more = True
        later: list[Entry] = []
        while open_for_more or later:
            arrived: list[Entry] = []
            if open_for_more:
                arrived, open_for_more = self._take(wait=not later)
            entries, later = later + arrived, []
            for begin in range(0, len(entries), GROUP_MAX):
                group = entries[begin : begin + GROUP_MAX]
                done, written, again = _settled(group, self._written(group))
                later += again
                if done:
                    self._call_loop(self._deliver, done, written)
        self._writer.close()
        self._call_loop(self._finish)

    def _take(self, *, wait: bool) -> tuple[list[Entry], bool]:
        """What has arrived, and whether more can."""
        entries: list[Entry] = []
        while True:
            try:
                arrived = self._queue.get(block=wait)
            except queue.Empty:
                return entries, True
            if arrived is None:
                return entries, False
            entries += arrived
            wait = False

    def _write(self, group: list[Work]) -> Written:
        try:
            return self._writer.write(group)
        except Exception as error:  # noqa: BLE001  - the thread must outlive a bug; its authors are told
            return unavailable(group, f"The writer failed: {error!r}.")

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


def _settled(group: Sequence[Entry], written: Written) -> tuple[list[Entry], Written, list[Entry]]:
    """Who is to be told, with their results; and who is done again with the next group."""
    if not any(result.again for result in written.results):
        return list(group), written, []
    now = time.monotonic()
    done: list[Entry] = []
    told = Written([], written.news)
    again: list[Entry] = []
    for entry, result in zip(group, written.results, strict=True):
        if result.again and (entry.until is None or now < entry.until):
            again.append(entry if entry.until is not None else entry._replace(until=now + AGAIN_S))
        else:
            done.append(entry)
            told.results.append(result)
    return done, told, again
