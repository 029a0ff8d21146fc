"""Planted bugs of approvals: asked for, decided once, expired in time, executed as approved."""

from typing import Final

from .edit import Edit, Planted

_APPLICATION: Final = "domain.application:Application"
_EXPIRED: Final = "domain.run_facts:Approval.expired"
_NOT_IN_ORDER: Final = "decision-not-linearizable"

APPROVALS: Final = (
    Planted(
        "decision-checked-then-acted",
        "A decision is judged by a run that was read before, and recorded in the run as it is by then.",
        ("decided-twice", "resume-wrong", _NOT_IN_ORDER),
        (
            Edit(
                f"{_APPLICATION}.decide",
                "await self.store.transact(overdue)",
                "view = await self.store.run_view(as_run(run_id))\n    await self.store.transact(overdue)",
            ),
            Edit(
                f"{_APPLICATION}.decide",
                "fact = run.decide(tuple(decisions), tx.now)",
                "fact = (view.run if view else run).decide(tuple(decisions), tx.now)",
            ),
        ),
    ),
    Planted(
        "cancel-leaves-approvals-open",
        "A run that is cancelled does not close the approvals it waits for.",
        ("approval-left-open",),
        (Edit("domain.run:Run.cancel", 'self._denials("cancelled", at)', "()"),),
    ),
    Planted(
        "cancel-renames-an-expiry",
        "A cancel closes as cancelled what had expired, also after somebody was told that it had.",
        ("approval-left-open", _NOT_IN_ORDER),
        (Edit("domain.run:Run._denials", '"expired" if approval.expired(at) else reason', "reason"),),
    ),
    Planted(
        "one-decision-for-all",
        "A run goes on with the first decision, however many it waits for.",
        ("resume-wrong",),
        (Edit("domain.run:Run._decided_now", "resumes = all(", "resumes = any("),),
    ),
    Planted(
        "last-decision-wins",
        "An approval can be decided again.",
        ("decided-twice",),
        (Edit("domain.run:Run._repeats", "if approval.outcome is None:", "if self.status is Status.WAITING:"),),
    ),
    Planted(
        "conflict-not-told",
        "Who decides otherwise than somebody before is told that it was done.",
        (_NOT_IN_ORDER,),
        (Edit("domain.run:Run._repeats", "raise DecisionConflict(", "return True or DecisionConflict("),),
    ),
    Planted(
        "same-decision-refused",
        "Who says again what was decided is told of a conflict.",
        (_NOT_IN_ORDER,),
        (Edit("domain.run:Run._repeats", "same = approval.outcome == decision.outcome", "same = False"),),
    ),
    Planted(
        "edit-ignored",
        "Who approves with other arguments approves those that were asked for.",
        ("decision-altered", _NOT_IN_ORDER),
        (
            Edit(
                "domain.run:Run._decided",
                "decision.arguments if decision.arguments is not None else approval.arguments",
                "approval.arguments",
            ),
        ),
    ),
    Planted(
        "expired-too-early",
        "An approval expires a second before its deadline.",
        ("expired-early",),
        (Edit(_EXPIRED, "now >= self.expires_at", "(self.expires_at - now).total_seconds() <= 1"),),
    ),
    Planted(
        "expired-too-late",
        "An approval can be decided for a second after its deadline.",
        ("decided-late",),
        (Edit(_EXPIRED, "now >= self.expires_at", "(now - self.expires_at).total_seconds() >= 1"),),
    ),
    Planted(
        "never-expired",
        "Nobody looks for approvals past their deadline.",
        ("run-stuck",),
        (Edit(f"{_APPLICATION}.sweep", "tx.expired_approvals(SWEEP_LIMIT)", "()"),),
    ),
    Planted(
        "expiry-undone-by-a-refusal",
        "An expiry is recorded in the transaction of the decision that it refuses, and undone with it.",
        ("expiry-undone", _NOT_IN_ORDER),
        (Edit(f"{_APPLICATION}.decide", "await self.store.transact(overdue)", "pass"),),
    ),
    Planted(
        "decisions-not-handed-over",
        "The agent that goes on is not told what was decided.",
        ("context-wrong", "failed-without-cause"),
        (Edit("adapters.worker:Worker._context", "decisions=run.decisions", "decisions=()"),),
    ),
    Planted(
        "approvals-numbered-again",
        "A second wait gives its approvals the ids of the first.",
        ("approval-reused", "failed-without-cause", "answer-wrong"),
        (Edit(f"{_APPLICATION}.suspend", "asked = len(run.approvals)", "asked = 0"),),
    ),
)
