"""A1-A9: decisions are durable, first wins, nothing runs twice, waiting costs no worker."""

import concurrent.futures
import itertools
from typing import Any

import pytest

from .server import Server
from .test_cancel import APPROVALS, wait_for


def decide(server: Server, run_id: str, *decisions: tuple[str, str], **fields: Any) -> Any:
    body = {"decisions": [{"approval_id": a, "outcome": outcome, **fields} for a, outcome in decisions]}
    return server.post(f"/v1/runs/{run_id}/decisions", body)


@pytest.fixture
def waiting(server: Server) -> tuple[str, str, list[str]]:
    """(session, run, approval ids) of a run that waits for two approvals."""
    session = server.session()
    run_id = server.run(APPROVALS, {"text": "went on"}, session=session)["run_id"]
    return session, run_id, wait_for(server, run_id, "run.suspended")["approvals"]


def test_a_new_turn_is_refused_naming_what_is_waited_for(server: Server, waiting: tuple[str, str, list[str]]) -> None:
    """A1, S7."""
    session, run_id, ids = waiting
    before = len(server.get(f"/v1/runs?session_id={session}").json()["items"])
    for headers in ({}, {"Accept": "text/event-stream"}):
        answer = server.post(f"/v1/sessions/{session}/runs", {"agent": "script", "input": {"steps": []}}, **headers)
        problem = answer.json()
        assert (answer.status_code, problem["code"]) == (409, "session_busy")
        assert (problem["run_id"], problem["pending_approvals"]) == (run_id, ids)
    assert len(server.get(f"/v1/runs?session_id={session}").json()["items"]) == before


def test_decisions_may_come_one_by_one(server: Server, waiting: tuple[str, str, list[str]]) -> None:
    """A2: each is durable, the run waits until all are decided."""
    _, run_id, (first, second) = waiting
    answer = decide(server, run_id, (first, "approve")).json()
    assert answer["status"] == "waiting_for_approval"
    assert [a["approval_id"] for a in answer["pending_approvals"]] == [second]
    decide(server, run_id, (second, "deny"), reason="no")
    blocks = server.frames(run_id)
    assert blocks[-1].event == "run.completed"
    results = [block.json for block in blocks if block.event == "tool.result"]
    assert [("output" in r, "error" in r) for r in results] == [(True, False), (False, True)]


def test_the_same_decision_again_is_a_no_op(start: Any) -> None:
    """A3: at once, after the run went on, and after a restart; the tool runs once."""
    server: Server = start()
    run_id = server.run({"approvals": [{"tool": "t", "arguments": 1, "result": "r"}]})["run_id"]
    (approval,) = wait_for(server, run_id, "run.suspended")["approvals"]
    assert decide(server, run_id, (approval, "approve")).status_code == 200
    assert decide(server, run_id, (approval, "approve")).status_code == 200
    whole = server.frames(run_id)
    server.kill()
    server.start()
    again = decide(server, run_id, (approval, "approve"))
    assert (again.status_code, again.json()["status"]) == (200, "completed")
    assert server.frames(run_id) == whole
    assert sum(block.event == "tool.result" for block in whole) == 1


def test_opposite_decisions_have_one_winner(server: Server) -> None:
    """A4: the loser is told the winner's decision, never something that looks like success."""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        for first, second in itertools.islice(itertools.cycle([("approve", "deny"), ("deny", "approve")]), 10):
            run_id = server.run({"approvals": [{"tool": "t", "arguments": 1, "result": 1}]})["run_id"]
            (approval,) = wait_for(server, run_id, "run.suspended")["approvals"]
            tabs = [pool.submit(decide, server, run_id, (approval, outcome)) for outcome in (first, second)]
            answers = [tab.result() for tab in tabs]
            assert sorted(answer.status_code for answer in answers) == [200, 409]
            loser = next(answer.json() for answer in answers if answer.status_code == 409)
            recorded = [b.json["outcome"] for b in server.frames(run_id) if b.event == "approval.decided"]
            assert loser["code"] == "decision_conflict"
            assert recorded == [loser["decision"]["outcome"]]


