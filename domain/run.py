"""Run: one attempt of a job. The state machine that everything else serves.

States, facts, commands (they may refuse), appliers (they never do), in this order. The table is RUN_TABLE in
`transitions.py`; the source of every rule below is docs/architecture.md.
"""

import hashlib
from datetime import datetime
from typing import Any, ClassVar, Final, Literal, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue
from pydantic_core import to_json

from . import frames as f
from .aggregate import Aggregate, Fact
from .errors import DecisionConflict, IllegalTransition, Invalid, StaleEpoch, UnknownApproval
from .frames import Frame, RunError
from .identifiers import JobId, RunId, SessionId
from .request_config import RequestConfig
from .transitions import Status

TAKEOVERS_MAX: Final = 3
"""Times a run changes hands because a lease expired; after that it fails with `worker_lost`."""

WORKER_LOST: Final = RunError(type="worker_lost", message="The worker of this run died or lost its lease.", retryable=True)

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

    def frames(self, run_id: RunId) -> tuple[Frame, ...]:
        """At least one frame; together they take as many versions as they are."""
        raise NotImplementedError


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
                **approval.model_dump(include={"approval_id", "tool_call_id", "tool", "arguments", "digest", "expires_at"}),
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


def _denial(approval: Approval, reason: str) -> Decision:
    return Decision(approval_id=approval.approval_id, outcome="deny", reason=reason, by="reattach")


def _same_arguments(one: Approval, other: Approval) -> bool:
    """Compared as JSON: in Python `1 == True`."""
    return digest_of(one.tool, one.decided_arguments) == digest_of(other.tool, other.decided_arguments)


def _decided_frames(run_id: RunId, at: datetime, decisions: tuple[Decision, ...]) -> tuple[Frame, ...]:
    return tuple(f.ApprovalDecided(run_id=run_id, at=at, **decision.model_dump()) for decision in decisions)


