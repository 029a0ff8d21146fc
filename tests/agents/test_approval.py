"""Tool approval with Pydantic AI: every segment runs in a new agent that knows the checkpoint and nothing else."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic_ai import Agent, DeferredToolRequests, capture_run_messages
from pydantic_ai.messages import ModelMessage, ModelRequest, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel, StreamFunctionDef

from reattach.adapters.agents.pydantic_ai import PydanticAgent
from reattach.domain.agent import ApprovalRequest, Approvals, Finish
from reattach.domain.errors import ConfigurationError

from .driver import Answer, Decide, Driven, approve, context_of, drive, grammatical, resumed, run_segment
from .framework import assert_folds_to

Ran = list[tuple[str, Any]]


async def secretary(messages: list[ModelMessage], _: AgentInfo) -> AsyncIterator[Any]:
    """Looks and mails at once, then mails again if the first mail went out, then says what became of it."""
    results = [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
    mails = [result for result in results if result.tool_name == "mail"]
    if not mails:
        yield "Writing."
        yield {1: DeltaToolCall("look", '{"q": "a"}', tool_call_id="c1")}
        yield {2: DeltaToolCall("mail", '{"to": "ann"}', tool_call_id="c2")}
    elif len(mails) == 1 and mails[0].outcome == "success":
        yield {0: DeltaToolCall("mail", '{"to": "bob"}', tool_call_id="c3")}
        yield {1: DeltaToolCall("mail", '{"to": "cyd"}', tool_call_id="c4")}
    else:
        yield "; ".join(f"{mail.tool_call_id} {mail.outcome}" for mail in mails)


def agent(
    ran: Ran, speak: StreamFunctionDef = secretary, *, declared: bool = True, timeout_s: float | None = None
) -> PydanticAgent:
    output_type: Any = [str, DeferredToolRequests] if declared else str
    made: Agent[None, Any] = Agent(FunctionModel(stream_function=speak), output_type=output_type, name="secretary")

    @made.tool_plain
    def look(q: str) -> str:  # pyright: ignore[reportUnusedFunction] - the agent keeps it
        ran.append(("look", q))
        return "nothing"

    @made.tool_plain(requires_approval=True)
    def mail(to: str) -> dict[str, str]:  # pyright: ignore[reportUnusedFunction] - the agent keeps it
        ran.append(("mail", to))
        return {"sent": to}

    return PydanticAgent(made, approval_timeout_s=timeout_s)


async def in_new_processes(ran: Ran, decide: Decide) -> tuple[Driven, list[ModelMessage]]:
    """Segment after segment, each in an agent of its own; and the history the last of them ended with."""
    driven, context = Driven(), context_of("Write to Ann.")
    while True:
        with capture_run_messages() as messages:
            end = await run_segment(agent(ran), context, driven)
        if end is None:
            return driven, messages
        context = resumed(context, end, decide)


def test_what_is_approved_runs_once_in_another_process() -> None:
    ran: Ran = []
    driven, messages = asyncio.run(in_new_processes(ran, approve))
    assert ran == [("look", "a"), ("mail", "ann"), ("mail", "bob"), ("mail", "cyd")]
    assert [end.requests for end in driven.asked] == [
        [ApprovalRequest("c2", "mail", {"to": "ann"})],
        [ApprovalRequest("c3", "mail", {"to": "bob"}), ApprovalRequest("c4", "mail", {"to": "cyd"})],
    ]
    assert driven.said()[-1] == ("text", "c2 success; c3 success; c4 success")
    assert_folds_to(driven, messages)
    grammatical(driven.lines)
    assert driven.end is not None
    assert driven.end.usage is not None
    assert (driven.end.usage["requests"], driven.end.usage["tool_calls"]) == (3, 4)


def test_what_is_denied_never_runs_and_the_model_hears_why() -> None:
    ran: Ran = []
    driven, messages = asyncio.run(in_new_processes(ran, lambda _: Answer("deny", "too late")))
    assert ran == [("look", "a")]
    assert ("result", "c2", None, "The tool call was denied: too late") in driven.said()
    assert driven.said()[-1] == ("text", "c2 denied")
    assert_folds_to(driven, messages)


def test_edited_arguments_are_what_runs() -> None:
    ran: Ran = []
    answers = {"c2": Answer(arguments={"to": "eve"}), "c3": Answer("deny"), "c4": Answer()}
    driven, _ = asyncio.run(in_new_processes(ran, lambda request: answers[request.tool_call_id]))
    assert ran == [("look", "a"), ("mail", "eve"), ("mail", "cyd")]
    assert ("result", "c2", {"sent": "eve"}, None) in driven.said()
    assert ("result", "c3", None, "The tool call was denied.") in driven.said()


def test_edited_arguments_that_are_none_never_run() -> None:
    ran: Ran = []
    driven, _ = asyncio.run(in_new_processes(ran, lambda _: Answer(arguments=["ann"])))
    assert ran == [("look", "a")]
    assert driven.said()[-1] == ("text", "c2 denied")


def test_edited_arguments_of_the_wrong_shape_go_back_to_the_model() -> None:
    ran: Ran = []
    driven, _ = asyncio.run(in_new_processes(ran, lambda _: Answer(arguments={"from": "ann"})))
    assert ran == [("look", "a")]
    (error,) = (part["error"] for part in driven.parts() if part["kind"] == "tool_result" and "error" in part)
    assert "Field required" in error
    assert driven.said()[-1] == ("text", "c2 retried")


def test_a_decision_survives_the_worker_that_began_with_it() -> None:
    """Goal: after the decision any worker can go on, as often as workers die, until a checkpoint lies behind it."""
    ran: Ran = []
    whole, _ = asyncio.run(in_new_processes(ran, approve))
    for count, context in whole.restarts:
        rest = asyncio.run(drive(agent([]), replace(context, epoch=context.epoch + 10)))
        assert _kinds(whole.outputs[:count] + rest.outputs) == _kinds(whole.outputs)


def _kinds(outputs: Sequence[object]) -> list[str]:
    """What was said, in an order of its own: tools run at the same time, and which comes back first is not promised."""
    states = [type(output) if isinstance(output, Finish) or hasattr(output, "state") else output for output in outputs]
    return sorted(map(repr, states))


def test_approval_needs_no_declaration() -> None:
    ran: Ran = []
    end = asyncio.run(run_segment(agent(ran, declared=False, timeout_s=60), context_of("hi"), Driven()))
    assert isinstance(end, Approvals)
    assert [request.timeout_s for request in end.requests] == [60]


def test_an_impossible_deadline_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigurationError, match="approval_timeout_s"):
        agent([], timeout_s=-1)


def test_the_history_is_asked_on_without_the_prompt() -> None:
    """What another worker sends to the model after the decision: the prompt once, each call with its result."""
    seen: list[list[ModelMessage]] = []

    async def watched(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
        seen.append(list(messages))
        async for delta in secretary(messages, info):
            yield delta

    asyncio.run(drive(agent([], watched), context_of("Write to Ann.")))
    requests = [[part.part_kind for part in message.parts] for message in seen[-1] if isinstance(message, ModelRequest)]
    assert requests == [["user-prompt"], ["tool-return", "tool-return"], ["tool-return", "tool-return"]]
