"""Approvals: decided once, bound to their arguments, expired at their very instant, closed by every end."""

from datetime import timedelta
from typing import Any, Final

import pytest
from hypothesis import given
from pydantic_core import from_json, to_json

from reattach.domain.errors import DecisionConflict, Invalid, ReattachError, UnknownApproval
from reattach.domain.run_facts import Approval, Decision, Suspended, digest_of
from reattach.domain.transitions import Status

from .log import RunLog, run_in
from .strategies import JSON


def approve(number: int = 1, arguments: Any = None) -> Decision:
    return Decision(approval_id=f"1.1.a{number}", outcome="approve", arguments=arguments, by="ada")


def deny(number: int = 1) -> Decision:
    return Decision(approval_id=f"1.1.a{number}", outcome="deny", reason="no", by="bob")


def waiting(*calls: tuple[str, Any]) -> RunLog:
    log = RunLog()
    log.create()
    log.claim()
    log.suspend(*(calls or (("pay", {"sum": 1}),)))
    return log


def test_decisions_may_come_one_by_one() -> None:
    log = waiting(("pay", 1), ("mail", 2))
    log.decide(deny(2))
    assert log.run.status is Status.WAITING
    log.decide(approve(1))
    assert log.run.status is Status.PENDING
    assert [a.outcome for a in log.run.decisions] == ["approve", "deny"]
    kinds = [frame["type"] for frame in log.frames[-3:]]
    assert kinds == ["approval.decided", "approval.decided", "run.resumed"]


def test_an_agent_gets_the_decisions_of_its_last_wait() -> None:
    log = waiting(("pay", 1))
    assert log.run.decisions == ()
    log.decide(approve(1))
    log.claim()
    log.suspend(("mail", 2))
    log.decide(deny(2))
    assert [(a.approval_id, a.outcome) for a in log.run.decisions] == [("1.1.a2", "deny")]


@pytest.mark.parametrize("decision", [approve(), approve(arguments={"sum": 2}), deny()])
def test_the_same_decision_again_is_no_decision(decision: Decision) -> None:
    log = waiting()
    log.decide(decision)
    for go_on in (log.claim, log.cancel, lambda: None):  # pending, running, cancelled: at any time
        before = log.lines
        assert log.decide(decision) is None
        assert log.lines == before
        go_on()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (approve(), deny()),
        (deny(), approve()),
        (approve(), approve(arguments={"sum": 2})),
        (approve(arguments={"sum": 2}), approve()),
        (approve(arguments={"sum": True}), approve(arguments={"sum": 1})),
        (approve(arguments={"sum": 1.0}), approve(arguments={"sum": 1})),
    ],
)
def test_an_opposite_decision_names_the_winner(first: Decision, second: Decision) -> None:
    log = waiting(("pay", {"sum": 3}), ("mail", 2))
    log.decide(first)
    before = log.run, log.lines
    with pytest.raises(DecisionConflict) as refusal:
        log.decide(approve(2), second)
    assert refusal.value.fields["decision"]["by"] == first.by
    assert refusal.value.fields["decision"]["outcome"] == first.outcome
    assert (log.run, log.lines) == before


@pytest.mark.parametrize(
    ("decisions", "error"),
    [
        ([], Invalid),
        ([approve(), approve()], Invalid),
        ([approve(), deny()], Invalid),
        ([approve(9)], UnknownApproval),
        ([approve(1), approve(9)], UnknownApproval),
    ],
)
def test_bad_ids_apply_nothing(decisions: list[Decision], error: type[ReattachError]) -> None:
    log = waiting()
    before = log.run, log.lines
    with pytest.raises(error):
        log.decide(*decisions)
    assert (log.run, log.lines) == before


def test_an_edit_with_the_logged_arguments_is_a_plain_approval() -> None:
    log = waiting()
    log.decide(approve())
    assert log.decide(approve(arguments={"sum": 1})) is None


@given(logged=JSON, edited=JSON)
def test_what_is_executed_is_what_was_decided(logged: Any, edited: Any) -> None:
    log = waiting(("pay", logged))
    log.decide(approve(arguments=edited))
    decided = log.run.decisions[0]
    executed = logged if edited is None else edited
    assert to_json(decided.decided_arguments) == to_json(executed)
    assert decided.digest == digest_of("pay", from_json(to_json(logged)))