@pytest.mark.parametrize("kind", ["unknown", "duplicate", "empty", "mixed"])
def test_impossible_decisions_apply_nothing(server: Server, waiting: tuple[str, str, list[str]], kind: str) -> None:
    """A5."""
    _, run_id, (first, second) = waiting
    decisions = {
        "unknown": [("nope", "approve")],
        "duplicate": [(first, "approve"), (first, "approve")],
        "empty": [],
        "mixed": [(first, "approve"), ("nope", "deny")],
    }[kind]
    answer = decide(server, run_id, *decisions)
    assert 400 <= answer.status_code < 500
    assert answer.headers["content-type"] == "application/problem+json"
    pending = [a["approval_id"] for a in server.get(f"/v1/runs/{run_id}").json()["pending_approvals"]]
    assert pending == [first, second]


def test_what_runs_is_what_was_approved(server: Server) -> None:
    """A6: bound to the logged arguments by their digest; an edit is a decision of its own."""
    step = {"approvals": [{"tool": "t", "arguments": {"n": 1}, "result": "ok"}]}
    plain, edited = server.run(step)["run_id"], server.run(step)["run_id"]
    asked = wait_for(server, plain, "approval.requested")
    assert asked["arguments"] == {"n": 1}
    other = wait_for(server, edited, "approval.requested")
    assert other["digest"] == asked["digest"]
    decide(server, plain, (asked["approval_id"], "approve"))
    decide(server, edited, (other["approval_id"], "approve"), arguments={"n": 2})
    decided = next(b.json for b in server.frames(edited) if b.event == "approval.decided")
    assert decided["arguments"] == {"n": 2}
    outputs = [next(b.json["output"] for b in server.frames(r) if b.event == "tool.result") for r in (plain, edited)]
    assert outputs[0] != outputs[1]
    assert '"n": 2' in str(outputs[1]).replace("'", '"')


def test_a_deadline_denies(server: Server) -> None:
    """A7: visibly, with reason expired, and the session goes on."""
    session = server.session()
    step = {"approvals": [{"tool": "t", "arguments": 1, "result": 1}], "timeout_s": 0.3}
    run_id = server.run(step, session=session)["run_id"]
    blocks = server.frames(run_id)
    decided = next(b.json for b in blocks if b.event == "approval.decided")
    assert (decided["outcome"], decided["reason"]) == ("deny", "expired")
    assert blocks[-1].event == "run.completed"
    late = decide(server, run_id, (decided["approval_id"], "approve"))
    assert (late.status_code, late.json()["decision"]["reason"]) == (409, "expired")
    assert server.frames(server.run({"text": "next"}, session=session)["run_id"])[-1].event == "run.completed"


def test_the_other_tab_sees_the_decision(server: Server, waiting: tuple[str, str, list[str]]) -> None:
    """A8: both watch, one decides."""
    _, run_id, ids = waiting
    with concurrent.futures.ThreadPoolExecutor() as pool:
        tabs = [pool.submit(server.frames, run_id) for _ in range(2)]
        decide(server, run_id, *((i, "approve") for i in ids))
        seen = [tab.result() for tab in tabs]
    assert seen[0] == seen[1]
    assert [b.json["approval_id"] for b in seen[0] if b.event == "approval.decided"] == ids


def test_waiting_survives_every_process(start: Any) -> None:
    """A9: all processes die and start again; the decision still resumes the run, from its checkpoint."""
    server: Server = start()
    steps = [{"text": "before"}, APPROVALS, {"text": "after"}]
    run_id = server.run(*steps)["run_id"]
    ids = wait_for(server, run_id, "run.suspended")["approvals"]
    server.kill()
    server.start()
    status = server.get(f"/v1/runs/{run_id}").json()
    assert (status["status"], len(status["pending_approvals"])) == ("waiting_for_approval", 2)
    decide(server, run_id, *((i, "approve") for i in ids))
    blocks = server.frames(run_id)
    assert blocks[-1].event == "run.completed"
    assert sum("before" in b.data for b in blocks) <= 2
    assert sum(b.event == "tool.result" for b in blocks) == 2
