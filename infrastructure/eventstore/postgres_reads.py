"""Reads on PostgreSQL: a few threads, each with a connection of its own, so that the event loop never waits for one.

Sessions of readers are no connections: whoever is connected to us by HTTP holds none here.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from ...domain.errors import ReattachError, StoreUnavailable
from ..driver import DriverError, Lost
from .reads import Reads

T = TypeVar("T")

READERS_MAX: Final = 4
"""Connections a process reads through. Reads are short: more would wait for the processor, not for the database."""

WAITING_MAX: Final = 10_000
"""Reads that may wait for one of them; with more the store is said to be unavailable."""


class PostgresReads(Reads):
    """The read side of the store on one connection, for one thread at a time."""

    _begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class ReadPool:
    """Asks questions of `Reads` on threads. A connection that has gone is made anew, and the question asked again."""

    def __init__(self, connect: Callable[[], PostgresReads]) -> None:
        self._connect = connect
        self._threads = ThreadPoolExecutor(READERS_MAX, thread_name_prefix="reattach-reads")
        self._idle: list[PostgresReads] = []
        self._waiting = 0

    async def ask(self, question: Callable[[Reads], T]) -> T:
        """The answer. Raises StoreUnavailable or RecordDamaged."""
        if self._waiting >= WAITING_MAX:
            raise StoreUnavailable(f"{WAITING_MAX} reads are waiting.")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, question)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Answer what was asked, then close the connections."""
        await asyncio.get_running_loop().run_in_executor(None, self._threads.shutdown)
        while self._idle:
            self._idle.pop().close()

    # On the threads.

    def _answer(self, question: Callable[[Reads], T]) -> T:
        fresh = not self._idle
        reads = self._connect() if fresh else self._idle.pop()
        try:
            answer = question(reads)
        except ReattachError as error:
            if not isinstance(error.__cause__, DriverError):
                self._idle.append(reads)
                raise
            reads.close()
            if fresh or not isinstance(error.__cause__, Lost):
                raise
            self._drop_idle()
            return self._answer(question)
        except BaseException:
            reads.close()
            raise
        self._idle.append(reads)
        return answer

    def _drop_idle(self) -> None:
        """One connection has gone while nobody used it: the others have, too, or are made anew for little."""
        while self._idle:
            self._idle.pop().close()