@given(one=JSON, other=JSON)
def test_the_digest_tells_calls_apart(one: Any, other: Any) -> None:
    same = to_json(one) == to_json(other)
    assert (digest_of("pay", one) == digest_of("pay", other)) == same
    assert digest_of("pay", one) != digest_of("pai", one)


def test_approvals_that_bind_nothing_are_refused() -> None:
    log = run_in(Status.RUNNING)
    good = waiting().run.approvals[0]
    undigested = good.model_copy(update={"arguments": {"sum": 2}})
    decided = good.model_copy(update={"outcome": "approve"})
    bad: list[tuple[Approval, ...]] = [(), (good, good), (undigested,), (decided,)]
    for approvals in bad:
        with pytest.raises(Invalid):
            log.record(Suspended(at=log.now, epoch=1, approvals=approvals, closes=()))
    log.record(Suspended(at=log.now, epoch=1, approvals=(good,), closes=()))
    log.decide(approve())
    log.claim()
    with pytest.raises(Invalid):  # an id is asked for once in a run's life
        log.record(Suspended(at=log.now, epoch=2, approvals=(good,), closes=()))


TICK: Final = timedelta(microseconds=1)


def test_a_deadline_passes_at_its_very_instant() -> None:
    log = waiting()
    deadline = log.run.approvals[0].expires_at
    log.now = deadline - TICK
    assert log.expire() is None
    log.now = deadline
    assert log.expire() is not None
    assert (log.run.status, log.run.approvals[0].reason) == (Status.PENDING, "expired")
    assert log.frames[-2]["reason"] == "expired"
    assert log.expire() is None


def test_a_decision_at_the_deadline_comes_too_late() -> None:
    log = waiting()
    log.now = log.run.approvals[0].expires_at - TICK
    assert log.run.decide((approve(),), log.now) is not None
    log.now += TICK
    with pytest.raises(DecisionConflict) as refusal:
        log.decide(approve())
    assert refusal.value.fields["decision"]["reason"] == "expired"
    assert log.decide(deny()) is None  # denied is what it is, once the sweep has come by
    assert log.run.status is Status.WAITING


def test_only_what_is_due_expires() -> None:
    soon, later = waiting(("pay", 1), ("mail", 2)).run.approvals
    later = later.model_copy(update={"expires_at": soon.expires_at + TICK})
    log = run_in(Status.RUNNING)
    log.record(Suspended(at=log.now, epoch=1, approvals=(soon, later), closes=()))
    log.now = soon.expires_at
    log.expire()
    assert ([a.outcome for a in log.run.approvals], log.run.status) == (["deny", None], Status.WAITING)
    log.now = later.expires_at
    log.expire()
    assert ([a.outcome for a in log.run.approvals], log.run.status) == (["deny", "deny"], Status.PENDING)


@pytest.mark.parametrize("end", ["cancel", "fail"])
def test_an_end_does_not_rename_an_expiry(end: str) -> None:
    """Who decided past the deadline was told that it had expired, though nothing of it was recorded yet."""
    log = waiting(("pay", 1))
    log.now = log.run.approvals[0].expires_at
    with pytest.raises(DecisionConflict):
        log.decide(approve(1))
    {"cancel": log.cancel, "fail": log.fail}[end]()
    assert [(a.outcome, a.reason) for a in log.run.approvals] == [("deny", "expired")]


@pytest.mark.parametrize(("end", "reason"), [("cancel", "cancelled"), ("fail", "failed")])
def test_an_end_closes_the_approvals_as_denied(end: str, reason: str) -> None:
    log = waiting(("pay", 1), ("mail", 2), ("call", 3))
    log.decide(approve(2))
    {"cancel": log.cancel, "fail": log.fail}[end]()
    assert [(a.outcome, a.reason) for a in log.run.approvals] == [("deny", reason), ("approve", None), ("deny", reason)]
    decided = [frame for frame in log.frames if frame["type"] == "approval.decided"]
    assert [(frame["approval_id"], frame["reason"]) for frame in decided] == [
        ("1.1.a2", None),
        ("1.1.a1", reason),
        ("1.1.a3", reason),
    ]
    assert log.frames[-1]["type"] == f"run.{log.run.status}"
    assert log.decide(deny(1)) is None
    with pytest.raises(DecisionConflict):
        log.decide(approve(1))
