"""What is read: small bounded statements on a connection of their own, which can't write.

They run on the event loop's thread. Each costs tens of microseconds and never waits for the writer.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from ...domain.errors import RecordDamaged
from ...domain.identifiers import SESSION_PREFIX, Cursor, JobId, RunId, SessionId, identifier
from ...domain.job import Job
from ...domain.memory import Memory
from ...domain.messages import Messages
from ...domain.ports import Damaged, MessagePlace, Page, Record, RunView, SessionView, Span, StoredMessage, Tail
from ...domain.run import Run
from ...domain.session import Session
from ...domain.session_facts import Handoff
from ...domain.snapshot import Snapshot
from ...domain.tail import EXTRA_FACTOR, begins, past_orphans
from ...domain.transitions import Status
from ..codec import Codec, Row, moment, stream_id, uuid_in
from ..driver import Connection, domain_errors
from . import session_statements as owner_sql
from . import statements as sql
from .projections import Place, assembled, decoded, load_carry, records, run_of
from .session_rows import stored_handoff, stored_memories
from .transaction import loaded

A = TypeVar("A", Session, Job, Run)


class Reads:
    """The read side of the store. Raises StoreUnavailable or RecordDamaged, nothing of the driver's."""

    _begin = "BEGIN"
    """Begins a transaction whose statements all see one state."""
    _end = "ROLLBACK"
    """Ends it: nothing was written."""

    def __init__(self, connect: Callable[[], Connection], codec: Codec) -> None:
        self._codec = codec
        self._generation = 0
        with domain_errors():
            self._connection = connect()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def check(self) -> int:
        """The store's generation; raises StoreUnavailable unless the store can be read."""
        with domain_errors():
            row = self._one(sql.SELECT_META, {"key": "generation"})
        if row is None:
            raise RecordDamaged("The database does not know its generation.")
        self._generation = int(row[0])
        return self._generation

    def run_view(self, run_id: RunId) -> RunView | None:
        """The run as it is now."""
        with domain_errors():
            row = self._one(sql.SELECT_VIEW, {"id": stream_id(run_id)})
        return None if row is None else _view(run_id, row)

    def session(self, session_id: SessionId) -> Session | None:
        """The session as it is now."""
        return self._load(Session, sql.SELECT_SESSION, session_id)

    def session_view(self, session_id: SessionId) -> SessionView | None:
        """The session as it is now, with its owner's lease."""
        with domain_errors():
            return self._load_view(session_id)

    def _load_view(self, session_id: SessionId) -> SessionView | None:
        row = self._one(owner_sql.SELECT_SESSION_VIEW, {"id": stream_id(session_id)})
        return None if row is None else SessionView(loaded(Session, session_id, row[0]), moment(row[1]))

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
        items = [
            SessionView(loaded(Session, text, row[1]), moment(row[2]))
            for text, row in zip(ids[:limit], rows, strict=False)
        ]
        return Page(items, ids[limit - 1] if len(rows) > limit else None)

    def _page(self, statement: str, tenant: str, filters: dict[str, Any], after: str | None, limit: int) -> list[Any]:
        bounds = {"tenant": tenant, "limit": limit + 1, "after": stream_id(after) if after else None}
        with domain_errors():
            return self._connection.execute(statement, filters | bounds).fetchall()

    def read(self, run_id: RunId, after_seq: int, limit_frames: int) -> list[Record | Damaged]:
        """The records that hold the frames after `after_seq`. What is damaged or missing comes as Damaged."""
        page = {"stream_id": stream_id(run_id), "seq": after_seq + 1, "upto": after_seq + limit_frames}
        with domain_errors():
            selected = self._connection.execute(sql.SELECT_RECORDS, page)
            try:
                return self._items(run_id, selected, after_seq, limit_frames)
            finally:
                selected.close()

    def _items(
        self, run_id: RunId, selected: Iterable[Any], after_seq: int, limit_frames: int
    ) -> list[Record | Damaged]:
        items: list[Record | Damaged] = []
        expected = after_seq + 1
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
        with domain_errors():
            return any(self._one(sql.SELECT_PENDING, {"agent": agent, "limit": 1}) is not None for agent in agents)

    def epoch_at(self, run_id: RunId, seq: int) -> int | None:
        """The epoch of the record that holds this seq, or None if there is none."""
        with domain_errors():
            row = self._one(sql.SELECT_HOLDER, {"stream_id": stream_id(run_id), "seq": seq})
        if row is None:
            return None
        version, frames, epoch = row
        return int(epoch) if seq < version + frames else None

    def next_run(self, session_id: SessionId, after_turn: int, after_attempt: int) -> RunId | None:
        """The session's first run after this (turn, attempt)."""
        place = {"id": stream_id(session_id), "turn": after_turn, "attempt": after_attempt}
        with domain_errors():
            row = self._one(sql.SELECT_NEXT_RUN, place)
        return None if row is None else run_of(row[0])

    def messages(self, session_id: SessionId, span: Span, limit: int) -> list[StoredMessage]:
        """The session's settled messages inside the span, oldest first, at most `limit`."""
        with self._instant():
            session = self._load_view(session_id)
            if session is None:
                return []
            end = self._settled_end(session.session)
            return self._projected(session_id, Span(span.after, min(span.before or end, end), span.oldest), limit)

    def projected(self, session_id: SessionId, span: Span, limit: int) -> list[StoredMessage]:
        """The projection as it stands, runs that have not settled included: what a checker looks at."""
        with self._instant():
            return self._projected(session_id, span, limit)

    def _projected(self, session_id: SessionId, span: Span, limit: int) -> list[StoredMessage]:
        wanted: dict[str, Any] = {"session_id": stream_id(session_id), "limit": limit}
        places = {"after": span.after, "before": span.before}
        given = {name: place for name, place in places.items() if place is not None}
        for name, (turn, attempt, ordinal) in given.items():
            wanted |= {f"{name}_turn": turn, f"{name}_attempt": attempt, f"{name}_ordinal": ordinal}
        statement = sql.select_messages(tuple(given), oldest=span.oldest)
        rows = self._connection.execute(statement, wanted).fetchall()
        return assembled(self._connection, session_id, rows if span.oldest else rows[::-1])

    def _settled_end(self, session: Session) -> MessagePlace:
        """Where history ends: behind the prompt of the run that is active, before the turns that have not come."""
        if session.active_run_id is None:
            return session.turns + 1, 0, 0
        place = Place.load(self._connection, session.active_run_id)
        return place.turn, place.attempt, 1

    def tail(self, session_id: SessionId, limit: int) -> Tail | None:
        """What a client needs to show the session now. Two bounded reads of messages at most."""
        with self._instant():
            view = self._load_view(session_id)
            if view is None:
                return None
            session = view.session
            last = self._last_run(session)
            active = last if session.active_run_id is not None else None
            messages = self._newest(session_id, self._settled_end(session), limit)
            return Tail(view, messages, active, self._cursor(session, last, active))

    def _newest(self, session_id: SessionId, end: MessagePlace, limit: int) -> list[StoredMessage]:
        """The newest messages before `end`, cut as `domain/tail.py` says."""
        found = self._projected(session_id, Span(before=end), limit)
        if len(found) < limit:
            return found
        start = begins([fields for _, fields, _ in found], limit)
        if start is None:
            rest = (EXTRA_FACTOR - 1) * limit
            more = self._projected(session_id, Span(before=found[0][0]), rest)
            found = more + found
            fields = [fields for _, fields, _ in found]
            start = begins(fields, limit)
            if start is None:
                start = past_orphans(fields) if len(more) == rest else 0
        return found[start:]

    def _last_run(self, session: Session) -> RunView | None:
        where = {"id": stream_id(session.session_id), "turn": session.turns}
        row = self._one(sql.SELECT_LAST_RUN, where) if session.turns else None
        return None if row is None else _view(run_of(row[0]), row)

    def _cursor(self, session: Session, last: RunView | None, active: RunView | None) -> Cursor:
        generation = self._generation
        if last is None:
            return Cursor(RunId(session.session_id), generation, 0, 0)
        if active is not None:
            return Cursor(active.run.run_id, generation, 0, 0)
        return Cursor(last.run.run_id, generation, last.run.epoch, last.head_seq)

    def memories(self, session_id: SessionId, after: int, limit: int) -> list[Memory]:
        """The session's memories after this sequence number, in order."""
        with domain_errors():
            return stored_memories(self._connection, session_id, after, limit)

    def handoff(self, session_id: SessionId, handoff_id: str) -> Handoff | None:
        """One of the session's handoffs."""
        with domain_errors():
            return stored_handoff(self._connection, session_id, handoff_id)

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
        stored = (fields for _, fields, _ in assembled(self._connection, place.session_id, rows))
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
        with domain_errors():
            self._connection.execute(self._begin)
            try:
                yield
            finally:
                self._connection.execute(self._end)

    def _load(self, kind: type[A], statement: str, text: str) -> A | None:
        with domain_errors():
            row = self._one(statement, {"id": stream_id(text)})
        return None if row is None else loaded(kind, text, row[0])

    def _one(self, statement: str, parameters: dict[str, Any]) -> Any:
        return self._connection.execute(statement, parameters).fetchone()


def _view(run_id: RunId, row: Any) -> RunView:
    _, state, head, first_seq = row
    return RunView(loaded(Run, run_id, state), head, first_seq)
