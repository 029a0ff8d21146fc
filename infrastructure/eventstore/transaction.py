"""One write transaction: facts in, and with them everything that follows from them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypeVar, cast
from uuid import UUID

from pydantic import ValidationError

from ...domain.aggregate import Aggregate, Fact
from ...domain.errors import AppendConflict, NotFound
from ...domain.identifiers import SESSION_PREFIX, JobId, RunId, SessionId, identifier
from ...domain.job import Job, JobCreated
from ...domain.outline import Outline
from ...domain.ports import Answer, Committed, Head, News, Record, SessionMoved
from ...domain.run import Run
from ...domain.run_facts import Cancelled, Completed, Created, Failed, Released, RunFact, Suspended, TakenOver
from ...domain.scribe import Checkpointed
from ...domain.session import Session
from ...domain.session_facts import Deleted, Handoff, SessionCreated, SessionFact, TurnStarted
from ...domain.transitions import Status
from ...domain.wire import encode
from ..codec import Codec, damaged, microseconds, moment, stream_id, uuid_in
from ..driver import TAKEN, Connection
from . import session_statements as owner_sql
from . import statements as sql
from .library import Library, Recorded
from .projections import Place, fold, run_of
from .session_rows import follow_session, session_columns, stored_handoff

A = TypeVar("A", bound=Aggregate)

_FOLDED: Final = (Created, TakenOver, Released, Suspended, Completed, Failed, Cancelled)
"""Facts that begin, cut or end messages: the projection is folded through their frames with them."""
_CLOSING: Final = (TakenOver, Released, Suspended, Completed, Failed, Cancelled)
"""Facts after which nothing is open."""


class StoreTransaction:
    """Runs on a connection inside a transaction; `news` are the records to be told of once it is committed.

    What it reads stays so until the transaction ends: SQLite lets nobody else write, PostgreSQL locks what is read.
    """

    def __init__(self, connection: Connection, library: Library, codec: Codec, now: datetime) -> None:
        self._connection = connection
        self._library = library
        self._codec = codec
        self._now = now
        self.news: list[News] = []

    @property
    def now(self) -> datetime:
        """The store's clock: when the work began, or when it had what it locked last."""
        return self._now

    def session(self, session_id: SessionId) -> Session | None:
        """The session as it is now."""
        return self._load(Session, sql.LOCK_SESSION, session_id)

    def job(self, job_id: JobId) -> Job | None:
        """The job as it is now."""
        return self._load(Job, sql.SELECT_JOB, job_id)

    def run(self, run_id: RunId) -> Run | None:
        """The run as it is now."""
        return self._load(Run, sql.LOCK_RUN, run_id)

    def head(self, run_id: RunId) -> Head:
        """The end of a run's log. Raises NotFound."""
        row = self._one(sql.SELECT_HEAD, {"stream_id": stream_id(run_id)})
        if row is None:
            raise NotFound(f"There is no run {run_id!r:.80}.", run_id=run_id)
        version, frames, epoch, outline = row
        seq = version + frames - 1
        try:
            return Head(seq, epoch, Outline.model_validate_json(outline))
        except ValidationError as error:
            raise damaged(run_id, version) from error

    def checkpoint(self, run_id: RunId) -> Checkpointed | None:
        """The run's latest checkpoint."""
        row = self._one(sql.SELECT_CHECKPOINT, {"id": stream_id(run_id)})
        return None if row is None else Checkpointed(*row)

    def record(self, aggregate: A, fact: Fact) -> A:
        """Ask, append, project. Raises what the aggregate refuses with, or AppendConflict if it is not current."""
        aggregate.allow(fact)
        match aggregate:
            case Run():
                return cast("A", self._record_run(aggregate, cast("RunFact", fact)))
            case Job():
                job_id = fact.job_id if isinstance(fact, JobCreated) else aggregate.job_id
                job = aggregate.evolve(fact, aggregate.version + 1)
                columns = {"job_id": stream_id(job_id), "session_id": stream_id(job.session_id)}
                self._project(job, job_id, aggregate.version, columns, (sql.INSERT_JOB, sql.UPDATE_JOB))
                self._library.record(self._connection, Recorded(_uuid(job_id), job.version, fact))
                return cast("A", job)
            case Session():
                session_id = fact.session_id if isinstance(fact, SessionCreated) else aggregate.session_id
                session = aggregate.evolve(fact, aggregate.version + 1)
                columns = session_columns(session_id, session)
                self._project(session, session_id, aggregate.version, columns, (sql.INSERT_SESSION, sql.UPDATE_SESSION))
                self._library.record(self._connection, Recorded(_uuid(session_id), session.version, fact))
                follow_session(self._connection, aggregate, session, cast("SessionFact", fact))
                begun = isinstance(fact, TurnStarted) and fact.run_id in aggregate.queue
                self._move(SessionMoved(session_id, begun or isinstance(fact, Deleted)))
                return cast("A", session)
            case _:
                message = f"no table for a {type(aggregate).__name__}"
                raise TypeError(message)

    def _move(self, moved: SessionMoved) -> None:
        if moved not in self.news:
            self.news.append(moved)

    def _record_run(self, run: Run, fact: RunFact) -> Run:
        run_id = fact.run_id if isinstance(fact, Created) else run.run_id
        head = self.head(run_id) if run.version else Head(0, 0, Outline())
        seq = head.seq + 1
        after = run.evolve(fact, seq)
        lines = tuple(encode(frame, seq + n) for n, frame in enumerate(fact.frames(run_id)))
        outline = head.outline.closed() if isinstance(fact, _CLOSING) else head.outline
        columns = _run_columns(after) | {"now": microseconds(self._now)}
        self._project(after, run_id, run.version, columns, (sql.INSERT_RUN, sql.UPDATE_RUN))
        self._library.record(
            self._connection,
            Recorded(_uuid(run_id), seq, fact, lines),
            epoch=after.epoch,
            outline=outline.model_dump_json().encode(),
        )
        if isinstance(fact, _FOLDED):
            place = Place(run_id, after.session_id, after.turn, after.attempt, after.request_config)
            fold(self._connection, self._codec, place, seq, lines)
        self.news.append(Committed(run_id, after.session_id, Record(seq, after.epoch, lines)))
        return after

    def _project(
        self, after: Session | Job | Run, text: str, was: int, columns: dict[str, Any], statements: tuple[str, str]
    ) -> None:
        """Write the row, if it is still at version `was`. Comes before the fact, so that a refusal writes nothing."""
        insert, update = statements
        columns |= {"id": stream_id(text), "tenant": after.tenant, "status": after.status, "was": was}
        columns |= {"version": after.version, "state": after.model_dump_json().encode()}
        try:
            changed = self._connection.execute(update if was else insert, columns).rowcount
        except TAKEN as error:
            raise AppendConflict(f"There is such a {after.machine} already: {error}.") from error
        if changed != 1:
            raise AppendConflict(f"The {after.machine} {text} has changed since it was read.", version=was)

    def save_checkpoint(self, run_id: RunId, checkpoint: Checkpointed) -> None:
        """Overwrite the run's checkpoint."""
        save_checkpoint(self._connection, run_id, checkpoint)

    def lease(self, run_id: RunId, until: datetime) -> None:
        """Grant the run's worker until then."""
        self._connection.execute(sql.GRANT_LEASE, {"id": stream_id(run_id), "until": microseconds(until)})

    def renew(self, worker: str, held: Sequence[tuple[RunId, int]], until: datetime) -> Sequence[RunId]:
        """Prolong the leases this worker still holds at these epochs; the runs it does not hold any more."""
        lost: list[RunId] = []
        for run_id, epoch in held:
            lease = {"id": stream_id(run_id), "holder": worker, "held": epoch, "until": microseconds(until)}
            if self._connection.execute(sql.RENEW_LEASE, lease).rowcount == 0:
                lost.append(run_id)
        return lost

    def session_lease(self, session_id: SessionId) -> datetime | None:
        """When the lease of the session's owner ends or ended."""
        row = self._one(owner_sql.SELECT_SESSION_VIEW, {"id": stream_id(session_id)})
        return None if row is None else moment(row[1])

    def lease_session(self, session_id: SessionId, until: datetime | None) -> None:
        """Grant the session's owner until then."""
        ends = None if until is None else microseconds(until)
        self._connection.execute(owner_sql.LEASE_SESSION, {"id": stream_id(session_id), "until": ends})

    def handoff(self, session_id: SessionId, handoff_id: str) -> Handoff | None:
        """One of the session's handoffs."""
        return stored_handoff(self._connection, session_id, handoff_id)

    def expired_handoffs(self, limit: int) -> Sequence[SessionId]:
        """Sessions with a handoff under way past its deadline."""
        bounds = {"before": microseconds(self._now), "limit": limit}
        rows = self._connection.execute(owner_sql.TAKE_EXPIRED_HANDOFFS, bounds).fetchall()
        return [SessionId(identifier(SESSION_PREFIX, uuid_in(row[0]))) for row in rows]

    def pending_runs(self, agents: Sequence[str], limit: int) -> Sequence[RunId]:
        """Runs of these agents that wait for a worker, oldest first."""
        waiting: list[bytes] = []
        for agent in dict.fromkeys(agents):
            rows = self._connection.execute(sql.TAKE_PENDING, {"agent": agent, "limit": limit})
            waiting += (row[0] for row in rows)
        return [run_of(run) for run in sorted(waiting)[: max(0, limit)]]

    def expired_leases(self, limit: int, before: datetime) -> Sequence[RunId]:
        """Running runs whose lease ended at `before` or earlier, the longest passed first; of equals the lower id."""
        return self._due(sql.TAKE_EXPIRED_LEASES, limit, before)

    def expired_approvals(self, limit: int) -> Sequence[RunId]:
        """Waiting runs with an approval at or past its deadline."""
        return self._due(sql.TAKE_EXPIRED_APPROVALS, limit, self._now)

    def _due(self, statement: str, limit: int, before: datetime) -> list[RunId]:
        rows = self._connection.execute(statement, {"before": microseconds(before), "limit": limit})
        return [run_of(row[0]) for row in rows.fetchall()]

    def answer(self, tenant: str, key: str) -> Answer | None:
        """What this tenant's Idempotency-Key was answered with, if it was used."""
        row = self._one(sql.SELECT_ANSWER, {"tenant": tenant, "key": key})
        return None if row is None else Answer(*row)

    def remember(self, tenant: str, key: str, answer: Answer) -> None:
        """Keep the answer for this Idempotency-Key."""
        kept = {"fingerprint": answer.fingerprint, "payload": answer.payload, "created_at": microseconds(self._now)}
        self._connection.execute(sql.INSERT_ANSWER, kept | {"tenant": tenant, "key": key})

    def forget_answers(self, before: datetime, limit: int) -> int:
        """Drop remembered answers older than that; how many were dropped."""
        bounds = {"before": microseconds(before), "limit": limit}
        return self._connection.execute(sql.FORGET_ANSWERS, bounds).rowcount

    def _load(self, kind: type[A], statement: str, text: str) -> A | None:
        row = self._one(statement, {"id": stream_id(text)})
        return None if row is None else loaded(kind, text, row[0])

    def _one(self, statement: str, parameters: dict[str, Any]) -> Any:
        return self._connection.execute(statement, parameters).fetchone()


def loaded(kind: type[A], text: str, state: bytes) -> A:
    """The aggregate from its row. Raises RecordDamaged."""
    try:
        return kind.model_validate_json(state)
    except ValidationError as error:
        raise damaged(text, 0) from error


def save_checkpoint(connection: Connection, run_id: RunId, checkpoint: Checkpointed) -> None:
    """Overwrite the run's checkpoint."""
    row = {"run_id": stream_id(run_id), "step": checkpoint.step, "seq": checkpoint.seq, "state": checkpoint.state}
    connection.execute(sql.SAVE_CHECKPOINT, row)


def _run_columns(run: Run) -> dict[str, Any]:
    open_approvals = run.pending_approvals if run.status is Status.WAITING else ()
    due = min((microseconds(approval.expires_at) for approval in open_approvals), default=None)
    return {
        "run_id": stream_id(run.run_id),
        "session_id": stream_id(run.session_id),
        "turn": run.turn,
        "attempt": run.attempt,
        "agent": run.agent,
        "epoch": run.epoch,
        "worker": run.worker,
        "queued": 0,
        "lease_until": None,
        "approvals_due": due,
        "first_seq": 1,
    }


def _uuid(text: str) -> UUID:
    return UUID(bytes=stream_id(text))