class Run(Aggregate):
    """One attempt of a job; in a session, one turn. `epoch` rises by 1 with each change of hands.

    `approvals` are all it ever asked for, `asked` the ids of its last wait.
    """

    machine: ClassVar = "run"

    run_id: RunId = RunId("")
    tenant: str = ""
    session_id: SessionId = SessionId("")
    job_id: JobId = JobId("")
    turn: int = 0
    attempt: int = 0
    agent: str = ""
    message_id: str = ""
    prompt: str | None = None
    request_config: RequestConfig = RequestConfig()
    status: Status | None = None
    epoch: int = 0
    worker: str | None = None
    takeovers: int = 0
    approvals: tuple[Approval, ...] = ()
    asked: tuple[str, ...] = ()
    stop_reason: str | None = None
    error: RunError | None = None
    usage: dict[str, JsonValue] | None = None
    created_at: AwareDatetime | None = None
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None

    @property
    def state(self) -> str | None:
        return self.status

    @property
    def final(self) -> bool:
        """Whether the run has ended."""
        return self.status is not None and self.status.final

    @property
    def pending_approvals(self) -> tuple[Approval, ...]:
        """The approvals nobody has decided yet."""
        return tuple(approval for approval in self.approvals if approval.outcome is None)

    @property
    def decisions(self) -> tuple[Approval, ...]:
        """The approvals of the last wait, as they were decided."""
        return tuple(a for a in self.approvals if a.approval_id in self.asked and a.outcome is not None)

    # Commands: each returns the fact that would record it, or raises.

    def claim(self, worker: str, at: datetime) -> Claimed:
        """A worker begins, or goes on after a wait."""
        return self._allowed(Claimed(at=at, worker=worker, epoch=self.epoch + 1))

    def take_over(self, worker: str, at: datetime, to_seq: int, closes: tuple[str, ...]) -> TakenOver | Failed:
        """Another worker goes on after the lease expired; one time too many, and the run fails instead."""
        if self.status is Status.RUNNING and self.takeovers >= TAKEOVERS_MAX:
            return self.fail(WORKER_LOST, at, closes)
        return self._allowed(TakenOver(at=at, worker=worker, epoch=self.epoch + 1, to_seq=to_seq, closes=closes))

    def decide(self, decisions: tuple[Decision, ...], at: datetime) -> Decided | None:
        """Record decisions; None if all of them were recorded before (a harmless repeat).

        Raises Invalid (none, or one approval twice), UnknownApproval, DecisionConflict (it was decided otherwise).
        All or nothing. What is past its deadline counts as denied, whether or not that is recorded yet.
        """
        ids = [decision.approval_id for decision in decisions]
        if not ids or len(dict.fromkeys(ids)) != len(ids):
            raise Invalid("Name at least one approval, and each only once.", field="decisions")
        fresh = tuple(decision for decision in decisions if not self._repeats(decision, at))
        return self._decided_now(fresh, at) if fresh else None

    def expire(self, at: datetime) -> Decided | None:
        """Deny what is past its deadline; None if nothing is."""
        due = tuple(_denial(approval, "expired") for approval in self.pending_approvals if approval.expired(at))
        return self._decided_now(due, at) if due else None

    def fail(self, error: RunError, at: datetime, closes: tuple[str, ...]) -> Failed:
        """End the run with an error. Approvals it waits for are closed as denied."""
        return self._allowed(Failed(at=at, error=error, closes=closes, decisions=self._denials("failed")))

    def cancel(self, reason: str, by: str, at: datetime, closes: tuple[str, ...]) -> Cancelled:
        """End the run at somebody's wish. Approvals it waits for are closed as denied."""
        return self._allowed(Cancelled(at=at, reason=reason, by=by, closes=closes, decisions=self._denials("cancelled")))

    def allow(self, fact: RunFact) -> None:
        """The table, then the epoch. Raises IllegalTransition or StaleEpoch; the log stays as it is."""
        if isinstance(fact, WorkerFact) and fact.epoch != self.epoch:
            detail = f"The worker holds epoch {fact.epoch}, the run is at {self.epoch}."
            raise StaleEpoch(detail, run_id=self.run_id, epoch=self.epoch)
        super().allow(fact)
        if isinstance(fact, Claimed) and fact.epoch != self.epoch + 1:
            raise IllegalTransition("A change of hands raises the epoch by exactly one.", epoch=self.epoch)
        if isinstance(fact, TakenOver) and self.takeovers >= TAKEOVERS_MAX:
            raise IllegalTransition(f"It was taken over {self.takeovers} times already.", takeovers=self.takeovers)
        if isinstance(fact, Suspended):
            self._check_approvals(fact.approvals)

    def _allowed(self, fact: F) -> F:
        self.allow(fact)
        return fact

    def _check_approvals(self, approvals: tuple[Approval, ...]) -> None:
        """A wait that nobody could end, or end twice, or that shows other arguments than it binds, never begins."""
        ids = [approval.approval_id for approval in (*self.approvals, *approvals)]
        bound = all(a.outcome is None and a.digest == digest_of(a.tool, a.arguments) for a in approvals)
        if not approvals or len(dict.fromkeys(ids)) != len(ids) or not bound:
            raise Invalid("A wait needs approvals with new ids, undecided, and with their digests.", field="approvals")

    def _decided_now(self, decisions: tuple[Decision, ...], at: datetime) -> Decided:
        ids = [decision.approval_id for decision in decisions]
        resumes = all(approval.approval_id in ids for approval in self.pending_approvals)
        return self._allowed(Decided(at=at, decisions=decisions, resumes=resumes, epoch=self.epoch))

    def _denials(self, reason: str) -> tuple[Decision, ...]:
        return tuple(_denial(approval, reason) for approval in self.pending_approvals)

    def _repeats(self, decision: Decision, at: datetime) -> bool:
        approval = next((a for a in self.approvals if a.approval_id == decision.approval_id), None)
        if approval is None:
            raise UnknownApproval(approval_id=decision.approval_id, run_id=self.run_id)
        if approval.expired(at):
            approval = self._decided(approval, (_denial(approval, "expired"),))
        if approval.outcome is None:
            return False
        same = approval.outcome == decision.outcome
        if same and (decision.outcome == "deny" or _same_arguments(approval, self._decided(approval, (decision,)))):
            return True
        winner = approval.model_dump(mode="json", include={"approval_id", "outcome", "reason", "decided_arguments", "by"})
        raise DecisionConflict(approval_id=approval.approval_id, decision=winner)

    # Appliers: history is law.

    def target(self, fact: RunFact) -> str:
        match fact:
            case Created() | Released():
                return Status.PENDING
            case Claimed():
                return Status.RUNNING
            case Suspended():
                return Status.WAITING
            case Decided():
                return Status.PENDING if fact.resumes else Status.WAITING
            case Completed():
                return Status.COMPLETED
            case Failed():
                return Status.FAILED
            case Cancelled():
                return Status.CANCELLED
            case _:
                message = f"{type(fact).__name__} is no fact of a run"
                raise TypeError(message)

    def changes(self, fact: RunFact) -> dict[str, Any]:
        status = Status(self.target(fact))
        changed: dict[str, Any] = {"status": status}
        if status.final:
            changed |= {"ended_at": fact.at, "worker": None}
        match fact:
            case Created():
                changed |= {"created_at": fact.at} | {name: getattr(fact, name) for name in Created.model_fields if name != "at"}
            case Claimed():
                takeovers = self.takeovers + isinstance(fact, TakenOver)
                started = self.started_at or fact.at
                changed |= {"epoch": fact.epoch, "worker": fact.worker, "takeovers": takeovers, "started_at": started}
            case Released():
                changed |= {"worker": None}
            case Suspended():
                asked = tuple(approval.approval_id for approval in fact.approvals)
                changed |= {"worker": None, "approvals": (*self.approvals, *fact.approvals), "asked": asked}
            case Completed():
                changed |= {"stop_reason": fact.stop_reason, "usage": fact.usage}
            case _:
                pass
        if isinstance(fact, Failed):
            changed |= {"error": fact.error}
        if isinstance(fact, Decided | Failed | Cancelled):
            changed |= {"approvals": tuple(self._decided(approval, fact.decisions) for approval in self.approvals)}
        return changed

    @staticmethod
    def _decided(approval: Approval, decisions: tuple[Decision, ...]) -> Approval:
        decision = next((d for d in decisions if d.approval_id == approval.approval_id), None)
        if decision is None:
            return approval
        arguments = None
        if decision.outcome == "approve":
            arguments = decision.arguments if decision.arguments is not None else approval.arguments
        fields = {"outcome": decision.outcome, "reason": decision.reason, "decided_arguments": arguments, "by": decision.by}
        return approval.model_copy(update=fields)
