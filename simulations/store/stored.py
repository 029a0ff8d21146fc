"""What a core is whose database the production code writes: its groups, and everything it keeps, in one form."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa

from ...domain.identifiers import JOB_PREFIX, RUN_PREFIX, SESSION_PREFIX, RunId, SessionId, identifier
from ...domain.ports import Span
from ...domain.scribe import Checkpointed
from ...domain.session_facts import SESSION_FACTS, SessionFact
from ...infrastructure.codec import Codec, Row, moment, stream_id, uuid_in
from ...infrastructure.driver import Connection
from ...infrastructure.eventstore import statements as sql
from ...infrastructure.eventstore.compiling import compiled, p
from ...infrastructure.eventstore.reads import Reads
from ...infrastructure.eventstore.schema import events, runs
from ...infrastructure.eventstore.writer import GroupWriter, Work, Written
from . import core as c

NONE: Final[Mapping[str, Any]] = {}
"""No parameters."""

_FACTS: Final = {fact.topic: fact for fact in SESSION_FACTS}
_PREFIXES: Final = {"run": RUN_PREFIX, "job": JOB_PREFIX, "session": SESSION_PREFIX}

_of_sessions = events.c.topic.in_([sa.literal_column(repr(topic)) for topic in sorted(_FACTS)])
_fact = (events.c.feed_id, events.c.stream_id, events.c.version, events.c.frames, events.c.epoch, events.c.topic)
_LEASE: Final = compiled(sa.select(runs.c.lease_until).where(runs.c.run_id == p("id")))
_SESSION_FACTS: Final = compiled(
    sa.select(*_fact, events.c.state, events.c.checksum)
    .where(events.c.feed_id > p("after"), _of_sessions)
    .order_by(events.c.feed_id)
)


class StoredCore(Reads, ABC):
    """A `Core` by the production code, whatever the database."""

    def __init__(self, writer: GroupWriter, connect: Callable[[], Connection], codec: Codec) -> None:
        self._writer = writer
        self._commits = 0
        self.on_commit: c.OnCommit | None = None
        super().__init__(connect, codec)

    @abstractmethod
    def _refusing(self) -> AbstractContextManager[None]:
        """Inside, connections that are opened can't commit."""

    @abstractmethod
    def _rows(self, statement: str, parameters: Mapping[str, Any] = NONE) -> list[Any]:
        """What a statement of this module gives, identifiers as bytes."""

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
        with self._refusing():
            written = self._writer.write(group)
            self._writer.close()
        if self.on_commit is not None:
            self.on_commit(group, written)
        return written

    def lease_until(self, run_id: RunId) -> datetime | None:
        """Until when the run's worker holds it; None if nobody does."""
        found = self._rows(_LEASE, {"id": stream_id(run_id)})
        return moment(found[0][0]) if found else None

    def checkpoint(self, run_id: RunId) -> Checkpointed | None:
        """The run's latest checkpoint."""
        found = self._rows(sql.SELECT_CHECKPOINT, {"id": stream_id(run_id)})
        return Checkpointed(*found[0]) if found else None

    def session_facts(self, after: int) -> list[tuple[int, SessionId, SessionFact]]:
        """What has happened to sessions since this place of the feed."""
        found: list[tuple[int, SessionId, SessionFact]] = []
        for place, stream, *values in self._rows(_SESSION_FACTS, {"after": after}):
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
        for row in sorted(self._rows("SELECT tenant, key, fingerprint, payload, created_at FROM idempotency")):
            yield "answer", *row  # in Python's order of texts: a database's depends on its locale
        for session_id in sessions:
            for place, fields, _ in self.projected(SessionId(session_id), Span(), c.ALL):
                yield c.message_row(session_id, place, fields)

    def _session_rows(self) -> Iterator[c.Row]:
        for stream, *row in self._rows("SELECT session_id, lease_until, handoff_due FROM sessions ORDER BY 1"):
            yield "owner", _id(SESSION_PREFIX, stream), *row
        for (stream,) in self._rows("SELECT run_id FROM runs WHERE queued = 1 ORDER BY 1"):
            yield "queued", _id(RUN_PREFIX, stream)
        for stream, *row in sorted(self._rows("SELECT session_id, handoff_id, state FROM handoffs")):
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

    def digest(self) -> str:
        """A digest of `durable`."""
        return c.digest_of(self.durable())


def _id(prefix: str, stream: bytes) -> str:
    return identifier(prefix, uuid_in(stream))
