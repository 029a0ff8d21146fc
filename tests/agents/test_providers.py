"""Pydantic AI with its real OpenAI and Anthropic clients, over a real socket, on streams of our own making."""

import asyncio
import socket
from dataclasses import replace
from typing import Any

import pytest
from pydantic_ai import Agent, capture_run_messages
from pydantic_ai.messages import ModelMessage
from pydantic_ai.models import Model
from pydantic_ai.usage import RunUsage

from reattach.adapters.agents.pydantic_ai import PydanticAgent
from reattach.domain.agent import AgentFailure, Approvals

from .driver import Answer, Driven, approve, context_of, drive, grammatical, resumed, run_segment
from .framework import assert_folds_to
from .model_server import OWN, Reply, serving
from .providers import PATIENCE_S, PROTOCOLS, client

pytestmark = pytest.mark.usefixtures("model_requests")
each_protocol = pytest.mark.parametrize("protocol", PROTOCOLS)


def agent_on(model: Model, sent: list[str] | None = None) -> PydanticAgent:
    agent = Agent(model, name="assistant")

    @agent.tool_plain
    async def weather(city: str) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction] - the agent keeps it
        return {"city": city, "sun": True}

    @agent.tool_plain(requires_approval=True)
    async def mail(to: str) -> str:  # pyright: ignore[reportUnusedFunction] - the agent keeps it
        if sent is not None:
            sent.append(to)
        return f"sent to {to}"

    return PydanticAgent(agent)


def own(protocol: str, *names: str) -> list[Reply]:
    return [Reply.stream(OWN / f"{protocol}-{name}.jsonl") for name in names]


@each_protocol
def test_reasoning_text_and_tools(protocol: str) -> None:
    async def scenario() -> tuple[Driven, list[ModelMessage], list[dict[str, Any]]]:
        async with serving(*own(protocol, "tool", "parallel", "text")) as server, client(protocol, server.url) as model:
            with capture_run_messages() as messages:
                driven = await drive(agent_on(model), context_of({"prompt": "How is the weather?"}))
            return driven, messages, server.requests

    driven, messages, requests = asyncio.run(scenario())
    assert_folds_to(driven, messages)
    grammatical(driven.lines)
    assert [part[0] for part in driven.said()] == [
        *("reasoning", "text", "tool", "result"),
        *("tool", "tool", "result", "result"),
        "text",
    ]
    assert driven.said()[0] == ("reasoning", "The question is about the weather, so I look it up.")
    assert [part[3] for part in driven.said() if part[0] == "tool"] == [{"city": c} for c in ("Ulm", "Bonn", "Rome")]
    assert driven.end is not None
    assert driven.end.usage is not None
    reported = sum((message.usage for message in messages if message.kind == "response"), RunUsage())
    assert driven.end.usage["input_tokens"] == reported.input_tokens == 60
    assert driven.end.usage["output_tokens"] == reported.output_tokens == 44
    assert [str(request).count("How is the weather?") for request in requests] == [1, 1, 1]


