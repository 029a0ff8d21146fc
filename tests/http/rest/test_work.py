"""Remote workers over HTTP: claim, renew, and the ends of a segment; and everything that is refused."""

from typing import Any, Final

import httpx
import pytest

from .serving import Api, Held, problem_of


def test_a_claim_brings_everything_a_worker_needs(api: Api) -> None:
    run = api.run(input={"any": "input"})
    assignment = api.claim(run, "w-7").assignment
    assert assignment["run"] == {**api.read(run), "head_seq": 2}
    assert (assignment["run"]["status"], assignment["run"]["epoch"]) == ("running", 1)
    assert (assignment["input"], assignment["next_seq"]) == ({"any": "input"}, 3)
    assert (assignment["checkpoint"], assignment["decisions"]) == (None, [])
    assert (assignment["outline"]["messages"], assignment["outline"]["part_count"]) == (0, 0)


def test_no_work_is_an_empty_list(api: Api) -> None:
    while api.post("/v1/work/claim", {"worker": "w", "agents": ["script", "plain"], "limit": 100}).json()["items"]:
        pass
    answer = api.post("/v1/work/claim", {"worker": "w", "agents": ["script"], "limit": 100})
    assert (answer.status_code, answer.json()) == (200, {"items": [], "next_cursor": None})


BAD_CLAIMS: Final[list[dict[str, Any]]] = [
    {},
    {"worker": "w"},
    {"worker": "w", "agents": []},
    {"worker": "", "agents": ["plain"]},
    {"worker": "w w", "agents": ["plain"]},
    {"worker": "w\u0000", "agents": ["plain"]},
    {"worker": "w", "agents": "plain"},
    {"worker": "w", "agents": [1]},
    {"worker": "w", "agents": ["plain"] * 101},
    {"worker": "w", "agents": ["plain"], "limit": 0},
    {"worker": "w", "agents": ["plain"], "limit": 101},
    {"worker": "w", "agents": ["plain"], "limit": "1"},
    {"worker": "w", "agents": ["plain"], "limit": 10**300},
    {"worker": "w", "agents": ["plain"], "more": 1},
]


@pytest.mark.parametrize("body", BAD_CLAIMS)
def test_what_a_claim_can_not_be(api: Api, body: dict[str, Any]) -> None:
    problem_of(api.post("/v1/work/claim", body), 422, "invalid")


def test_agents_that_are_not_here_can_not_be_claimed(api: Api) -> None:
    problem_of(api.post("/v1/work/claim", {"worker": "w", "agents": ["gone"]}), 422, "unknown_agent")


def test_a_run_from_claim_to_end(api: Api, held: Held) -> None:
    output = held.output(*held.says("hé"), first_seq=3)
    assert (output.status_code, output.json()) == (200, {"head_seq": 7})
    assert held.output(*held.says("two", 2, 2), first_seq=8).json() == {"head_seq": 12}
    done = held.post("complete", {"stop_reason": "end_turn", "usage": {"tokens": 1}})
    assert (done.status_code, done.json()["status"], done.json()["head_seq"]) == (200, "completed", 13)
    frames = held.frames()
    assert frames[4] == f'{{"type":"text.delta","seq":5,"part":"{held.part(1)}","text":"hé"}}'
    assert len(frames) == 13


def test_a_stale_worker_is_refused_everywhere(api: Api, held: Held) -> None:
    """S5"""
    held.post("release")
    now = api.claim(api.read(held), "w2")
    assert now.epoch == "2"
    before = held.frames()
    refused = {
        "output": held.output(*held.says("late"), first_seq=now.assignment["next_seq"]),
        "suspend": held.post(
            "suspend", {"approvals": [{"tool_call_id": "c", "tool": "t", "arguments": 1}], "step": 1, "state": 1}
        ),
        "complete": held.post("complete"),
        "fail": held.post("fail", {"error": {"type": "late", "message": "late"}}),
        "release": held.post("release"),
        "renew": held.post("renew", {"worker": "w1"}),
    }
    for answer in refused.values():
        problem = problem_of(answer, 412, "stale_epoch")
        assert (problem["epoch"], problem["run_id"]) == (2, held.run_id)
    assert held.frames() == before


