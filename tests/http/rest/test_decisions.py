"""Decisions over HTTP: one by one, again, too late, and all the wrong ones."""

import json
from typing import Any, Final

import pytest

from .serving import Api, problem_of


def test_decisions_one_by_one(api: Api) -> None:
    """A2, A3, A4: the run waits for the last one; a repeat changes nothing; the first decision stands."""
    held = api.claim(api.run())
    one, two = held.suspend("rm", "mv")
    partly = api.decide(held.run_id, {"approval_id": one, "outcome": "deny", "reason": "no"}).json()
    assert (partly["status"], [a["approval_id"] for a in partly["pending_approvals"]]) == (
        "waiting_for_approval",
        [two],
    )
    assert api.decide(held.run_id, {"approval_id": one, "outcome": "deny"}).json() == partly
    lost = problem_of(api.decide(held.run_id, {"approval_id": one, "outcome": "approve"}), 409, "decision_conflict")
    assert (lost["approval_id"], lost["run_id"]) == (one, held.run_id)
    assert (lost["decision"]["outcome"], lost["decision"]["reason"]) == ("deny", "no")
    edited = {"approval_id": two, "outcome": "approve", "arguments": {"for": "less"}}
    done = api.decide(held.run_id, edited).json()
    assert (done["status"], done["pending_approvals"]) == ("pending", [])
    assert api.decide(held.run_id, edited).json() == done
    decisions = api.claim(done).assignment["decisions"]
    assert [(d["outcome"], d["decided_arguments"], d["by"]) for d in decisions] == [
        ("deny", None, "default"),
        ("approve", {"for": "less"}, "default"),
    ]


BAD_DECISIONS: Final[list[tuple[int, str, Any]]] = [
    (422, "invalid", []),
    (404, "unknown_approval", [{"approval_id": "1.1.a9", "outcome": "approve"}]),
    (404, "unknown_approval", [{"approval_id": "", "outcome": "approve"}]),
    (404, "unknown_approval", [{"approval_id": "\u0000", "outcome": "approve"}]),
    (422, "invalid", [{"approval_id": "ID", "outcome": "approve"}, {"approval_id": "ID", "outcome": "approve"}]),
    (422, "invalid", [{"approval_id": "ID", "outcome": "maybe"}]),
    (422, "invalid", [{"approval_id": "ID"}]),
    (422, "invalid", [{"outcome": "approve"}]),
    (422, "invalid", [{"approval_id": "ID", "outcome": "deny", "arguments": {}}]),
    (422, "invalid", [{"approval_id": "ID", "outcome": "deny", "reason": "x" * 2001}]),
    (422, "invalid", [{"approval_id": "ID", "outcome": "deny", "by": "somebody else"}]),
    (422, "invalid", [{"approval_id": "ID", "outcome": "deny"}] * 65),
    (422, "invalid", "ID"),
    (422, "invalid", None),
]
"""Status, code and the decisions; ID stands for the approval that is asked for."""


@pytest.mark.parametrize(("status", "code", "decisions"), BAD_DECISIONS)
def test_bad_decisions_apply_nothing(api: Api, decisions: Any, status: int, code: str) -> None:
    """A5"""
    held = api.claim(api.run())
    (approval_id,) = held.suspend("rm")
    before = api.read(held)
    body = json.loads(json.dumps({"decisions": decisions}).replace("ID", approval_id))
    problem_of(api.post(f"/v1/runs/{held.run_id}/decisions", body), status, code)
    assert api.read(held) == before


def test_a_run_that_waits_for_nobody_takes_no_decisions(api: Api) -> None:
    run = api.run()
    problem = problem_of(
        api.decide(run["run_id"], {"approval_id": "1.1.a1", "outcome": "deny"}), 404, "unknown_approval"
    )
    assert problem["run_id"] == run["run_id"]