@each_protocol
def test_another_process_goes_on_from_each_checkpoint(protocol: str) -> None:
    async def rest_of(driven: Driven, restart: int) -> Driven:
        count, context = driven.restarts[restart]
        names = ("tool", "parallel", "text")[restart and (restart + 1) // 2 :]
        async with serving(*own(protocol, *names)) as server, client(protocol, server.url) as model:
            rest = await drive(agent_on(model), replace(context, epoch=2))
            assert [str(request).count("hello") for request in server.requests] == [1] * len(names)
            return Driven(outputs=driven.outputs[:count] + rest.outputs)

    async def scenario() -> None:
        whole = await rest_of(Driven(restarts=[(0, context_of("hello"))]), 0)
        async with serving(*own(protocol, "tool", "parallel", "text")) as server, client(protocol, server.url) as model:
            driven = await drive(agent_on(model), context_of("hello"))
        for restart in range(len(driven.restarts)):
            again = await rest_of(driven, restart)
            assert [type(output) for output in again.outputs] == [type(output) for output in whole.outputs]

    asyncio.run(scenario())


@each_protocol
@pytest.mark.parametrize(
    ("answer", "sent", "result"),
    [
        (Answer(), ["ann"], "sent to ann"),
        (Answer(arguments={"to": "eve"}), ["eve"], "sent to eve"),
        (Answer("deny", "no"), [], "The tool call was denied: no"),
    ],
)
def test_approval_in_another_process(protocol: str, answer: Answer, sent: list[str], result: str) -> None:
    """Each half has its own client, model and agent; only the checkpoint and the decision pass between them."""
    ran: list[str] = []

    async def half(driven: Driven, stream: str, context: Any) -> tuple[Approvals | None, list[ModelMessage]]:
        async with serving(*own(protocol, stream)) as server, client(protocol, server.url) as model:
            with capture_run_messages() as messages:
                end = await run_segment(agent_on(model, ran), context, driven)
            return end, messages

    async def scenario() -> None:
        driven, context = Driven(), context_of("Write to Ann.")
        end, _ = await half(driven, "approval", context)
        assert end is not None
        assert ran == []
        end, messages = await half(driven, "text", resumed(context, end, lambda _: answer))
        assert end is None
        assert ran == sent
        assert_folds_to(driven, messages)
        assert result in [value for part in driven.said() if part[0] == "result" for value in part]

    asyncio.run(scenario())


STATUSES = {
    400: ("llm_error", False),
    401: ("llm_authentication", False),
    403: ("llm_authentication", False),
    404: ("llm_error", False),
    408: ("llm_timeout", True),
    429: ("llm_rate_limit", True),
    500: ("llm_error", True),
    503: ("llm_error", True),
    504: ("llm_timeout", True),
}


def failure_on(protocol: str, reply: Reply, timeout_s: float = PATIENCE_S) -> tuple[AgentFailure, Driven]:
    async def scenario() -> tuple[AgentFailure, Driven]:
        driven = Driven()
        async with serving(reply) as server, client(protocol, server.url, timeout_s) as model:
            with pytest.raises(AgentFailure) as failure:
                await drive(agent_on(model), context_of("hello"), approve, driven)
        return failure.value, driven

    return asyncio.run(scenario())


@each_protocol
@pytest.mark.parametrize("status", STATUSES)
def test_refusals_have_stable_types(protocol: str, status: int) -> None:
    failure, driven = failure_on(protocol, Reply.error(status))
    assert (failure.type, failure.retryable) == STATUSES[status]
    assert str(status) in failure.message
    assert driven.lines == []


def test_an_exhausted_quota_is_not_worth_another_try() -> None:
    failure, _ = failure_on("chat", Reply.error(429, code="insufficient_quota", type="insufficient_quota"))
    assert (failure.type, failure.retryable) == ("llm_rate_limit", False)


@each_protocol
def test_an_error_inside_the_stream(protocol: str) -> None:
    (reply,) = own(protocol, "error")
    failure, driven = failure_on(protocol, reply)
    assert (failure.type, failure.retryable) == ("llm_error", True)
    assert driven.said() == [("text", "So far")]


@each_protocol
def test_a_model_that_stops_answering(protocol: str) -> None:
    (reply,) = own(protocol, "error")
    failure, driven = failure_on(protocol, replace(reply, events=reply.events[:-1], stalls=True), timeout_s=0.2)
    assert (failure.type, failure.retryable) == ("llm_timeout", True)
    assert driven.said() == [("text", "So far")]


@each_protocol
def test_a_connection_that_breaks(protocol: str) -> None:
    (reply,) = own(protocol, "error")
    failure, driven = failure_on(protocol, replace(reply, events=reply.events[:-1], drops=True))
    assert (failure.type, failure.retryable) == ("llm_error", True)
    assert driven.said() == [("text", "So far")]


@each_protocol
def test_a_model_that_nobody_serves(protocol: str) -> None:
    async def scenario() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        async with client(protocol, f"http://127.0.0.1:{port}") as model:
            with pytest.raises(AgentFailure) as failure:
                await drive(agent_on(model), context_of("hello"))
        assert (failure.value.type, failure.value.retryable) == ("llm_error", True)

    asyncio.run(scenario())
