"""Run: one attempt of a job. The state machine that everything else serves.

State, commands (they may refuse), appliers (they never do), in this order. Its facts are in `run_facts.py`, its table
is RUN_TABLE in `transitions.py`.
"""

from datetime import datetime
from typing import Any, ClassVar, Final

from pydantic import AwareDatetime, JsonValue

from .aggregate import Aggregate
from .errors import DecisionConflict, IllegalTransition, Invalid, StaleEpoch, UnknownApproval
from .frames import RunError
from .identifiers import JobId, RunId, SessionId
from .request_config import EVERYTHING, RequestConfig
from .run_facts import (
    WORKER_LOST,
    Approval,
    Cancelled,
    Claimed,
    Completed,
    Created,
    Decided,
    Decision,
    F,
    Failed,
    Released,
    RunFact,
    Suspended,
    TakenOver,
    WorkerFact,
    denial,
    digest_of,
    same_arguments,
)
from .transitions import Status

TAKEOVERS_MAX: Final = 3
"""Times a run changes hands because a lease expired; after that it fails with `worker_lost`."""


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
    request_config: RequestConfig = EVERYTHING
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
        due = tuple(denial(approval, "expired") for approval in self.pending_approvals if approval.expired(at))
        return self._decided_now(due, at) if due else None

    def fail(self, error: RunError, at: datetime, closes: tuple[str, ...]) -> Failed:
        """End the run with an error. Approvals it waits for are closed as denied."""
        return self._allowed(Failed(at=at, error=error, closes=closes, decisions=self._denials("failed", at)))

    def cancel(self, reason: str, by: str, at: datetime, closes: tuple[str, ...]) -> Cancelled:
        """End the run at somebody's wish. Approvals it waits for are closed as denied."""
        return self._allowed(
            Cancelled(at=at, reason=reason, by=by, closes=closes, decisions=self._denials("cancelled", at))
        )

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

    def _denials(self, reason: str, at: datetime) -> tuple[Decision, ...]:
        """What is past its deadline has been denied for that: whoever asked in between was told so already."""
        pending = self.pending_approvals
        return tuple(denial(approval, "expired" if approval.expired(at) else reason) for approval in pending)

    def _repeats(self, decision: Decision, at: datetime) -> bool:
        approval = next((a for a in self.approvals if a.approval_id == decision.approval_id), None)
        if approval is None:
            raise UnknownApproval(approval_id=decision.approval_id, run_id=self.run_id)
        if approval.expired(at):
            approval = self._decided(approval, (denial(approval, "expired"),))
        if approval.outcome is None:
            return False
        same = approval.outcome == decision.outcome
        if same and (decision.outcome == "deny" or same_arguments(approval, self._decided(approval, (decision,)))):
            return True
        winner = approval.model_dump(
            mode="json", include={"approval_id", "outcome", "reason", "decided_arguments", "by"}
        )
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
                changed |= {"created_at": fact.at} | {
                    name: getattr(fact, name) for name in Created.model_fields if name != "at"
                }
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
        fields = {
            "outcome": decision.outcome,
            "reason": decision.reason,
            "decided_arguments": arguments,
            "by": decision.by,
        }
        return approval.model_copy(update=fields)
