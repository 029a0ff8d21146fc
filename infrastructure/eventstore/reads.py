"""What is read: small bounded statements on a connection of their own, which can't write.

They run on the event loop's thread. Each costs tens of microseconds and never waits for the writer.
"""

import sqlite3
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from ...domain.errors import RecordDamaged
from ...domain.identifiers import SESSION_PREFIX, JobId, RunId, SessionId, identifier
from ...domain.job import Job
from ...domain.messages import Fields, Messages
from ...domain.ports import Damaged, Page, Record, RunView
from ...domain.run import Run
from ...domain.session import Session
from ...domain.snapshot import Snapshot
from ...domain.transitions import Status
from ..codec import Codec, Row, stream_id, uuid_in
from ..sqlite import domain_error
from . import statements as sql
from .projections import Place, assembled, decoded, load_carry, records, run_of
from .transaction import loaded

A = TypeVar("A", Session, Job, Run)


class Reads:
    """The read side of the store. Raises StoreUnavailable or RecordDamaged, nothing of the driver's."""

    def __init__(self, connect: Callable[[], sqlite3.Connection], codec: Codec) -> None:
        self._codec = codec
        with _driver_errors():
            self._connection = connect()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def check(self) -> int:
        """The store's generation; raises StoreUnavailable unless the store can be read."""
        with _driver_errors():
            row = self._one(sql.SELECT_META, {"key": "generation"})
        if row is None:
            raise RecordDamaged("The database does not know its generation.")
        return int(row[0])

    def run_view(self, run_id: RunId) -> RunView | None:
        """The run as it is now."""
        with _driver_errors():
            row = self._one(sql.SELECT_VIEW, {"id": stream_id(run_id)})
        return None if row is None else _view(run_id, row)

    def session(self, session_id: SessionId) -> Session | None:
        """The session as it is now."""
        return self._load(Session, sql.SELECT_SESSION, session_id)

    def job(self, job_id: JobId) -> Job | None:
        """The job as it is now."""
        return self._load(Job, sql.SELECT_JOB, job_id)

    def runs(self, tenant: str, filters: Mapping[str, str | Status], after: str | None, limit: int) -> Page:
        """Runs of a tenant, newest first."""
        wanted: dict[str, Any] = dict(filters)
        if "session_id" in wanted:
            wanted["session_id"] = stream_id(wanted["session_id"])
        rows = self._page(sql.select_runs(tuple(wanted), after=after is not None), tenant, wanted, after, limit)
        last = str(run_of(rows[limit - 1][0])) if len(rows) > limit else None
        return Page([_view(run_of(row[0]), row) for row in rows[:limit]], last)

    def sessions(self, tenant: str, filters: Mapping[str, str], after: str | None, limit: int) -> Page:
        """Sessions of a tenant, newest first."""
        statement = sql.select_sessions(tuple(filters), after=after is not None)
        rows = self._page(statement, tenant, dict(filters), after, limit)
        ids = [identifier(SESSION_PREFIX, uuid_in(row[0])) for row in rows]
        items = [loaded(Session, text, row[1]) for text, row in zip(ids[:limit], rows, strict=False)]
        return Page(items, ids[limit - 1] if len(rows) > limit else None)

    def _page(self, statement: str, tenant: str, filters: dict[str, Any], after: str | None, limit: int) -> list[Any]:
        bounds = {"tenant": tenant, "limit": limit + 1, "after": stream_id(after) if after else None}
        with _driver_errors():
            return self._connection.execute(statement, filters | bounds).fetchall()

    def read(self, run_id: RunId, after_seq: int, limit_frames: int) -> list[Record | Damaged]:
        """The records that hold the frames after `after_seq`. What is damaged or missing comes as Damaged."""
        items: list[Record | Damaged] = []
        expected = after_seq + 1
        with _driver_errors():
            selected = self._connection.execute(sql.SELECT_RECORDS, {"stream_id": stream_id(run_id), "seq": expected})
            try:
                for columns in selected:
                    row = Row._make(columns)
                    if row.last < expected and not items:
                        continue  # it ends before the place: the log is no longer than that
                    if row.version > expected:
                        items.append(Damaged(expected, row.version - 1, row.epoch))
                    items.append(self._item(run_id, row))
                    expected = items[-1].last_seq + 1
                    if expected > after_seq + limit_frames:
                        break
            finally:
                selected.close()
        return items

    def _item(self, run_id: RunId, row: Row) -> Record | Damaged:
        try:
            return Record(row.version, row.epoch, self._codec.frames(run_id, row))
        except RecordDamaged:
            # Its own count can't be trusted: what follows says where it ends.
            at = {"stream_id": stream_id(run_id), "version": row.version}
            (following,) = self._one(sql.SELECT_NEXT_VERSION, at)
            return Damaged(row.version, following - 1 if following else max(row.version, row.last), row.epoch)

    def has_pending(self, agents: Sequence[str]) -> bool:
        """Whether a run of these agents waits for a worker."""
        with _driver_errors():
            return any(self._one(sql.SELECT_PENDING, {"agent": agent, "limit": 1}) is not None for agent in agents)

    def epoch_at(self, run_id: RunId, seq: int) -> int | None:
        """The epoch of the record that holds this seq, or None if there is none."""
        with _driver_errors():
            row = self._one(sql.SELECT_HOLDER, {"stream_id": stream_id(run_id), "seq": seq})
        if row is None:
            return None
        version, frames, epoch = row
        return int(epoch) if seq < version + frames else None

    def next_run(self, session_id: SessionId, after_turn: int, after_attempt: int) -> RunId | None:
        """The session's first run after this (turn, attempt)."""
        place = {"id": stream_id(session_id), "turn": after_turn, "attempt": after_attempt}
        with _driver_errors():
            row = self._one(sql.SELECT_NEXT_RUN, place)
        return None if row is None else run_of(row[0])

    def messages(
        self, session_id: SessionId, before: tuple[int, int, int] | None, limit: int
    ) -> list[tuple[tuple[int, int, int], Fields]]:
        """The newest messages before this place, oldest first."""
        wanted: dict[str, Any] = {"session_id": stream_id(session_id), "limit": limit}
        statement = sql.SELECT_MESSAGES
        if before is not None:
            statement = sql.SELECT_MESSAGES_BEFORE
            wanted |= {"turn": before[0], "attempt": before[1], "ordinal": before[2]}
        with self._instant():
            rows = self._connection.execute(statement, wanted).fetchall()
            return assembled(self._connection, rows[::-1])

    def snapshot(self, run_id: RunId) -> Snapshot | None:
        """The run's frames folded up to the last but one."""
        stream = {"stream_id": stream_id(run_id)}
        with self._instant():
            head = self._one(sql.SELECT_HEAD, stream)
            if head is None:
                return None
            seq = head[0] + head[1] - 2
            place = Place.load(self._connection, run_id)
            facts = Snapshot.empty()
            for columns in self._connection.execute(sql.SELECT_FACTS, stream).fetchall():
                row = Row._make(columns)
                for frame in decoded(run_id, row.version, self._codec.frames(run_id, row)):
                    if frame["seq"] <= seq:
                        facts.apply(frame)
            messages = self._messages_at(place, seq)
        return Snapshot(facts.run, messages, facts.pending_approvals)

    def _messages_at(self, place: Place, seq: int) -> Messages:
        """What is stored, then what is not folded yet. A message that begins after `seq` is left for its frame."""
        carry = load_carry(self._connection, place)
        rows = self._connection.execute(sql.SELECT_RUN_MESSAGES, place.key | {"seq": seq}).fetchall()
        stored = (fields for _, fields in assembled(self._connection, rows))
        messages = Messages.from_json(carry.prefix, stored, min(carry.seq, seq))
        for first_seq, lines in records(self._connection, self._codec, place.run_id, carry.seq, seq):
            if isinstance(lines, RecordDamaged):
                continue  # its frames are lost; what can be shown is shown, as the stream itself goes on after it
            new = lines[max(0, messages.seq + 1 - first_seq) : seq + 1 - first_seq]
            for frame in decoded(place.run_id, first_seq, new):
                messages.apply(frame)
        return messages

    @contextmanager
    def _instant(self) -> Generator[None]:
        """Several statements that see one and the same state."""
        with _driver_errors():
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("ROLLBACK")

    def _load(self, kind: type[A], statement: str, text: str) -> A | None:
        with _driver_errors():
            row = self._one(statement, {"id": stream_id(text)})
        return None if row is None else loaded(kind, text, row[0])

    def _one(self, statement: str, parameters: dict[str, Any]) -> Any:
        return self._connection.execute(statement, parameters).fetchone()


def _view(run_id: RunId, row: Any) -> RunView:
    _, state, head, first_seq = row
    return RunView(loaded(Run, run_id, state), head, first_seq)


@contextmanager
def _driver_errors() -> Generator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise domain_error(error) from error
