"""One transaction on what the model keeps: facts in, and with them everything that follows from them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, TypeVar, cast

from ...domain.aggregate import Aggregate, Fact
from ...domain.errors import AppendConflict, NotFound, StoreUnavailable
from ...domain.identifiers import JobId, RunId, SessionId
from ...domain.job import Job
from ...domain.memory import Memory
from ...domain.outline import Outline
from ...domain.ports import Answer, Committed, Head, News, Record, SessionMoved
from ...domain.run import Run
from ...domain.run_facts import Cancelled, Completed, Created, Failed, Released, RunFact, Suspended, TakenOver
from ...domain.scribe import Checkpointed
from ...domain.session import Session
from ...domain.session_facts import (
    Deleted,
    Handoff,
    HandoffEnded,
    HandoffReady,
    HandoffRequested,
    MemoryAppended,
    TurnStarted,
)
from ...domain.transitions import Status
from ...domain.wire import encode
from .tables import LogEntry, Remembered, Tables

A = TypeVar("A", bound=Aggregate)
B = TypeVar("B", bound=Aggregate)
K = TypeVar("K")
V = TypeVar("V")

CUTTING: Final = (TakenOver, Released, Suspended, Completed, Failed, Cancelled)
"""Facts after which nothing of a run is open."""

SHOWN_AT_ONCE: Final = (Created, *CUTTING)
"""Facts that begin, cut or end messages: history holds the run up to them in the same instant."""


class ModelTransaction:
    """Implements `domain.ports.Transaction`; `news` are the records to be told of once it is committed."""

    def __init__(self, tables: Tables, now: datetime) -> None:
        self._tables = tables
        self._now = now
        self.news: list[News] = []

    @property
    def now(self) -> datetime:
        """The store's clock when the work began."""
        return self._now

    def session(self, session_id: SessionId) -> Session | None:
        """The session as it is now."""
        return self._tables.sessions.get(session_id)

    def job(self, job_id: JobId) -> Job | None:
        """The job as it is now."""
        return self._tables.jobs.get(job_id)

    def run(self, run_id: RunId) -> Run | None:
        """The run as it is now."""
        return self._tables.runs.get(run_id)

    def head(self, run_id: RunId) -> Head:
        """The end of a run's log. Raises NotFound."""
        log = self._tables.logs.get(run_id)
        if log is None:
            raise NotFound(f"There is no run {run_id!r:.80}.", run_id=run_id)
        last = log[-1]
        return Head(last.record.last_seq, last.record.epoch, last.outline)

    def checkpoint(self, run_id: RunId) -> Checkpointed | None:
        """The run's latest checkpoint."""
        return self._tables.checkpoints.get(run_id)

    def record(self, aggregate: A, fact: Fact) -> A:
        """Ask, append, project. Raises what the aggregate refuses with, or AppendConflict if it is not current."""
        aggregate.allow(fact)
        match aggregate:
            case Run():
                return cast("A", self._record_run(aggregate, cast("RunFact", fact)))
            case Job():
                job: Job = aggregate.evolve(fact, aggregate.version + 1)
                self._replace(self._tables.jobs, job.job_id, aggregate, job)
                self._tables.add(self._tables.facts, (job.job_id, job.version, fact))
                return cast("A", job)
            case Session():
                session: Session = aggregate.evolve(fact, aggregate.version + 1)
                self._replace(self._tables.sessions, session.session_id, aggregate, session)
                self._tables.add(self._tables.facts, (session.session_id, session.version, fact))
                self._follow(aggregate, session, fact)
                return cast("A", session)
            case _:
                message = f"no table for a {type(aggregate).__name__}"
                raise TypeError(message)

    def _follow(self, before: Session, session: Session, fact: Fact) -> None:
        """What follows from a session's fact beside its state, and its news, each once."""
        tables, session_id = self._tables, session.session_id
        if isinstance(fact, MemoryAppended):
            if session_id not in tables.memories:
                tables.put(tables.memories, session_id, [])
            tables.add(tables.memories[session_id], Memory.of(fact))
        elif isinstance(fact, HandoffRequested | HandoffReady | HandoffEnded) and session.handoff is not None:
            tables.put(tables.handoffs, (session_id, session.handoff.handoff_id), session.handoff)
        begun = isinstance(fact, TurnStarted) and fact.run_id in before.queue
        moved = SessionMoved(session_id, begun or isinstance(fact, Deleted))
        if moved not in self.news:
            self.news.append(moved)

    def session_lease(self, session_id: SessionId) -> datetime | None:
        """When the lease of the session's owner ends or ended."""
        return self._tables.owners.get(session_id)

    def lease_session(self, session_id: SessionId, until: datetime | None) -> None:
        """Grant the session's owner until then."""
        if until is None:
            self._tables.drop(self._tables.owners, session_id)
        elif session_id in self._tables.sessions:
            self._tables.put(self._tables.owners, session_id, until)

    def handoff(self, session_id: SessionId, handoff_id: str) -> Handoff | None:
        """One of the session's handoffs."""
        return self._tables.handoffs.get((session_id, handoff_id))

    def expired_handoffs(self, limit: int) -> Sequence[SessionId]:
        """Sessions with a handoff under way past its deadline, the longest passed first."""
        due = [
            (session.handing_off.expires_at, session_id)
            for session_id, session in self._tables.sessions.items()
            if session.handing_off is not None and session.handing_off.due(self._now)
        ]
        return [session_id for _, session_id in sorted(due)[:limit]]

    def _record_run(self, run: Run, fact: RunFact) -> Run:
        tables = self._tables
        run_id = fact.run_id if isinstance(fact, Created) else run.run_id
        head = self.head(run_id) if run.version else Head(0, 0, Outline())
        seq = head.seq + 1  # the version of an event is the seq of its first frame
        after = run.evolve(fact, seq)
        lines = tuple(encode(frame, seq + n) for n, frame in enumerate(fact.frames(run_id)))
        if not run.version:
            self._require_own_place(after)
        self._replace(tables.runs, run_id, run, after)
        if not run.version:
            tables.put(tables.logs, run_id, [])
        record = Record(seq, after.epoch, lines)
        outline = head.outline.closed() if isinstance(fact, CUTTING) else head.outline
        tables.add(tables.logs[run_id], LogEntry(record, fact.topic, outline))
        tables.add(tables.facts, (run_id, seq, fact))
        if after.status is not Status.RUNNING:
            tables.drop(tables.leases, run_id)
        elif run_id not in tables.leases:  # who claims and takes no lease has one that is over
            tables.put(tables.leases, run_id, self._now)
        if isinstance(fact, SHOWN_AT_ONCE):
            tables.put(tables.shown, run_id, record.last_seq)
        self.news.append(Committed(run_id, after.session_id, record))
        return after

    def _require_own_place(self, after: Run) -> None:
        """A turn's attempt is one run."""
        place = (after.session_id, after.turn, after.attempt)
        if any((other.session_id, other.turn, other.attempt) == place for other in self._tables.runs.values()):
            raise AppendConflict(f"There is a run {after.turn}.{after.attempt} of {after.session_id} already.")

    def _replace(self, table: dict[K, B], key: K, before: Aggregate, after: B) -> None:
        """The new state, if the old one is what stands there."""
        current = table.get(key)
        if current is not None and not before.version:
            raise AppendConflict(f"There is such a {before.machine} already.")
        if before.version and (current is None or current.version != before.version):
            raise AppendConflict(f"The {before.machine} {key} has changed since it was read.", version=before.version)
        self._tables.put(table, key, after)

    def save_checkpoint(self, run_id: RunId, checkpoint: Checkpointed) -> None:
        """Overwrite the run's checkpoint."""
        self._tables.put(self._tables.checkpoints, run_id, checkpoint)

    def lease(self, run_id: RunId, until: datetime) -> None:
        """Grant the run's worker until then."""
        if run_id in self._tables.runs:
            self._tables.put(self._tables.leases, run_id, until)

    def renew(self, worker: str, held: Sequence[tuple[RunId, int]], until: datetime) -> Sequence[RunId]:
        """Prolong the leases this worker still holds at these epochs; the runs it does not hold any more."""
        lost: list[RunId] = []
        for run_id, epoch in held:
            run = self._tables.runs.get(run_id)
            if run is not None and (run.status, run.worker, run.epoch) == (Status.RUNNING, worker, epoch):
                self._tables.put(self._tables.leases, run_id, until)
            else:
                lost.append(run_id)
        return lost

    def pending_runs(self, agents: Sequence[str], limit: int) -> Sequence[RunId]:
        """Runs of these agents that wait for a worker, oldest first."""
        waiting = [run_id for run_id, run in self._tables.runs.items() if self._tables.waits_for(run, agents)]
        return sorted(waiting)[: max(0, limit)]

    def expired_leases(self, limit: int, before: datetime) -> Sequence[RunId]:
        """Running runs whose lease ended at `before` or earlier, the longest passed first; of equals the lower id."""
        runs, leases = self._tables.runs.items(), self._tables.leases
        ends = [(leases[run_id], run_id) for run_id, run in runs if run.status is Status.RUNNING]
        return _due(ends, before, limit)

    def expired_approvals(self, limit: int) -> Sequence[RunId]:
        """Waiting runs with an approval at or past its deadline, the longest passed first; of equals the lower id."""
        waiting = [(run_id, run) for run_id, run in self._tables.runs.items() if run.status is Status.WAITING]
        ends = [(approval.expires_at, run_id) for run_id, run in waiting for approval in run.pending_approvals]
        first = {run_id: end for end, run_id in sorted(ends, key=_end, reverse=True)}
        return _due([(first[run_id], run_id) for run_id, _ in waiting if run_id in first], self._now, limit)

    def answer(self, tenant: str, key: str) -> Answer | None:
        """What this tenant's Idempotency-Key was answered with, if it was used."""
        kept = self._tables.answers.get((tenant, key))
        return kept.answer if kept else None

    def remember(self, tenant: str, key: str, answer: Answer) -> None:
        """Keep the answer for this Idempotency-Key, which has none yet."""
        if (tenant, key) in self._tables.answers:
            raise StoreUnavailable("The database did not do it: the key was answered already.")
        self._tables.put(self._tables.answers, (tenant, key), Remembered(answer, self._now))

    def forget_answers(self, before: datetime, limit: int) -> int:
        """Drop remembered answers older than that, the oldest first; how many were dropped."""
        old = [(kept.at, key) for key, kept in self._tables.answers.items() if kept.at < before]
        oldest = sorted(old, key=_end)[:limit]
        for _, key in oldest:
            self._tables.drop(self._tables.answers, key)
        return len(oldest)


def _due(ends: Sequence[tuple[datetime, RunId]], before: datetime, limit: int) -> list[RunId]:
    passed = [(end, run_id) for end, run_id in ends if end <= before]
    return [run_id for _, run_id in sorted(passed)[:limit]]


def _end(item: tuple[datetime, Any]) -> datetime:
    return item[0]
