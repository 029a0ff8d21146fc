"""Pydantic AI with its real clients over recorded streams of two providers.

The recordings stand beside the project, not in it (`model_server.RECORDED`); without them these tests are skipped.
"""

import asyncio
from typing import Any

import pytest
from pydantic_ai import Agent, capture_run_messages
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import Model
from pydantic_ai.usage import RunUsage

from reattach.adapters.agents.pydantic_ai import PydanticAgent
from reattach.domain.agent import AgentFailure, Approvals, Source

from .driver import Answer, Driven, approve, context_of, drive, grammatical, resumed, run_segment
from .framework import assert_folds_to
from .model_server import RECORDED, Reply, serving
from .providers import client

pytestmark = [
    pytest.mark.usefixtures("model_requests"),
    pytest.mark.skipif(not RECORDED.is_dir(), reason=f"no recorded streams in {RECORDED}"),
]

GREETING = "anthropic-text"
PHASES = "openai-phase.1"
CONVERSATIONS: dict[str, tuple[str, ...]] = {
    "openai-chat-text": (),
    "openai-phase.1": (),
    "openai-reasoning-encrypted-content.1": (PHASES,),
    "anthropic-text": (),
    "anthropic-json-other-tool.1": (GREETING,),
    "anthropic-tool-no-args": (GREETING,),
    "anthropic-web-search-tool.1": (),
}
"""Each recording, with those that follow once its tools have run."""


def recorded(name: str) -> Reply:
    return Reply.stream(RECORDED / f"{name}.chunks.txt")


def protocol_of(name: str) -> str:
    if name.startswith("anthropic"):
        return "anthropic"
    return "chat" if name.startswith("openai-chat") else "responses"


def agent_on(model: Model, ran: list[str], guarded: tuple[str, ...] = ()) -> PydanticAgent:
    """An agent with the tools that the recorded models call."""
    agent = Agent(model, name="assistant")

    @agent.tool_plain(requires_approval="weather" in guarded)
    async def weather(location: str) -> str:  # pyright: ignore[reportUnusedFunction] - the agent keeps it
        ran.append(location)
        return f"sun in {location}"

    @agent.tool_plain(name="updateIssueList", requires_approval="updateIssueList" in guarded)
    async def update_issue_list() -> str:  # pyright: ignore[reportUnusedFunction] - the agent keeps it
        ran.append("issues")
        return "updated"

    @agent.tool_plain(requires_approval="calculator" in guarded)
    async def calculator(a: float, b: float, op: str) -> float:  # pyright: ignore[reportUnusedFunction] - the same
        ran.append(f"{a} {op} {b}")
        return a + b if op == "add" else a * b

    return PydanticAgent(agent)


async def converse(name: str, *replies: Reply) -> tuple[Driven, list[ModelMessage]]:
    driven = Driven()
    async with serving(*replies) as server, client(protocol_of(name), server.url) as model:
        with capture_run_messages() as messages:
            await drive(agent_on(model, []), context_of("hello"), approve, driven)
    return driven, messages


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_frames_fold_to_the_history_of_the_framework(name: str) -> None:
    replies = [recorded(each) for each in (name, *CONVERSATIONS[name])]
    driven, messages = asyncio.run(converse(name, *replies))
    assert_folds_to(driven, messages)
    grammatical(driven.lines)
    assert driven.said(), "the recording says something"
    assert driven.end is not None
    assert driven.end.usage is not None
    reported = sum((message.usage for message in messages if message.kind == "response"), RunUsage())
    assert driven.end.usage["output_tokens"] == reported.output_tokens > 0
    assert driven.end.usage["input_tokens"] == reported.input_tokens > 0
    if "web-search" in name:
        assert sum(isinstance(output, Source) for output in driven.outputs) == 9


@pytest.mark.parametrize(
    ("name", "tool"),
    [
        ("openai-reasoning-encrypted-content.1", "calculator"),
        ("anthropic-json-other-tool.1", "weather"),
        ("anthropic-tool-no-args", "updateIssueList"),
    ],
)
def test_approval_in_another_process(name: str, tool: str) -> None:
    ran: list[str] = []

    async def half(driven: Driven, recording: str, context: Any) -> tuple[Approvals | None, list[ModelMessage]]:
        async with serving(recorded(recording)) as server, client(protocol_of(name), server.url) as model:
            with capture_run_messages() as messages:
                end = await run_segment(agent_on(model, ran, (tool,)), context, driven)
            return end, messages

    async def scenario() -> None:
        driven, context = Driven(), context_of("hello")
        end, _ = await half(driven, name, context)
        assert end is not None
        assert {request.tool for request in end.requests} == {tool}
        assert ran == []
        denied = end.requests[0].tool_call_id if len(end.requests) > 1 else ""
        next_context = resumed(context, end, lambda r: Answer("deny" if r.tool_call_id == denied else "approve"))
        end, messages = await half(driven, CONVERSATIONS[name][0], next_context)
        assert end is None
        assert len(ran) == (2 if denied else 1)
        assert_folds_to(driven, messages)

    asyncio.run(scenario())


def failure_of(name: str, *replies: Reply) -> AgentFailure:
    with pytest.raises(AgentFailure) as failure:
        asyncio.run(converse(name, *replies))
    return failure.value


def test_a_recorded_error() -> None:
    failure = failure_of("openai-error.1", recorded("openai-error.1"))
    assert (failure.type, failure.retryable) == ("llm_rate_limit", False)
    assert "exceeded your current quota" in failure.message


def test_a_call_of_a_tool_that_nobody_offered() -> None:
    """The recording's first and last events lack a brace: as they are, that is an error of the model; repaired, the
    framework tells the model that it has no such tool."""
    name = "openai-parallel-tool-call-wrapper.1"
    torn = recorded(name)
    assert failure_of(name, torn).type == "llm_error"
    whole = Reply([event + "}" * (event.count("{") - event.count("}")) for event in torn.events])
    driven, messages = asyncio.run(converse(name, whole, recorded(PHASES)))
    assert_folds_to(driven, messages)
    (error,) = (part["error"] for part in driven.parts() if part["kind"] == "tool_result")
    assert "parallel" in error


@pytest.mark.filterwarnings("ignore:Handling of this item type is not yet implemented:UserWarning")
def test_an_item_the_framework_does_not_know_yet() -> None:
    """The provider's own approval (of a tool on an MCP server) is nothing the framework can pass on: it asks again."""
    name = "openai-mcp-tool-approval.1"
    driven, messages = asyncio.run(converse(name, recorded(name), recorded(PHASES)))
    assert_folds_to(driven, messages)
    assert [part[0] for part in driven.said()] == ["tool", "result", "text", "text"]
