"""Remote workers over HTTP: claim, output, renew, and the ends of a segment; and everything that is refused."""

from typing import Any

import httpx
import pytest

from .serving import Api, Held, problem_of


@pytest.fixture
def held(api: Api) -> Held:
    """A run that has just been claimed."""
    return api.claim(api.run(input={"any": "input"}))


def frames_of(api: Api, held: Held) -> list[str]:
    text = api.get(f"/v1/runs/{held.run_id}/events", params={"follow": "false"}).text
    return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]


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


@pytest.mark.parametrize(
    "body",
    [
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
    ],
)
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
    frames = frames_of(api, held)
    assert frames[4] == f'{{"type":"text.delta","seq":5,"part":"{held.part(1)}","text":"hé"}}'
    assert len(frames) == 13


def test_the_same_output_again_is_one_copy(api: Api, held: Held) -> None:
    """I3: an acknowledgement may be lost at any time, also after the run went on and ended."""
    says = held.says("hello")
    for _ in range(3):
        assert held.output(*says).json() == {"head_seq": 7}
    held.output(*held.says("more", 2, 2), first_seq=8)
    assert held.output(*says).json() == {"head_seq": 7}
    before = frames_of(api, held)
    other = [*says[:2], {**says[2], "text": "HELLO"}, *says[3:]]
    for wrong in (held.output(*other), held.output(*says[:2]), held.output(*says[1:], first_seq=3)):
        problem_of(wrong, 409, "append_conflict")
    problem_of(held.output(*held.says("gap", 3, 3), first_seq=14), 409, "append_conflict")
    assert frames_of(api, held) == before


def test_seqs_may_be_given_and_must_be_right(held: Held) -> None:
    says = held.says("hello")
    problem_of(held.output({**says[0], "seq": 4}), 422, "invalid_frames")
    problem_of(held.output({**says[0], "seq": 0}), 422, "invalid_frames")
    numbered = [{**frame, "seq": 3 + n} for n, frame in enumerate(says)]
    assert held.output(*numbered).status_code == 200
    assert held.output(*says).status_code == 200


def test_a_stale_worker_is_refused_everywhere(api: Api, held: Held) -> None:
    """S5"""
    held.post("release")
    now = api.claim(api.read(held), "w2")
    assert now.epoch == "2"
    before = frames_of(api, held)
    refused = {
        "output": held.output(*held.says("late"), first_seq=now.assignment["next_seq"]),
        "suspend": held.post("suspend", {"approvals": [{"tool_call_id": "c", "tool": "t", "arguments": 1}], "step": 1, "state": 1}),
        "complete": held.post("complete"),
        "fail": held.post("fail", {"error": {"type": "late", "message": "late"}}),
        "release": held.post("release"),
        "renew": held.post("renew", {"worker": "w1"}),
    }
    for answer in refused.values():
        problem = problem_of(answer, 412, "stale_epoch")
        assert (problem["epoch"], problem["run_id"]) == (2, held.run_id)
    assert frames_of(api, held) == before


def test_a_remembered_head_does_not_outlive_the_epoch(api: Api, held: Held) -> None:
    """S5: the server remembers where this worker stands; another one takes over behind its back."""
    says = held.says("hello")
    assert held.output(*says[:3]).status_code == 200
    held.post("release")
    api.claim(api.read(held), "w2")
    problem_of(held.output(*says[3:], first_seq=6), 412, "stale_epoch")


def test_a_closed_run_takes_no_output(api: Api, held: Held) -> None:
    """S2, and a message that the cancel cut open is no reason to talk of grammar."""
    says = held.says("hello")
    held.output(*says[:3])
    api.post(f"/v1/runs/{held.run_id}/cancel")
    head = api.read(held)["head_seq"]
    for _ in range(2):
        problem = problem_of(held.output(*says[3:], first_seq=head + 1), 409, "run_closed")
        assert problem["run_id"] == held.run_id
    problem_of(held.output(*says[3:], first_seq=6), 409, "run_closed")
    problem_of(held.post("complete"), 409, "illegal_transition")
    problem_of(held.post("renew", {"worker": "w1"}), 409, "run_closed")
    assert held.output(*says[:3]).status_code == 200


def bad_outputs(held: Held) -> list[list[dict[str, Any]]]:
    start, text, delta, end, close = held.says("x")
    return [
        [{**start, "message_id": held.message(2)}],
        [{**start, "message_id": held.message(0)}],
        [{**start, "message_id": f"ses_{'0' * 26}:{held.run_id}:1"}],
        [{**start, "role": "user"}],
        [{**start, "colour": "red"}],
        [start, {**text, "part": "mine"}],
        [start, {**text, "part": held.part(2)}],
        [start, {**text, "message_id": held.message(2)}],
        [start, text, {**delta, "text": 5}],
        [start, text, {**delta, "part": held.part(2)}],
        [start, text, {**delta, "text": "x" * 1_048_576}],
        [start, start],
        [start, text, close],
        [start, text, end, end],
        [text],
        [delta],
        [start, {"type": "tool.result", "tool_call_id": "c", "output": 1, "error": "e"}],
        [{"type": "run.completed", "stop_reason": "x"}],
        [{"type": "approval.requested"}],
        [{"type": "step.reset", "to_seq": 0}],
        [{"type": "unheard.of"}],
        [{"type": None}],
        [{}],
        [{"type": "step.start", "step": 1}, {"type": "step.end", "step": 2, "checkpoint": None}],
        [{"type": "step.start", "step": 1}, {"type": "step.end", "step": 1, "checkpoint": 1}],
        [start, {"type": "step.start", "step": 1}],
    ]


