"""The production store without its thread and its file: writer and reads in line, on one SQLite in memory.

Group commit stays what it is: `InlineCommitter` has the base of the one that runs on a thread, and does on the loop, in
steps that take simulated time, what that one's thread does.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import Context, copy_context
from typing import Any, Literal, cast

from ...domain.ports import Clock
from ...infrastructure.codec import Codec
from ...infrastructure.eventstore.committer import GROUP_MAX, Committer, Entry
from ...infrastructure.eventstore.library import Library
from ...infrastructure.eventstore.recorder import Recorder
from ...infrastructure.eventstore.writer import Result, Work, Writer, Written, unavailable
from ..violation import Violation
from . import core as c
from .database import Memory, Refusing, memory
from .stored import NONE, StoredCore

Fate = Literal["commit", "lost", "unknown"]
"""Of a group: written and told; not written, and its authors get an error; written, and they get one all the same."""


class SqliteCore(StoredCore):
    """Implements `Core` by the production code on SQLite. Call `end` when the world is over.

    `connection` is that of a database which is there already; without one, it is a new one in memory.
    """

    def __init__(self, clock: Clock, connection: Memory | None = None) -> None:
        codec = Codec()
        self._memory = connection or memory()
        self._library = Library(Recorder(lambda: self._memory), codec)
        self._refuses = False
        super().__init__(Writer(self._connect, self._library, codec, clock), lambda: self._memory, codec)

    def end(self) -> None:
        """Let go of the database."""
        self._library.close()
        self._memory.end()

    @contextmanager
    def _refusing(self) -> Generator[None]:
        self._refuses = True
        try:
            yield
        finally:
            self._refuses = False

    def _connect(self) -> sqlite3.Connection:
        return cast("sqlite3.Connection", Refusing(self._memory)) if self._refuses else self._memory

    def _rows(self, statement: str, parameters: Mapping[str, Any] = NONE) -> list[Any]:
        return self._memory.execute(statement, parameters).fetchall()


class InlineCommitter(Committer):
    """One process's way into a core. As on the thread, one group is written at a time; meanwhile the next one gathers.

    `delay` and `reply_delay` (seconds) are asked for each group: from when it could be written until it is, and from
    there until its authors are told. `fate` says what becomes of it. Nothing is written once the process is not
    `alive`; what is on its way while the process lives is written whatever the process does.
    """

    def __init__(
        self,
        core: c.Core,
        *,
        delay: Callable[[], float] = lambda: 0.0,
        reply_delay: Callable[[], float] = lambda: 0.0,
        fate: Callable[[Sequence[Work]], Fate] = lambda _: "commit",
        alive: Callable[[], bool] = lambda: True,
    ) -> None:
        super().__init__()
        self._core = core
        self._delay, self._reply_delay, self._fate, self._alive = delay, reply_delay, fate, alive
        self._queue: list[Entry] = []
        self._replies: deque[tuple[Sequence[Entry], Written]] = deque()
        self._context: Context | None = None
        self._busy = False
        self._own = 0
        self._seen = core.commits
        self._ended: asyncio.Future[None] | None = None
        self.writing = False
        """Whether the group that `core.on_commit` is told of is this process's own, and will be told to its authors."""

    @property
    def forgotten(self) -> int:
        """Works that count as waiting, but are not on any part of their way."""
        told = sum(len(group) for group, _ in self._replies)
        return self._waiting - len(self._arrived) - len(self._queue) - told

    async def close(self) -> None:
        """Finish what is queued, then stop."""
        if not self._open:
            return
        self._open = False
        self._hand_over()
        if self._waiting:
            self._ended = self._loop.create_future()
            await self._ended

    def _queue_up(self, entries: list[Entry]) -> None:
        self._context = copy_context()  # that of the first author: its process's
        self._queue += entries
        if not self._busy:
            self._begin_group()

    def _begin_group(self) -> None:
        self._busy = True
        outlives = getattr(self._loop, "call_world", self._loop.call_later)
        outlives(self._delay(), self._write_group)

    def _write_group(self) -> None:
        if not self._alive():
            return
        group, self._queue = self._queue[:GROUP_MAX], self._queue[GROUP_MAX:]
        written = Written([])
        try:
            written = self._written(group)
        except Exception as error:  # a checker's: it ends the world, and nobody in there shall wait for ever
            written = Written([Result(error=error) for _ in group])
            raise
        finally:
            self._replies.append((group, written))
            self._loop.call_later(self._reply_delay(), self._reply, context=self._context)
            self._busy = False
            if self._queue:
                self._begin_group()

    def _reply(self) -> None:
        """Replies come in the order of their groups, whichever of them was the faster."""
        self._deliver(*self._replies.popleft())
        if self._ended is not None and not self._waiting:
            self._ended.set_result(None)

    def _write(self, group: list[Work]) -> Written:
        fate = self._fate(group)
        if fate == "lost":
            return self._core.fail(group)
        self.writing = fate == "commit"
        before = self._core.commits
        try:
            written = self._core.write(group)
        except Violation as found:  # authors may do with it as with any trouble: it must not be theirs to hide
            getattr(self._loop, "abort", _nobody)(found)
            raise
        finally:
            self.writing = False
        if fate == "unknown":  # also not counted as its own: it will look again, as after a broken connection
            return unavailable(group, "The database did not do it: it broke off before it answered.")
        self._own += self._core.commits - before
        return written

    def _foreign(self) -> Result:
        foreign = self._core.commits - self._own
        changed, self._seen = foreign != self._seen, foreign
        return Result(changed)


def _nobody(_: Violation) -> None:
    """A loop that is no simulation's ends by what is raised."""
