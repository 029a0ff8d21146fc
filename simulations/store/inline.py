"""The production store without its thread and its file: writer and reads in line, on one SQLite in memory.

Group commit stays what it is: `InlineCommitter` has the base of the one that runs on a thread, and does on the loop, in
steps that take simulated time, what that one's thread does.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextvars import Context, copy_context
from datetime import datetime, timedelta
from typing import Any, Final, Literal, cast

from ...domain.identifiers import JOB_PREFIX, RUN_PREFIX, SESSION_PREFIX, RunId, SessionId, identifier
from ...domain.ports import Clock, Span
from ...domain.scribe import Checkpointed
from ...domain.session_facts import SESSION_FACTS, SessionFact
from ...infrastructure.codec import Codec, Row, stream_id, uuid_in
from ...infrastructure.eventstore import statements as sql
from ...infrastructure.eventstore.committer import GROUP_MAX, Committer, Entry
from ...infrastructure.eventstore.library import Library
from ...infrastructure.eventstore.reads import Reads
from ...infrastructure.eventstore.recorder import Recorder
from ...infrastructure.eventstore.writer import Result, Work, Writer, Written, unavailable
from ..violation import Violation
from . import core as c
from .database import Memory, Refusing, memory

Fate = Literal["commit", "lost", "unknown"]
"""Of a group: written and told; not written, and its authors get an error; written, and they get one all the same."""

_FACTS: Final = {fact.topic: fact for fact in SESSION_FACTS}

_PREFIXES: Final = {"run": RUN_PREFIX, "job": JOB_PREFIX, "session": SESSION_PREFIX}


class SqliteCore(Reads):
    """Implements `Core` by the production code. Call `end` when the world is over.

    `connection` is that of a database which is there already; without one, it is a new one in memory.
    """

    def __init__(self, clock: Clock, connection: Memory | None = None) -> None:
        codec = Codec()
        self._memory = connection or memory()
        self._library = Library(Recorder(lambda: self._memory), codec)
        self._writer = Writer(self._connect, self._library, codec, clock)
        self._refuses = False
        self._commits = 0
        self.on_commit: c.OnCommit | None = None
        super().__init__(lambda: self._memory, codec)

    def end(self) -> None:
        """Let go of the database."""
        self._library.close()
        self._memory.end()

    @property
    def commits(self) -> int:
        """Groups so far that left news."""
        return self._commits

    def write(self, group: Sequence[Work]) -> Written:
        """Run the works in order, each whole or not at all."""
        written = self._writer.write(group)
        self._commits += bool(written.news)
        if self.on_commit is not None:
            self.on_commit(group, written)
        return written

    def fail(self, group: Sequence[Work]) -> Written:
        """Run the works, and fail to commit them."""
        self._writer.close()
        self._refuses = True
        try:
            written = self._writer.write(group)
        finally:
            self._refuses = False
        if self.on_commit is not None:
            self.on_commit(group, written)
        return written

    def _connect(self) -> sqlite3.Connection:
        return cast("sqlite3.Connection", Refusing(self._memory)) if self._refuses else self._memory

    def lease_until(self, run_id: RunId) -> datetime | None:
        """Until when the run's worker holds it; None if nobody does."""
        at = {"id": stream_id(run_id)}
        row = self._memory.execute("SELECT lease_until FROM runs WHERE run_id = :id", at).fetchone()
        return None if row is None or row[0] is None else c.EPOCH + timedelta(microseconds=row[0])

    def checkpoint(self, run_id: RunId) -> Checkpointed | None:
        """The run's latest checkpoint."""
        row = self._memory.execute(sql.SELECT_CHECKPOINT, {"id": stream_id(run_id)}).fetchone()
        return None if row is None else Checkpointed(*row)

    def session_facts(self, after: int) -> list[tuple[int, SessionId, SessionFact]]:
        """What has happened to sessions since this place of the feed."""
        columns = "feed_id, stream_id, version, frames, epoch, topic, state, checksum"
        later = f"SELECT {columns} FROM events WHERE feed_id > :after AND topic LIKE 'session.%' ORDER BY 1"  # noqa: S608  our own names
        found: list[tuple[int, SessionId, SessionFact]] = []
        for place, stream, *values in self._memory.execute(later, {"after": after}).fetchall():
            row, name = Row._make(values), SessionId(_id(SESSION_PREFIX, stream))
            found.append((place, name, _FACTS[row.topic].model_validate_json(self._codec.lines(name, row)[0])))
        return found

    def durable(self) -> Iterator[c.Row]:
        """Everything that is kept."""
        yield from self._facts()
        yield from self._records()
        sessions = [_id(SESSION_PREFIX, row[0]) for row in self._rows("SELECT session_id FROM sessions ORDER BY 1")]
        for kind, columns in (("session", ""), ("job", ""), ("run", ", lease_until")):
            for stream, state, *lease in self._rows(f"SELECT {kind}_id, state{columns} FROM {kind}s ORDER BY 1"):  # noqa: S608  our own names
                yield kind, _id(_PREFIXES[kind], stream), state, *lease
        for stream, *row in self._rows("SELECT run_id, step, seq, state FROM checkpoints ORDER BY 1"):
            yield "checkpoint", _id(RUN_PREFIX, stream), *row
        yield from self._session_rows()
        for row in self._rows("SELECT tenant, key, fingerprint, payload, created_at FROM idempotency ORDER BY 1, 2"):
            yield "answer", *row
        for session_id in sessions:
            for place, fields, _ in self.projected(SessionId(session_id), Span(), c.ALL):
                yield c.message_row(session_id, place, fields)

    def _session_rows(self) -> Iterator[c.Row]:
        for stream, *row in self._rows("SELECT session_id, lease_until, handoff_due FROM sessions ORDER BY 1"):
            yield "owner", _id(SESSION_PREFIX, stream), *row
        for (stream,) in self._rows("SELECT run_id FROM runs WHERE queued = 1 ORDER BY 1"):
            yield "queued", _id(RUN_PREFIX, stream)
        for stream, *row in self._rows("SELECT session_id, handoff_id, state FROM handoffs ORDER BY 1, 2"):
            yield "handoff", _id(SESSION_PREFIX, stream), *row
        for stream, *row in self._rows("SELECT session_id, sequence, body FROM memories ORDER BY 1, 2"):
            yield "memory", _id(SESSION_PREFIX, stream), *row

    def _facts(self) -> Iterator[c.Row]:
        feed = "SELECT stream_id, version, frames, epoch, topic, state, checksum FROM events WHERE feed_id IS NOT NULL"
        for stream, *columns in self._rows(f"{feed} ORDER BY feed_id"):
            row = Row._make(columns)
            name = _id(_PREFIXES[row.topic.partition(".")[0]], stream)
            yield "fact", name, row.version, row.topic, self._codec.lines(name, row)[0]

    def _records(self) -> Iterator[c.Row]:
        columns = "stream_id, outline, version, frames, epoch, topic, state, checksum"
        logs = f"SELECT {columns} FROM events WHERE outline IS NOT NULL ORDER BY stream_id, version"  # noqa: S608  our own names
        for stream, outline, *values in self._rows(logs):
            row, name = Row._make(values), _id(RUN_PREFIX, stream)
            yield "record", name, row.version, row.epoch, row.topic, outline, self._codec.frames(name, row)

    def _rows(self, statement: str) -> list[Any]:
        return self._memory.execute(statement).fetchall()

    def digest(self) -> str:
        """A digest of `durable`."""
        return c.digest_of(self.durable())


def _id(prefix: str, stream: bytes) -> str:
    return identifier(prefix, uuid_in(stream))


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
