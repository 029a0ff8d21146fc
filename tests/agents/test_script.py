"""The script agent: what each step gives, and that going on from any checkpoint neither repeats nor skips."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reattach.adapters.agents.script import ScriptAgent
from reattach.domain import frames as f
from reattach.domain import wire
from reattach.domain.agent import (
    AgentFailure,
    ApprovalRequest,
    Approvals,
    Checkpoint,
    Data,
    Output,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)

from .driver import RUN, Answer, Decide, Driven, approve, brief, context_of, drive, grammatical
from .scripts import scripts

SCRIPT = ScriptAgent()
AT = datetime(2026, 1, 1, tzinfo=UTC)


def outputs_of(*steps: Any, decide: Decide = approve) -> list[Output]:
    return asyncio.run(drive(SCRIPT, context_of({"steps": list(steps)}), decide)).outputs


def without_checkpoints(outputs: Sequence[Output]) -> list[Output]:
    return [output for output in outputs if not isinstance(output, Checkpoint)]


def either(request: ApprovalRequest) -> Answer:
    """Some yes, some no, some yes with changes; always the same for the same call."""
    answers = (Answer(), Answer("deny", "no"), Answer(arguments={"edited": True}))
    return answers[sum(map(ord, request.tool_call_id)) % len(answers)]


def test_text_comes_in_chunks_and_every_step_ends_with_a_checkpoint() -> None:
    assert outputs_of({"text": "abcdefghij"}, {"reasoning": "xyz", "chunk": 2}) == [
        Text("abcd"),
        Text("efgh"),
        Text("ij"),
        Checkpoint({"next": [1]}),
        Reasoning("xy"),
        Reasoning("z"),
        Checkpoint({"next": [2]}),
    ]


def test_a_tool_gives_its_result_or_its_error() -> None:
    fine = {"tool": {"name": "add", "arguments": {"a": 1}, "result": [2]}}
    broken = {"tool": {"name": "add", "error": "no"}}
    assert without_checkpoints(outputs_of(fine, broken)) == [
        ToolCall("1.1.c0", "add", {"a": 1}),
        ToolResult("1.1.c0", [2]),
        ToolCall("1.1.c1", "add", {}),
        ToolResult("1.1.c1", error="no"),
    ]


def test_data_and_silence() -> None:
    assert without_checkpoints(outputs_of({"data": {"name": "n", "value": None}}, {"wait_ms": 0})) == [Data("n", None)]


def test_approvals_end_the_segment_and_give_results_with_what_was_approved() -> None:
    calls = [{"tool": tool, "arguments": {"n": 1}, "result": "sent"} for tool in ("a", "b", "c", "d")]
    answers = {
        "1.1.c0.0": Answer(),
        "1.1.c0.1": Answer(arguments={"n": 2}),
        "1.1.c0.2": Answer("deny", "too late"),
        "1.1.c0.3": Answer("deny"),
    }
    outputs = outputs_of({"approvals": calls, "timeout_s": 60}, decide=lambda request: answers[request.tool_call_id])
    requests = [ApprovalRequest(f"1.1.c0.{n}", tool, {"n": 1}, 60) for n, tool in enumerate("abcd")]
    assert outputs == [
        *(ToolCall(f"1.1.c0.{n}", tool, {"n": 1}) for n, tool in enumerate("abcd")),
        Approvals(requests, {"decided": [0]}),
        ToolResult("1.1.c0.0", {"result": "sent", "arguments": {"n": 1}}),
        ToolResult("1.1.c0.1", {"result": "sent", "arguments": {"n": 2}}),
        ToolResult("1.1.c0.2", error="denied: too late"),
        ToolResult("1.1.c0.3", error="denied"),
        Checkpoint({"next": [1]}),
    ]


def test_an_outermost_repeat_has_a_checkpoint_an_iteration_and_an_inner_one_has_none() -> None:
    inner = {"repeat": {"times": 2, "steps": [{"text": "a"}, {"tool": {"name": "t"}}]}}
    outputs = outputs_of({"repeat": {"times": 2, "steps": [inner]}})
    assert [output.state for output in outputs if isinstance(output, Checkpoint)] == [{"next": [0, 1]}, {"next": [1]}]
    calls = [output.tool_call_id for output in outputs if isinstance(output, ToolCall)]
    assert calls == ["1.1.c0.0.0.0.1", "1.1.c0.0.0.1.1", "1.1.c0.1.0.0.1", "1.1.c0.1.0.1.1"]


def test_text_repeated_inside_is_one_part() -> None:
    inner = {"repeat": {"times": 3, "steps": [{"text": "abc", "chunk": 2}]}}
    driven = asyncio.run(drive(SCRIPT, context_of({"steps": [{"repeat": {"times": 1, "steps": [inner]}}]})))
    assert without_checkpoints(driven.outputs) == [Text("ab"), Text("c")] * 3
    assert driven.said() == [("text", "abcabcabc")]


def test_it_fails_as_it_is_told() -> None:
    failing = {"fail": {"type": "llm_timeout", "message": "slow", "retryable": True}}
    with pytest.raises(AgentFailure) as failure:
        outputs_of({"text": "a"}, failing)
    assert (failure.value.type, failure.value.message, failure.value.retryable) == ("llm_timeout", "slow", True)
    with pytest.raises(RuntimeError, match="crash"):
        outputs_of({"crash": True})


def test_without_delays_it_never_waits() -> None:
    """Goal: the benchmarks measure the service, not the agent. Method: drive it by hand, on no event loop at all."""
    steps = [
        {"text": "abc"},
        {"tool": {"name": "t"}},
        {"wait_ms": 0},
        {"repeat": {"times": 2, "steps": [{"text": "a"}]}},
    ]
    outputs = SCRIPT.run(context_of({"steps": steps}))
    for _ in range(10):
        with pytest.raises(StopIteration):  # the next output, at once
            outputs.__anext__().send(None)
    with pytest.raises(StopAsyncIteration):
        outputs.__anext__().send(None)


def test_delays_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Method: a loop whose clock jumps to the next timer."""
    waits: list[float] = []

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        call_later = loop.call_later

        def at_once(delay: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
            waits.append(delay)
            return call_later(0, *args, **kwargs)

        monkeypatch.setattr(loop, "call_later", at_once)
        steps = [{"text": "ab", "chunk": 1, "delay_ms": 10}, {"tool": {"name": "t", "delay_ms": 20}}, {"wait_ms": 30}]
        await drive(SCRIPT, context_of({"steps": steps}))

    asyncio.run(scenario())
    assert waits[:4] == [0.01, 0.01, 0.02, 0.03]


@settings(deadline=None)
@given(scripts)
def test_the_frames_are_grammatical_and_the_same_every_time(script: Any) -> None:
    SCRIPT.validate(script)
    first, second = (asyncio.run(drive(SCRIPT, context_of(script), either)) for _ in range(2))
    assert first.outputs == second.outputs
    assert first.lines == second.lines
    outline = grammatical(first.lines)
    assert outline == first.outline
    assert outline.closed() == outline
    calls = [output.tool_call_id for output in first.outputs if isinstance(output, ToolCall)]
    assert len(calls) == len(set(calls))
    assert SCRIPT.prompt(script) == script.get("prompt")


@settings(deadline=None)
@given(scripts, st.data())
def test_going_on_from_any_checkpoint_neither_repeats_nor_skips(script: Any, data: st.DataObject) -> None:
    whole = asyncio.run(drive(SCRIPT, context_of(script), either))
    count, context = data.draw(st.sampled_from(whole.restarts))
    rest = asyncio.run(drive(SCRIPT, context, either))
    assert whole.outputs[:count] + rest.outputs == whole.outputs


@settings(deadline=None)
@given(scripts, st.data())
def test_a_step_that_was_cut_short_is_shown_once_after_a_take_over(script: Any, data: st.DataObject) -> None:
    """Goal: S11. Method: keep the frames of some outputs, void those since the last checkpoint, go on from there."""
    whole = asyncio.run(drive(SCRIPT, context_of(script), either))
    cut = data.draw(st.integers(0, len(whole.outputs)))
    count, context = [restart for restart in whole.restarts if restart[0] <= cut][-1]
    taken_over = _cut_short(whole, cut, count)
    asyncio.run(drive(SCRIPT, context, either, taken_over))
    kept = [part for message in taken_over.messages() if message["status"] != "abandoned" for part in message["parts"]]
    assert [brief(part) for part in kept] == whole.said()


def _cut_short(whole: Driven, cut: int, checkpoint: int) -> Driven:
    """The log of a worker that died after `cut` outputs, with the step.reset that voids those since the checkpoint."""
    kept, died = whole.marks[checkpoint], whole.marks[cut]
    reset = f.StepReset(run_id=RUN, at=AT, to_seq=kept.lines, closes=tuple(died.outline.parts))
    lines = [*whole.lines[: died.lines], wire.encode(reset, died.lines + 1)]
    return Driven(lines=lines, outline=died.outline.closed(), step=kept.step)
