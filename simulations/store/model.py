"""The specification of the store, in dicts and lists: what the databases behind the same port must be equal to.

Values are never changed; messages and snapshots are folds of the whole log; what a work did that fails is undone.
"""

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from ...domain.errors import InvalidFrames, NotFound
from ...domain.identifiers import JobId, RunId, SessionId
from ...domain.job import Job
from ...domain.memory import Memory
from ...domain.messages import Messages
from ...domain.ports import (
    Append,
    Clock,
    Committed,
    News,
    Page,
    Record,
    RunView,
    SessionView,
    Span,
    StoredMessage,
    Tail,
)
from ...domain.run import Run
from ...domain.scribe import Checkpointed
from ...domain.session import Session
from ...domain.session_facts import Handoff, SessionFact
from ...domain.snapshot import Snapshot
from ...domain.transitions import Status
from ...infrastructure.codec import OUTPUT_TOPIC
from ...infrastructure.eventstore.writer import Result, Work, Written, unavailable
from ..fold import Fold
from .core import ALL, OnCommit, Row, digest_of, message_row, microseconds
from .fence import is_shown, refusal
from .session_model import session_rows, tail_of, within
from .tables import LogEntry, Tables, page
from .transaction import ModelTransaction

GENERATION: Final = 1
"""Nobody restores a model."""


