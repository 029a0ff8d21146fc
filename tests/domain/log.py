"""The record list in memory: what a store does with facts and output, in its plainest form.

Every fact passes through its stored JSON before it is folded, so whatever is lost on that way shows at once.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

from pydantic_core import from_json

from reattach.domain.agent import Output
from reattach.domain.aggregate import Aggregate, Fact
from reattach.domain.errors import AppendConflict, RunClosed, StaleEpoch
from reattach.domain.frames import RunError
from reattach.domain.identifiers import JobId, RunId, SessionId, identifier, message_id
from reattach.domain.outline import Outline
from reattach.domain.request_config import RequestConfig
from reattach.domain.run import Run
from reattach.domain.run_facts import (
    Approval,
    Completed,
    Created,
    Decided,
    Decision,
    Failed,
    Released,
    RunFact,
    Suspended,
    TakenOver,
    digest_of,
)
from reattach.domain.scribe import Batch, Checkpointed, Scribe
from reattach.domain.transitions import RUN_TABLE, Status, targets
from reattach.domain.wire import decode, encode

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SESSION = SessionId(identifier("ses", UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0001)))
JOB = JobId(identifier("job", UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0002)))
RUN = RunId(identifier("run", UUID(int=0x0190_0000_0000_7000_8000_0000_0000_0003)))

A = TypeVar("A", bound=Aggregate)
F = TypeVar("F", bound=Fact)


def stored(fact: F) -> F:
    """The fact as it comes back from the store."""
    return type(fact).model_validate_json(fact.model_dump_json())


class FactLog(Generic[A]):
    """The facts of one aggregate, each of one version."""

    def __init__(self, empty: A) -> None:
        self.empty = empty
        self.state = empty
        self.facts: list[tuple[int, Fact]] = []

    def record(self, fact: Fact) -> None:
        """Raises what the aggregate raises; then nothing has happened."""
        self.state.allow(fact)
        kept = stored(fact)
        self.facts.append((len(self.facts) + 1, kept))
        self.state = self.state.evolve(kept, len(self.facts))

    def replayed(self) -> A:
        """The state folded from nothing."""
        return type(self.empty).fold(self.facts)


@dataclass(frozen=True)
class Record:
    """One stored event of a run: a fact with its frames, or a batch of output."""

    first_seq: int
    epoch: int
    fact: RunFact | None
    data: tuple[bytes, ...]

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.data) - 1


class RunLog:
    """A run's log with what a store keeps beside it: the outline, the checkpoint, the clock and the fence."""

    def __init__(self) -> None:
        self.run = Run()
        self.records: list[Record] = []
        self.outline = Outline()
        self.checkpoint: Checkpointed | None = None
        self.now = START

    @property
    def head(self) -> int:
        """The seq of the last frame."""
        return self.records[-1].last_seq if self.records else 0

    @property
    def lines(self) -> list[bytes]:
        """All frames, as they are stored."""
        return [line for record in self.records for line in record.data]

    @property
    def frames(self) -> list[dict[str, Any]]:
        """All frames, as the folds take them."""
        return [from_json(line) for line in self.lines]

    def replayed(self) -> Run:
        """The run folded from its facts alone."""
        return Run.fold((record.first_seq, record.fact) for record in self.records if record.fact is not None)

    def record(self, fact: RunFact) -> None:
        """Raises what the run raises; then nothing has happened."""
        self.run.allow(fact)
        kept = stored(fact)
        first_seq = self.head + 1
        run_id = kept.run_id if isinstance(kept, Created) else self.run.run_id
        data = tuple(encode(frame, first_seq + place) for place, frame in enumerate(kept.frames(run_id)))
        self.run = self.run.evolve(kept, first_seq)
        self.records.append(Record(first_seq, self.run.epoch, kept, data))
        self.outline = self.outline.closed()

    def append(self, batch: Batch, epoch: int) -> None:
        """The fence: only the current epoch of a running run, only at the head."""
        if epoch != self.run.epoch:
            raise StaleEpoch
        if not targets(RUN_TABLE, self.run.state, "record"):
            raise RunClosed
        if batch.first_seq != self.head + 1:
            raise AppendConflict
        assert batch.outline == self.outline.after(decode(line) for line in batch.data), "the grammar of frames"
        if batch.data:
            self.records.append(Record(batch.first_seq, epoch, None, batch.data))
        self.outline = batch.outline
        self.checkpoint = batch.checkpoint or self.checkpoint

    # What the application does with each command.

    def create(self, prompt: str | None = "hello", agent: str = "echo") -> None:
        self.record(
            Created(
                at=self.now,
                run_id=RUN,
                tenant="default",
                session_id=SESSION,
                job_id=JOB,
                turn=1,
                attempt=1,
                agent=agent,
                message_id=message_id(SESSION, RUN, 0),
                prompt=prompt,
                request_config=RequestConfig(),
            )
        )

    def claim(self, worker: str = "w1") -> None:
        self.record(self.run.claim(worker, self.now))

    def take_over(self, worker: str = "w2") -> TakenOver | Failed:
        fact = self.run.take_over(worker, self.now, self.reset_to, self.closes)
        self.record(fact)
        return fact

    def release(self, epoch: int | None = None) -> None:
        held = self.run.epoch if epoch is None else epoch
        worker = self.run.worker or ""
        self.record(Released(at=self.now, epoch=held, worker=worker, to_seq=self.reset_to, closes=self.closes))

    def scribe(self) -> Scribe:
        return Scribe(self.run, self.outline, self.head + 1, self.checkpoint.step if self.checkpoint else 0)

    def write(self, *outputs: Output, scribe: Scribe | None = None) -> Scribe:
        """Write and append these outputs; the scribe to go on with."""
        scribe = scribe or self.scribe()
        for output in outputs:
            scribe.write(output)
        self.append(scribe.take(), self.run.epoch)
        return scribe

    def finish(self, scribe: Scribe) -> None:
        scribe.finish()
        self.append(scribe.take(), self.run.epoch)

    def suspend(self, *calls: tuple[str, Any], epoch: int | None = None, timeout_s: float = 60.0) -> None:
        """Ask for approval of these calls (tool, arguments), and save a checkpoint at the wait's end."""
        held = self.run.epoch if epoch is None else epoch
        number = len(self.run.approvals)
        approvals = tuple(
            Approval(
                approval_id=f"1.1.a{number + place}",
                tool_call_id=f"call{number + place}",
                tool=tool,
                arguments=arguments,
                digest=digest_of(tool, arguments),
                expires_at=self.now + timedelta(seconds=timeout_s),
            )
            for place, (tool, arguments) in enumerate(calls, 1)
        )
        self.record(Suspended(at=self.now, epoch=held, approvals=approvals, closes=self.closes))
        step = self.checkpoint.step + 1 if self.checkpoint else 1
        self.checkpoint = Checkpointed(step, self.head, b"{}")

    def decide(self, *decisions: Decision) -> Decided | None:
        fact = self.run.decide(decisions, self.now)
        if fact is not None:
            self.record(fact)
        return fact

    def expire(self) -> Decided | None:
        fact = self.run.expire(self.now)
        if fact is not None:
            self.record(fact)
        return fact

    def complete(self, epoch: int | None = None) -> None:
        held = self.run.epoch if epoch is None else epoch
        usage = {"output_tokens": 7}
        self.record(Completed(at=self.now, epoch=held, stop_reason="end_turn", usage=dict(usage)))

    def fail(self, type: str = "llm_timeout", *, retryable: bool = True) -> None:  # noqa: A002  - the wire's word
        error = RunError(type=type, message="The model did not answer.", retryable=retryable)
        self.record(self.run.fail(error, self.now, self.closes))

    def cancel(self, reason: str = "stopped", by: str = "ada") -> None:
        self.record(self.run.cancel(reason, by, self.now, self.closes))

    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)

    @property
    def closes(self) -> tuple[str, ...]:
        return tuple(self.outline.parts)

    @property
    def reset_to(self) -> int:
        return self.checkpoint.seq if self.checkpoint else 0


def run_in(state: Status | None) -> RunLog:
    """A run that has just come into this state."""
    log = RunLog()
    if state is not None:
        log.create()
    if state not in (None, Status.PENDING, Status.CANCELLED):
        log.claim()
    if state is Status.WAITING:
        log.suspend(("pay", {"sum": 1}))
    if state is not None and state.final:
        {Status.COMPLETED: log.complete, Status.FAILED: log.fail, Status.CANCELLED: log.cancel}[state]()
    assert log.run.status is state
    return log
