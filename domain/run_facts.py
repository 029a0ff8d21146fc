"""What can happen to a run: its facts, and the frames by which readers see them.

The machine that allows them is in `run.py`; the table they stand for is RUN_TABLE in `transitions.py`.
"""

import hashlib
from abc import abstractmethod
from datetime import datetime
from typing import ClassVar, Final, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue
from pydantic_core import to_json

from . import frames as f
from .aggregate import Fact
from .frames import Frame, RunError
from .identifiers import JobId, RunId, SessionId
from .request_config import RequestConfig

WORKER_LOST: Final = RunError(
    type="worker_lost", message="The worker of this run died or lost its lease.", retryable=True
)

Outcome = Literal["approve", "deny"]


class Approval(BaseModel):
    """A tool call that waits for a person, bound to its logged arguments by `digest`. Decided when `outcome` is set."""

    model_config = ConfigDict(frozen=True)
    approval_id: str
    tool_call_id: str
    tool: str
    arguments: JsonValue
    digest: str
    expires_at: AwareDatetime
    outcome: Outcome | None = None
    reason: str | None = None
    decided_arguments: JsonValue = None
    by: str | None = None

    def expired(self, now: datetime) -> bool:
        """Whether its deadline has passed: from the very instant of `expires_at` on."""
        return self.outcome is None and now >= self.expires_at


class Decision(BaseModel):
    """What somebody says about an approval. `arguments` with `approve` is an edit; `by` names who."""

    model_config = ConfigDict(frozen=True)
    approval_id: str
    outcome: Outcome
    reason: str | None = None
    arguments: JsonValue = None
    by: str


def digest_of(tool: str, arguments: JsonValue) -> str:
    """SHA-256 of the call: what is executed is what was approved."""
    return hashlib.sha256(to_json([tool, arguments], inf_nan_mode="null")).hexdigest()


class RunFact(Fact):
    """A fact of a run. `frames` are what its readers see of it."""

    @abstractmethod
    def frames(self, run_id: RunId) -> tuple[Frame, ...]:
        """At least one frame; together they take as many versions as they are."""


class WorkerFact(RunFact):
    """A fact that only the worker holding `epoch` may record."""

    epoch: int


class Created(RunFact):
    topic: ClassVar = "run.created"
    command: ClassVar = "create"
    run_id: RunId
    tenant: str
    session_id: SessionId
    job_id: JobId
    turn: int
    attempt: int
    agent: str
    message_id: str
    prompt: str | None
    request_config: RequestConfig

    def frames(self, run_id: RunId) -> tuple[Frame, ...]:
        return (f.RunCreated(**self.model_dump(exclude={"tenant", "request_config"})),)


class Claimed(RunFact):
    topic: ClassVar = "run.claimed"
    command: ClassVar = "claim"
    epoch: int
    worker: str

    def frames(self, run_id: RunId) -> tuple[Frame, ...]:
        return (f.RunClaimed(run_id=run_id, at=self.at, epoch=self.epoch, worker=self.worker),)


class TakenOver(Claimed):
    """The lease expired and another worker goes on from the last checkpoint, in a new message."""

    topic: ClassVar = "run.taken_over"
    command: ClassVar = "take_over"
    to_seq: int
    closes: tuple[str, ...]

    def frames(self, run_id: RunId) -> tuple[Frame, ...]:
        reset = f.StepReset(run_id=run_id, at=self.at, to_seq=self.to_seq, closes=self.closes)
        return (*super().frames(run_id), reset)


class Released(WorkerFact):
    """The worker hands the run back (drain). A step it leaves unfinished is voided."""

    topic: ClassVar = "run.released"
    command: ClassVar = "release"
    worker: str
    to_seq: int | None
    closes: tuple[str, ...]

    def frames(self, run_id: RunId) -> tuple[Frame, ...]:
        released = f.RunReleased(run_id=run_id, at=self.at, epoch=self.epoch, worker=self.worker)
        if self.to_seq is None:
            return (released,)
        return (released, f.StepReset(run_id=run_id, at=self.at, to_seq=self.to_seq, closes=self.closes))


class Suspended(WorkerFact):
    topic: ClassVar = "run.suspended"
    command: ClassVar = "suspend"
    approvals: tuple[Approval, ...]
    closes: tuple[str, ...]

    def frames(self, run_id: RunId) -> tuple[Frame, ...]:
        requested = (
            f.ApprovalRequested(
                run_id=run_id,
                at=self.at,
                **approval.model_dump(
                    include={"approval_id", "tool_call_id", "tool", "arguments", "digest", "expires_at"}
                ),
            )
            for approval in self.approvals
        )
        ids = tuple(approval.approval_id for approval in self.approvals)
        return (*requested, f.RunSuspended(run_id=run_id, at=self.at, approvals=ids, closes=self.closes))


class Decided(RunFact):
    """Decisions, and with the last one (`resumes`) the end of the wait."""

    topic: ClassVar = "run.decided"
    command: ClassVar = "decide"
    decisions: tuple[Decision, ...]
    resumes: bool
    epoch: int

    def frames(self, run_id: RunId) -> tuple[Frame, ...]:
        decided = _decided_frames(run_id, self.at, self.decisions)
        return (*decided, f.RunResumed(run_id=run_id, at=self.at, epoch=self.epoch)) if self.resumes else decided


class Completed(WorkerFact):
    topic: ClassVar = "run.completed"
    command: ClassVar = "complete"
    stop_reason: str
    usage: dict[str, JsonValue] | None

    def frames(self, run_id: RunId) -> tuple[Frame, ...]:
        return (f.RunCompleted(run_id=run_id, at=self.at, stop_reason=self.stop_reason, usage=self.usage),)


class Failed(RunFact):
    topic: ClassVar = "run.failed"
    command: ClassVar = "fail"
    error: RunError
    closes: tuple[str, ...]
    decisions: tuple[Decision, ...] = ()

    def frames(self, run_id: RunId) -> tuple[Frame, ...]:
        failed = f.RunFailed(run_id=run_id, at=self.at, error=self.error, closes=self.closes)
        return (*_decided_frames(run_id, self.at, self.decisions), failed)


class Cancelled(RunFact):
    topic: ClassVar = "run.cancelled"
    command: ClassVar = "cancel"
    reason: str
    by: str
    closes: tuple[str, ...]
    decisions: tuple[Decision, ...] = ()

    def frames(self, run_id: RunId) -> tuple[Frame, ...]:
        cancelled = f.RunCancelled(run_id=run_id, at=self.at, reason=self.reason, by=self.by, closes=self.closes)
        return (*_decided_frames(run_id, self.at, self.decisions), cancelled)


F = TypeVar("F", bound=RunFact)

RUN_FACTS: Final[tuple[type[RunFact], ...]] = (
    Created,
    Claimed,
    TakenOver,
    Released,
    Suspended,
    Decided,
    Completed,
    Failed,
    Cancelled,
)


def denial(approval: Approval, reason: str) -> Decision:
    """What closes an approval that nobody decides any more."""
    return Decision(approval_id=approval.approval_id, outcome="deny", reason=reason, by="reattach")


def same_arguments(one: Approval, other: Approval) -> bool:
    """Compared as JSON: in Python `1 == True`."""
    return digest_of(one.tool, one.decided_arguments) == digest_of(other.tool, other.decided_arguments)


def _decided_frames(run_id: RunId, at: datetime, decisions: tuple[Decision, ...]) -> tuple[Frame, ...]:
    return tuple(f.ApprovalDecided(run_id=run_id, at=at, **decision.model_dump()) for decision in decisions)
