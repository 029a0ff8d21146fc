"""Output of remote workers over HTTP: appended once, in order, in good grammar, by who holds the run."""

from typing import Any, Final

import pytest

from reattach.domain import agent
from reattach.domain.identifiers import RunId
from reattach.domain.outline import Outline
from reattach.domain.scribe import Scribe
from reattach.domain.wire import decode_fields

from .serving import Api, Backend, Held, problem_of


def test_a_remote_worker_writes_what_a_local_one_would(backend: Backend, api: Api, held: Held) -> None:
    """The same outputs by way of the scribe and over the wire: the same bytes, outline and checkpoint."""
    view = backend.call(backend.application.store.run_view(RunId(held.run_id)))
    assert view is not None
    scribe = Scribe(view.run, Outline(), held.assignment["next_seq"])
    outputs: list[agent.Output] = [
        agent.Reasoning("hm"),
        agent.Text('quoted "é" \u0000 \U0001f600'),
        agent.ToolCall("c1", "look", {"z": 1, "a": [1.0, None]}),
        agent.ToolResult("c1", output={"z": 1}),
        agent.Text("more"),
        agent.Data("n", 10**30),
        agent.Source("https://example.org"),
        agent.Checkpoint({"b": 1, "a": 2}),
        agent.ToolCallStart("c2", "look"),
        agent.ToolCallDelta("c2", "{}"),
    ]
    for one in outputs:
        scribe.write(one)
    batch = scribe.take()
    frames = [{name: value for name, value in frame.items() if name != "seq"} for frame in decode_fields(batch.data)]
    answer = held.output(*frames, checkpoint={"step": 1, "state": {"b": 1, "a": 2}})
    assert answer.status_code == 200, answer.text
    assert held.frames()[2:] == [line.decode() for line in batch.data]
    assert held.output(*frames, checkpoint={"step": 1, "state": {"b": 1, "a": 2}}).status_code == 200
    held.post("release")
    again = api.claim(api.read(held)).assignment
    assert again["outline"] == batch.outline.closed().model_dump()
    assert batch.checkpoint is not None
    assert again["checkpoint"] == {"step": 1, "state": {"b": 1, "a": 2}, "seq": batch.checkpoint.seq}


def test_the_same_output_again_is_one_copy(api: Api, held: Held) -> None:
    """I3: an acknowledgement may be lost at any time, also after the run went on and ended."""
    says = held.says("hello")
    for _ in range(3):
        assert held.output(*says).json() == {"head_seq": 7}
    more = held.says("more", 2, 2)
    held.output(*more, first_seq=8)
    assert held.output(*says).json() == {"head_seq": 7}
    assert held.output(*more, first_seq=8).json() == {"head_seq": 12}
    before = held.frames()
    other = [*says[:2], {**says[2], "text": "HELLO"}, *says[3:]]
    for wrong in (held.output(*other), held.output(*says[:2]), held.output(*says[1:], first_seq=3)):
        problem_of(wrong, 409, "append_conflict")
    problem_of(held.output(*held.says("gap", 3, 3), first_seq=14), 409, "append_conflict")
    assert held.frames() == before


def test_seqs_may_be_given_and_must_be_right(held: Held) -> None:
    says = held.says("hello")
    problem_of(held.output({**says[0], "seq": 4}), 422, "invalid_frames")
    problem_of(held.output({**says[0], "seq": 0}), 422, "invalid_frames")
    numbered = [{**frame, "seq": 3 + n} for n, frame in enumerate(says)]
    assert held.output(*numbered).status_code == 200
    assert held.output(*says).status_code == 200


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


BAD_OUTPUTS: Final[list[dict[str, Any]]] = [
    {},
    {"frames": []},
    {"first_seq": 3, "frames": []},
    {"first_seq": 0, "frames": [{}]},
    {"first_seq": 3, "frames": [1]},
    {"first_seq": 10**16, "frames": [{}]},
    {"first_seq": 3, "frames": [{"type": "data"}] * 1001},
    {"first_seq": "3", "frames": [{}]},
]


@pytest.mark.parametrize("body", BAD_OUTPUTS)
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
    assert len(api.get(f"/v1/sessions/{session_id}/messages").json()["items"]) == 1
    held.post("complete")
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
    accepted = held.output(
        *step(1, checkpoint=True), *step(2, checkpoint=True), *step(3, checkpoint=False), checkpoint=state
    )
    assert accepted.json() == {"head_seq": 8}
    held.post("release")
    again = api.claim(api.read(held)).assignment
    assert again["checkpoint"] == {**state, "seq": 6}
    assert again["next_seq"] == api.read(held)["head_seq"] + 1