def test_frames_that_break_the_grammar(api: Api, held: Held) -> None:
    for frames in bad_outputs(held):
        problem_of(held.output(*frames), 422, "invalid_frames")
        assert api.read(held)["head_seq"] == 2, frames
    assert held.output(*held.says("after all that")).status_code == 200


@pytest.mark.parametrize(
    "body",
    [{}, {"frames": []}, {"first_seq": 3, "frames": []}, {"first_seq": 0, "frames": [{}]}, {"first_seq": 3, "frames": [1]}]
    + [{"first_seq": 10**16, "frames": [{}]}, {"first_seq": 3, "frames": [{"type": "data"}] * 1001}, {"first_seq": "3", "frames": [{}]}],
)
def test_what_output_can_not_be(held: Held, body: dict[str, Any]) -> None:
    problem_of(held.post("output", body), 422, "invalid")


def test_a_whole_message_comes_back_in_history(api: Api, held: Held) -> None:
    call = {"part": held.part(1), "tool_call_id": "c1", "name": "look"}
    frames = [
        {"type": "step.start", "step": 1},
        held.says("")[0],
        {"type": "tool.call.start", **call},
        {"type": "tool.call.delta", "part": held.part(1), "text": '{"q":'},
        {"type": "tool.call.ready", **call, "arguments": {"q": "\u0000"}},
        {"type": "tool.result", "tool_call_id": "c1", "error": "not found"},
        {"type": "data", "name": "score", "value": [1.5, {"deep": None}]},
        {"type": "source", "url": "https://example.org", "title": None},
        {"type": "file", "name": "a.txt", "media_type": "text/plain", "url": "/a.txt"},
        held.says("")[-1],
        {"type": "step.end", "step": 1, "checkpoint": 1},
    ]
    answer = held.output(*frames, checkpoint={"step": 1, "state": {"seen": ["c1"]}})
    assert answer.status_code == 200, answer.text
    session_id = held.assignment["run"]["session_id"]
    message = api.get(f"/v1/sessions/{session_id}/messages").json()["items"][-1]
    assert (message["message_id"], message["status"]) == (held.message(1), "complete")
    assert [part["kind"] for part in message["parts"]] == ["tool", "tool_result", "data", "source", "file"]
    assert message["parts"][0]["arguments"] == {"q": "\u0000"}
    assert message["parts"][1]["error"] == "not found"


def step(number: int, *, checkpoint: bool) -> list[dict[str, Any]]:
    return [
        {"type": "step.start", "step": number},
        {"type": "step.end", "step": number, "checkpoint": number if checkpoint else None},
    ]


def test_a_checkpoint_comes_with_its_step(api: Api, held: Held) -> None:
    """S11: whoever claims the run next begins from it."""
    state = {"step": 2, "state": {"n": 2}}
    for frames, checkpoint in (
        (step(1, checkpoint=True), None),
        (step(1, checkpoint=False), {"step": 1, "state": 1}),
        (step(1, checkpoint=True), {"step": 2, "state": 1}),
        (step(1, checkpoint=True) + step(2, checkpoint=True), {"step": 1, "state": 1}),
    ):
        problem_of(held.output(*frames, checkpoint=checkpoint), 422, "invalid_frames")
    accepted = held.output(*step(1, checkpoint=True), *step(2, checkpoint=True), *step(3, checkpoint=False), checkpoint=state)
    assert accepted.json() == {"head_seq": 8}
    held.post("release")
    again = api.claim(api.read(held)).assignment
    assert again["checkpoint"] == {**state, "seq": 6}
    assert again["next_seq"] == api.read(held)["head_seq"] + 1


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


@pytest.mark.parametrize(
    "change",
    [{"approvals": []}, {"approvals": None}, {"step": -1}, {"step": 2**31}, {"more": 1}]
    + [{"approvals": [{"tool_call_id": "c", "tool": "t", "arguments": 1, **bad}]} for bad in ({"timeout_s": -1}, {"timeout_s": 1e12}, {"tool": ""}, {"x": 1})]
    + [{"approvals": [{"tool_call_id": "c", "tool": "t", "arguments": 1}] * 65}],
)
def test_what_a_suspension_can_not_be(api: Api, held: Held, change: dict[str, Any]) -> None:
    body = {"approvals": [{"tool_call_id": "c", "tool": "t", "arguments": 1}], "step": 1, "state": 1}
    problem_of(held.post("suspend", {**body, **change}), 422, "invalid")
    assert api.read(held)["status"] == "running"


def test_a_failure_is_told(api: Api, held: Held) -> None:
    error = {"type": "llm_timeout", "message": "30 s without a token", "retryable": True}
    failed = held.post("fail", {"error": error}).json()
    assert (failed["status"], failed["error"]) == ("failed", error)
    assert api.read(held) == failed


@pytest.mark.parametrize(
    "error",
    [None, {}, "late", {"type": "late"}, {"type": "Late", "message": "m"}, {"type": "a", "message": "m" * 2001}]
    + [{"type": "a", "message": "m", "retryable": "yes"}, {"type": "a", "message": "m", "more": 1}],
)
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
        named = {"Run-Epoch": epoch.encode("latin-1")}
        refused = api.http.post(f"/v1/runs/{held.run_id}/{verb}", json=body, headers=named)
        assert problem_of(refused, 400, "malformed")["field"] == "Run-Epoch"
    problem_of(post(held.run_id), 400, "malformed")
    for epoch in ("0", "2", "999999999"):
        problem_of(post(held.run_id, Run_Epoch=epoch), 412, "stale_epoch")
    assert api.read(held)["head_seq"] == 2