def test_a_wait_for_people_and_on(api: Api, held: Held) -> None:
    """A2, A9: no worker is needed while it waits, and any worker goes on."""
    one, two = held.suspend("rm", "mv")
    waiting = api.read(held)
    assert waiting["status"] == "waiting_for_approval"
    assert [(a["approval_id"], a["tool"], a["arguments"]) for a in waiting["pending_approvals"]] == [
        (one, "rm", {"for": "rm"}),
        (two, "mv", {"for": "mv"}),
    ]
    assert all(a["expires_at"].endswith("Z") and len(a["digest"]) == 64 for a in waiting["pending_approvals"])
    decisions = [{"approval_id": one, "outcome": "approve"}, {"approval_id": two, "outcome": "deny", "reason": "no"}]
    resumed = api.post(f"/v1/runs/{held.run_id}/decisions", {"decisions": decisions}).json()
    again = api.claim(resumed, "w2")
    assert again.epoch == "2"
    assert again.assignment["checkpoint"]["state"] == {"at": 1}
    assert [(d["approval_id"], d["outcome"], d["reason"]) for d in again.assignment["decisions"]] == [
        (one, "approve", None),
        (two, "deny", "no"),
    ]
    assert again.post("complete").json()["status"] == "completed"


CALL: Final = {"tool_call_id": "c", "tool": "t", "arguments": 1}
BAD_SUSPENSIONS: Final[list[dict[str, Any]]] = [
    {"approvals": []},
    {"approvals": None},
    {"approvals": [CALL] * 65},
    {"approvals": [{**CALL, "timeout_s": -1}]},
    {"approvals": [{**CALL, "timeout_s": 1e12}]},
    {"approvals": [{**CALL, "tool": ""}]},
    {"approvals": [{**CALL, "x": 1}]},
    {"step": -1},
    {"step": 2**31},
    {"more": 1},
]


@pytest.mark.parametrize("change", BAD_SUSPENSIONS)
def test_what_a_suspension_can_not_be(api: Api, held: Held, change: dict[str, Any]) -> None:
    body = {"approvals": [{"tool_call_id": "c", "tool": "t", "arguments": 1}], "step": 1, "state": 1}
    problem_of(held.post("suspend", {**body, **change}), 422, "invalid")
    assert api.read(held)["status"] == "running"


def test_a_failure_is_told(api: Api, held: Held) -> None:
    error = {"type": "llm_timeout", "message": "30 s without a token", "retryable": True}
    failed = held.post("fail", {"error": error}).json()
    assert (failed["status"], failed["error"]) == ("failed", error)
    assert api.read(held) == failed


BAD_FAILURES: Final[list[Any]] = [
    None,
    {},
    "late",
    {"type": "late"},
    {"type": "Late", "message": "m"},
    {"type": "a", "message": "m" * 2001},
    {"type": "a", "message": "m", "retryable": "yes"},
    {"type": "a", "message": "m", "more": 1},
]


@pytest.mark.parametrize("error", BAD_FAILURES)
def test_what_a_failure_can_not_be(api: Api, held: Held, error: Any) -> None:
    problem_of(held.post("fail", {"error": error}), 422, "invalid")
    assert api.read(held)["status"] == "running"


def test_a_run_does_not_end_with_open_parts(api: Api, held: Held) -> None:
    held.output(*held.says("x")[:3])
    problem_of(held.post("complete"), 422, "invalid")
    assert api.read(held)["status"] == "running"


def test_leases_are_renewed_by_who_holds_them(held: Held) -> None:
    assert held.post("renew", {"worker": "w1"}).json() == {"run_id": held.run_id, "epoch": 1}
    assert held.post("renew", {"worker": "w2"}).status_code in (409, 412)
    problem_of(held.post("renew"), 422, "invalid")


VERBS = {
    "output": {"first_seq": 3, "frames": [{"type": "data", "name": "n", "value": 1}]},
    "suspend": {"approvals": [{"tool_call_id": "c", "tool": "t", "arguments": 1}], "step": 1, "state": 1},
    "complete": {},
    "fail": {"error": {"type": "a", "message": "m"}},
    "release": {},
    "renew": {"worker": "w"},
}


@pytest.mark.parametrize(("verb", "body"), VERBS.items())
def test_unknown_runs_and_wrong_epochs(api: Api, held: Held, verb: str, body: dict[str, Any]) -> None:
    def post(run_id: str, **headers: str) -> httpx.Response:
        return api.post(f"/v1/runs/{run_id}/{verb}", body, **headers)

    for run_id in (f"run_{'0' * 26}", "run_x", held.assignment["run"]["session_id"], "%00"):
        problem_of(post(run_id, Run_Epoch="1"), 404, "not_found")
    for epoch in ("", "-1", "1.0", "one", "1" * 10, "²", "1, 1"):
        named = {b"Run-Epoch": epoch.encode("latin-1")}
        refused = api.http.post(f"/v1/runs/{held.run_id}/{verb}", json=body, headers=named)
        assert problem_of(refused, 400, "malformed")["field"] == "Run-Epoch"
    problem_of(post(held.run_id), 400, "malformed")
    for epoch in ("0", "2", "999999999"):
        problem_of(post(held.run_id, Run_Epoch=epoch), 412, "stale_epoch")
    assert api.read(held)["head_seq"] == 2