class ModelCore:
    """Implements `Core`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tables = Tables()
        self._commits = 0
        self._folds: dict[tuple[RunId, str], Fold] = {}
        self.on_commit: OnCommit | None = None

    def close(self) -> None:
        """One of its users leaves."""

    @property
    def commits(self) -> int:
        """Groups so far that left news."""
        return self._commits

    # Writes.

    def fail(self, group: Sequence[Work]) -> Written:
        """Nothing is done."""
        return unavailable(group, "The database did not do it.")

    def write(self, group: Sequence[Work]) -> Written:
        """Run the works in order, each whole or not at all."""
        written = Written([])
        try:
            for work in group:
                written.results.append(self._one(work, written.news))
        except BaseException:  # the world ends in the middle of it
            self._tables.roll_back(0)
            raise
        self._tables.undo.clear()
        self._commits += bool(written.news)
        if self.on_commit is not None:
            self.on_commit(group, written)
        return written

    def _one(self, work: Work, news: list[News]) -> Result:
        savepoint = len(self._tables.undo)
        try:
            if isinstance(work, Append):
                news += self._append(work)
                return Result()
            value = work(transaction := self._begun())
        except Exception as error:  # noqa: BLE001  - whatever a work raises is its author's
            self._tables.roll_back(savepoint)
            return Result(error=error)
        news += transaction.news
        return Result(value)

    def _begun(self) -> ModelTransaction:
        return ModelTransaction(self._tables, self._clock.now())

    def _append(self, append: Append) -> list[News]:
        """The fence: output lands only at the log's end, under the run's epoch, while the run is running."""
        tables, batch, run_id = self._tables, append.batch, append.run_id
        if not batch.data:
            raise InvalidFrames("An append carries at least one frame.", run_id=run_id)
        run = tables.runs.get(run_id)
        if run is None:
            raise NotFound(f"There is no run {run_id!r:.80}.", run_id=run_id)
        log = tables.logs[run_id]
        head_seq = log[-1].record.last_seq
        record = Record(batch.first_seq, append.epoch, batch.data)
        if (batch.first_seq, append.epoch, run.status) != (head_seq + 1, run.epoch, Status.RUNNING):
            if any(entry.record == record and entry.topic == OUTPUT_TOPIC for entry in log):
                return []  # it stands there already: its acknowledgement was lost
            raise refusal(append, run, head_seq)
        tables.add(log, LogEntry(record, OUTPUT_TOPIC, batch.outline))
        if batch.checkpoint is not None:
            tables.put(tables.checkpoints, run_id, batch.checkpoint)
        if is_shown(record):
            # All but the last frame: a snapshot stops before the head, so that a real frame always follows it.
            tables.put(tables.shown, run_id, record.last_seq - 1)
        return [Committed(run_id, run.session_id, record)]

    # Reads.

    def check(self) -> int:
        """The store's generation."""
        return GENERATION

    def run_view(self, run_id: RunId) -> RunView | None:
        """The run as it is now."""
        run = self._tables.runs.get(run_id)
        return None if run is None or self._tables.gone(run) else self._view(run)

    def session(self, session_id: SessionId) -> Session | None:
        """The session as it is now."""
        return self._tables.sessions.get(session_id)

    def session_view(self, session_id: SessionId) -> SessionView | None:
        """The session as it is now, with its owner's lease."""
        session = self._tables.sessions.get(session_id)
        return None if session is None else SessionView(session, self._tables.owners.get(session_id))

    def memories(self, session_id: SessionId, after: int, limit: int) -> list[Memory]:
        """The session's memories after this sequence number, in order."""
        return self._tables.memories.get(session_id, [])[after : after + limit]

    def handoff(self, session_id: SessionId, handoff_id: str) -> Handoff | None:
        """One of the session's handoffs."""
        return self._tables.handoffs.get((session_id, handoff_id))

    def job(self, job_id: JobId) -> Job | None:
        """The job as it is now."""
        return self._tables.jobs.get(job_id)

    def lease_until(self, run_id: RunId) -> datetime | None:
        """Until when the run's worker holds it; None if nobody does."""
        return self._tables.leases.get(run_id)

    def checkpoint(self, run_id: RunId) -> Checkpointed | None:
        """The run's latest checkpoint."""
        return self._tables.checkpoints.get(run_id)

    def runs(self, tenant: str, filters: Mapping[str, str | Status], after: str | None, limit: int) -> Page:
        """Runs of a tenant, newest first."""
        kept = {run_id: run for run_id, run in self._tables.runs.items() if not self._tables.gone(run)}
        runs, last = page(kept, tenant, filters, after, limit)
        return Page([self._view(run) for run in runs], last)

    def sessions(self, tenant: str, filters: Mapping[str, str], after: str | None, limit: int) -> Page:
        """Sessions of a tenant, newest first."""
        found, last = page(self._tables.sessions, tenant, filters, after, limit)
        return Page([SessionView(session, self._tables.owners.get(session.session_id)) for session in found], last)

    def read(self, run_id: RunId, after_seq: int, limit_frames: int) -> list[Record]:
        """The records that hold the frames after `after_seq`: so many frames, but at least one record."""
        log = self._tables.logs.get(run_id, [])
        first = bisect_left(log, after_seq + 1, key=_last_seq)
        enough = bisect_left(log, after_seq + limit_frames, lo=first, key=_last_seq)
        return [entry.record for entry in log[first : enough + 1]]

    def has_pending(self, agents: Sequence[str]) -> bool:
        """Whether a run of these agents waits for a worker."""
        return any(self._tables.waits_for(run, agents) for run in self._tables.runs.values())

    def epoch_at(self, run_id: RunId, seq: int) -> int | None:
        """The epoch of the record that holds this seq, or None if there is none."""
        holder = self.read(run_id, seq - 1, 1) if seq > 0 else []
        return holder[0].epoch if holder else None

    def next_run(self, session_id: SessionId, after_turn: int, after_attempt: int) -> RunId | None:
        """The session's first run after this (turn, attempt)."""
        later = (
            run
            for run in self._runs_of(session_id)
            if (run.turn, run.attempt) > (after_turn, after_attempt) and not self._tables.queued(run)
        )
        run = next(later, None)
        return run.run_id if run else None

    def projected(self, session_id: SessionId, span: Span, limit: int) -> list[StoredMessage]:
        """The messages of the span. A run's are as its history was last brought on."""
        kept = [
            ((run.turn, run.attempt, message.ordinal), message, run.request_config)
            for run in self._runs_of(session_id)
            for message in self._folded("messages", run.run_id, self._tables.shown[run.run_id]).messages.items
        ]
        return [StoredMessage(at, message.as_json(), config) for at, message, config in within(kept, span, limit)]

    def messages(self, session_id: SessionId, span: Span, limit: int) -> list[StoredMessage]:
        """Those of settled runs and of the active one's prompt, inside the span."""
        return within(self._history(session_id), span, limit)

    def _history(self, session_id: SessionId) -> list[StoredMessage]:
        session = self._tables.sessions.get(session_id)
        if session is None:
            return []
        begun = [run for run in self._runs_of(session_id) if not self._tables.queued(run)]
        active = session.active_run_id
        prompts = {(run.turn, run.attempt, 0) for run in begun if run.run_id == active}
        settled = {(run.turn, run.attempt) for run in begun if run.run_id != active}
        everything = self.projected(session_id, Span(), ALL)
        return [message for message in everything if message[0][:2] in settled or message[0] in prompts]

    def tail(self, session_id: SessionId, limit: int) -> Tail | None:
        """The newest messages, the active run and the cursor to go on from."""
        view = self.session_view(session_id)
        if view is None:
            return None
        begun = [run for run in self._runs_of(session_id) if not self._tables.queued(run)]
        last = self._view(begun[-1]) if begun else None
        return tail_of(view, self._history(session_id), last, limit, GENERATION)

    def snapshot(self, run_id: RunId) -> Snapshot | None:
        """The run's frames folded up to the last but one.

        Where history is ahead of that, its messages are taken, those that begin later left out: folding the last
        frame again changes nothing.
        """
        if run_id not in self._tables.runs:
            return None
        seq = self._tables.logs[run_id][-1].record.last_seq - 1
        snapshot = self._folded("snapshot", run_id, seq)
        history = self._folded("history", run_id, max(seq, self._tables.shown[run_id])).messages
        items = [message for message in history.as_json() if message["first_seq"] <= seq]
        return Snapshot(dict(snapshot.run), Messages.from_json(history.prefix, items, seq), snapshot.pending_approvals)

    def _folded(self, what: str, run_id: RunId, through_seq: int) -> Snapshot:
        """Each place that is asked for only ever moves on, so each has a fold of its own."""
        fold = self._folds.setdefault((run_id, what), Fold())
        log = self._tables.logs[run_id] if fold.seq != through_seq else ()
        return fold.through(through_seq, [line for entry in log for line in entry.record.data])

    def _runs_of(self, session_id: SessionId) -> list[Run]:
        runs = [run for run in self._tables.runs.values() if run.session_id == session_id]
        return sorted(runs, key=lambda run: (run.turn, run.attempt))

    def _view(self, run: Run) -> RunView:
        return RunView(run, self._tables.logs[run.run_id][-1].record.last_seq)

    # What is kept.

    def session_facts(self, after: int) -> list[tuple[int, SessionId, SessionFact]]:
        """What has happened to sessions since this place of the feed."""
        later = enumerate(self._tables.facts[after:], after + 1) if after < len(self._tables.facts) else ()
        return [(n, SessionId(of), fact) for n, (of, _, fact) in later if isinstance(fact, SessionFact)]

    def durable(self) -> Iterator[Row]:
        """Everything that is kept."""
        tables = self._tables
        for stream, version, fact in tables.facts:
            yield "fact", stream, version, fact.topic, fact.model_dump_json()
        for run_id, log in sorted(tables.logs.items()):
            for entry in log:
                record, outline = entry.record, entry.outline.model_dump_json()
                yield "record", run_id, record.first_seq, record.epoch, entry.topic, outline, record.data
        for session_id, session in sorted(tables.sessions.items()):
            yield "session", session_id, session.model_dump_json()
        for job_id, job in sorted(tables.jobs.items()):
            yield "job", job_id, job.model_dump_json()
        for run_id, run in sorted(tables.runs.items()):
            yield "run", run_id, run.model_dump_json(), microseconds(tables.leases.get(run_id))
        for run_id, kept in sorted(tables.checkpoints.items()):
            yield "checkpoint", run_id, kept.step, kept.seq, kept.state
        yield from session_rows(tables)
        for key, given in sorted(tables.answers.items()):
            yield "answer", *key, given.answer.fingerprint, given.answer.payload, microseconds(given.at)
        for session_id in sorted(tables.sessions):
            for place, fields, _ in self.projected(session_id, Span(), ALL):
                yield message_row(session_id, place, fields)

    def digest(self) -> str:
        """A digest of `durable`."""
        return digest_of(self.durable())


def _last_seq(entry: LogEntry) -> int:
    return entry.record.last_seq
