"""Reads on PostgreSQL: a few threads, each with a connection of its own, so that the event loop never waits for one.

Sessions of readers are no connections: whoever is connected to us by HTTP holds none here.
"""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple, Protocol, TypeVar

from ...domain.errors import ReattachError, StoreUnavailable
from ...domain.identifiers import RunId
from ...domain.ports import Damaged, Record
from ..codec import Codec, stream_id
from ..driver import Connection, DriverError, Lost, domain_errors
from ..postgres import array, integers
from . import postgres_statements as sql
from .reads import Reads

T = TypeVar("T")

READERS_MAX: Final = 4
"""Connections a process reads through. Reads are short: more would wait for the processor, not for the database."""

WAITING_MAX: Final = 10_000
"""Reads that may wait for one of them; with more the store is said to be unavailable."""


FRAMES_MAX: Final = 65_536
PAGE_FRAMES_MIN: Final = 16
"""Frames one statement reads of all runs that are asked for at once; and of each at least, however many they are."""


class Page(NamedTuple):
    """A part of a run's log, as it is asked for."""

    run_id: RunId
    after_seq: int
    limit_frames: int


class PostgresReads(Reads):
    """The read side of the store on one connection, for one thread at a time."""

    _begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
    _end = "COMMIT"  # after a ROLLBACK the driver forgets every statement it has prepared

    def __init__(self, connect: Callable[[], Connection], codec: Codec) -> None:
        super().__init__(connect, codec)
        self.check()  # each of several knows the generation, which is part of cursors

    def read_many(self, pages: Sequence[Page]) -> list[list[Record | Damaged]]:
        """The records after each of these places, in one statement."""
        limit = max(PAGE_FRAMES_MIN, FRAMES_MAX // len(pages))
        limits = [min(limit, page.limit_frames) for page in pages]
        wanted = {
            "place": integers(range(len(pages))),
            "stream_id": array("uuid", [stream_id(page.run_id) for page in pages]),
            "seq": integers(page.after_seq + 1 for page in pages),
            "upto": integers(page.after_seq + frames for page, frames in zip(pages, limits, strict=True)),
        }
        found: list[list[Record | Damaged]] = [[] for _ in pages]
        with domain_errors():
            rows = self._connection.execute(sql.SELECT_PAGES, wanted).fetchall()
            for number, group in groupby(rows, key=itemgetter(0)):
                place = int(number)
                page, selected = pages[place], [row[1:] for row in group]
                found[place] = self._items(page.run_id, selected, page.after_seq, limits[place])
        return found


class Ask(Protocol):
    """Asks the read side, as `ReadPool.ask`."""

    async def __call__(self, question: Callable[[PostgresReads], Any], /) -> Any: ...


class GroupedReads:
    """Logs are read in groups: what is asked for in one turn of the loop is one statement.

    A commit elsewhere has every watched run looked at; whether these are ten or a thousand, it is one question.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._asked: list[tuple[Page, asyncio.Future[list[Record | Damaged]]]] = []
        self._tasks: dict[asyncio.Task[None], None] = {}

    async def read(self, page: Page) -> Sequence[Record | Damaged]:
        """The records after a place. Raises StoreUnavailable or RecordDamaged."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Record | Damaged]] = loop.create_future()
        if not self._asked:
            loop.call_soon(self._begin)
        self._asked.append((page, answer))
        return await answer

    def _begin(self) -> None:
        asked, self._asked = self._asked, []
        task = asyncio.get_running_loop().create_task(self._answer(asked))
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    async def _answer(self, asked: list[tuple[Page, asyncio.Future[list[Record | Damaged]]]]) -> None:
        try:
            found = await self._ask(lambda reads: reads.read_many([page for page, _ in asked]))
        except Exception as error:  # noqa: BLE001  - it is everybody's who asked
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), records in zip(asked, found, strict=True):
            if not answer.done():
                answer.set_result(records)


class ReadPool:
    """Asks questions of `Reads` on threads. A connection that has gone is made anew, and the question asked again."""

    def __init__(self, connect: Callable[[], PostgresReads]) -> None:
        self._connect = connect
        self._threads: ThreadPoolExecutor | None = None
        self._idle: list[PostgresReads] = []
        self._waiting = 0

    @property
    def busy(self) -> bool:
        """Whether somebody waits for an answer."""
        return self._waiting > 0

    async def ask(self, question: Callable[[PostgresReads], T]) -> T:
        """The answer. Raises StoreUnavailable or RecordDamaged."""
        if self._waiting >= WAITING_MAX:
            raise StoreUnavailable(f"{WAITING_MAX} reads are waiting.")
        if self._threads is None:
            self._threads = ThreadPoolExecutor(READERS_MAX, thread_name_prefix="reattach-reads")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer, question)
        finally:
            self._waiting -= 1

    async def close(self) -> None:
        """Answer what was asked, then close the connections."""
        threads, self._threads = self._threads, None
        if threads is not None:
            await asyncio.get_running_loop().run_in_executor(None, threads.shutdown)
        while self._idle:
            self._idle.pop().close()

    # On the threads.

    def _answer(self, question: Callable[[PostgresReads], T]) -> T:
        try:
            reads, fresh = self._idle.pop(), False
        except IndexError:  # none, or another thread has just taken the last one
            reads, fresh = self._connect(), True
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
