"""Pydantic AI agents, offline: parts, tools, checkpoints, history and usage, judged by what the framework reports."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_ai import Agent, CallDeferred, ModelRetry, RunContext, capture_run_messages
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    SystemPromptPart,
    UserPromptPart,
)

from reattach.adapters.agents.pydantic_ai import PydanticAgent
from reattach.domain.agent import AgentFailure, Checkpoint, Context, Data, Output, ToolResult
from reattach.domain.errors import ConfigurationError, Invalid

from .driver import Driven, context_of, drive, grammatical
from .framework import assert_folds_to
from .spoken import call, model, think

WEATHER = (
    [
        think(0, "wea"),
        think(0, "ther?"),
        "Let me ",
        "look.",
        call(2, "weather", '{"city":', "c1"),
        call(2, None, ' "Ulm"}'),
    ],
    [call(0, "weather", '{"city": "Bonn"}', "c2"), call(1, "weather", '{"city": "Rome"}', "c3")],
    ["It is ", "fine."],
)


def weather_agent(ran: list[str] | None = None, seen: list[list[ModelMessage]] | None = None) -> PydanticAgent:
    agent = Agent(model(*WEATHER, seen=seen), name="weather")

    @agent.tool_plain
    async def weather(city: str) -> dict[str, Any]:  # pyright: ignore[reportUnusedFunction] - the agent keeps it
        if ran is not None:
            ran.append(city)
        return {"city": city, "sun": True}

    return PydanticAgent(agent)


def run(agent: PydanticAgent, input: Any = "hi", **changes: Any) -> Driven:  # noqa: A002  - the wire's word
    return asyncio.run(drive(agent, context_of(input, **changes)))


def without_states(outputs: Sequence[Output]) -> list[Output]:
    return [replace(output, state=None) if isinstance(output, Checkpoint) else output for output in outputs]


def test_the_frames_fold_to_the_history_of_the_framework() -> None:
    with capture_run_messages() as messages:
        driven = run(weather_agent())
    assert_folds_to(driven, messages)
    grammatical(driven.lines)
    assert [part[:2] for part in driven.said()] == [
        ("reasoning", "weather?"),
        ("text", "Let me look."),
        ("tool", "c1"),
        ("result", "c1"),
        ("tool", "c2"),
        ("tool", "c3"),
        ("result", "c2"),
        ("result", "c3"),
        ("text", "It is fine."),
    ]
    deltas = [frame["text"] for frame in driven.frames() if frame["type"] == "tool.call.delta"]
    assert deltas == ['{"city":', ' "Ulm"}', '{"city": "Bonn"}', '{"city": "Rome"}']


def test_the_usage_is_that_of_the_framework() -> None:
    agent = Agent(model(["a"]), name="a")
    driven = run(PydanticAgent(agent))
    with capture_run_messages() as messages:
        asyncio.run(drive(PydanticAgent(agent), context_of("hi")))
    (response,) = (message for message in messages if isinstance(message, ModelResponse))
    assert driven.end is not None
    assert driven.end.stop_reason == "end_turn"
    tokens = {"input_tokens": response.usage.input_tokens, "output_tokens": response.usage.output_tokens}
    assert driven.end.usage == {**tokens, "requests": 1}


def test_another_worker_goes_on_from_any_checkpoint() -> None:
    """Goal: S11. Every checkpoint is given to an agent that has seen nothing else; the prompt is asked once only."""
    whole = run(weather_agent())
    assert len(whole.restarts) == 5, "the start, and one before and one after each round of tools"
    for count, context in whole.restarts:
        seen: list[list[ModelMessage]] = []
        ran: list[str] = []
        rest = asyncio.run(drive(weather_agent(ran, seen), replace(context, epoch=2)))
        assert without_states(whole.outputs[:count] + rest.outputs) == without_states(whole.outputs)
        results = [output for output in whole.outputs[count:] if isinstance(output, ToolResult)]
        assert len(ran) == len(results)
        for messages in seen:
            prompts = [part for message in messages for part in message.parts if isinstance(part, UserPromptPart)]
            assert [prompt.content for prompt in prompts] == ["hi"]


def test_a_tool_that_wants_another_try_and_one_that_breaks() -> None:
    responses = ([call(0, "g", "{}", "c1")], [call(0, "g", "{}", "c2")], ["done"])

    def agent_with(error: Callable[[], Exception]) -> PydanticAgent:
        agent = Agent(model(*responses), name="a", retries=3)

        @agent.tool(retries=3)
        def g(context: RunContext[object]) -> str:  # pyright: ignore[reportUnusedFunction] - the agent keeps it
            if context.tool_call_id == "c1":
                raise error()
            return "ok"

        return PydanticAgent(agent)

    driven = run(agent_with(lambda: ModelRetry("again")))
    first, second = (part for part in driven.parts() if part["kind"] == "tool_result")
    assert first["error"].startswith("again")
    assert second["output"] == "ok"
    with pytest.raises(ZeroDivisionError):
        run(agent_with(ZeroDivisionError))


class City(BaseModel):
    name: str
    people: int


def test_structured_output_is_data() -> None:
    agent = Agent(model([call(0, "final_result", '{"name": "Ulm", "people": 3}', "c1")]), name="a", output_type=City)
    driven = run(PydanticAgent(agent))
    assert Data("output", {"name": "Ulm", "people": 3}) in driven.outputs
    assert driven.said()[0] == ("tool", "c1", "final_result", {"name": "Ulm", "people": 3})


def test_an_agent_with_output_validators_is_left_as_it_is() -> None:
    agent = Agent(model(["short"], ["long enough"]), name="a")

    @agent.output_validator
    def long(text: str) -> str:  # pyright: ignore[reportUnusedFunction] - the agent keeps it
        if len(text) < 6:
            raise ModelRetry("longer")
        return text

    assert run(PydanticAgent(agent)).said() == [("text", "short"), ("text", "long enough")]


def test_dependencies_are_made_of_the_context() -> None:
    agent = Agent(model([call(0, "fence", "{}", "c1")], ["done"]), name="a", deps_type=Context)

    @agent.tool
    def fence(context: RunContext[Context]) -> str:  # pyright: ignore[reportUnusedFunction] - the agent keeps it
        return context.deps.fence

    driven = run(PydanticAgent(agent, deps=lambda context: context), epoch=7)
    assert ToolResult("c1", "run_1:7") in driven.outputs


def test_earlier_turns_are_the_models_history() -> None:
    history: list[dict[str, Any]] = [
        {"role": "user", "status": "complete", "parts": [{"kind": "text", "text": "hello"}]},
        {"role": "assistant", "status": "abandoned", "parts": []},
        {
            "role": "assistant",
            "status": "complete",
            "parts": [
                {"kind": "reasoning", "text": "hm"},
                {"kind": "text", "text": "good day"},
                {"kind": "tool", "tool_call_id": "c", "name": "t", "text": "", "arguments": {}},
                {"kind": "tool_result", "tool_call_id": "c", "output": 1},
            ],
        },
        {"role": "event", "status": "complete", "parts": [{"kind": "event", "event": "run.cancelled"}]},
        {"role": "user", "status": "complete", "parts": []},
    ]
    seen: list[list[ModelMessage]] = []
    agent = Agent(model([], ["fine"], seen=seen), name="a", system_prompt="Be kind.")
    run(PydanticAgent(agent), {"prompt": "how are you?"}, turn=2, history=history)
    ((first, answer, second),) = seen
    assert [part.content for part in first.parts] == ["Be kind.", "hello"]  # type: ignore[union-attr]  # texts, all of them
    assert isinstance(first.parts[0], SystemPromptPart)
    assert isinstance(answer, ModelResponse)
    assert answer.text == "good day"
    assert isinstance(second, ModelRequest)
    assert [part.content for part in second.parts if isinstance(part, UserPromptPart)] == ["how are you?"]


def test_a_tool_that_waits_for_the_outside_fails_the_run() -> None:
    agent = Agent(model([call(0, "outside", "{}", "c1")]), name="a")

    @agent.tool_plain
    def outside() -> None:  # pyright: ignore[reportUnusedFunction] - the agent keeps it
        raise CallDeferred

    with pytest.raises(AgentFailure, match="outside wait for a result from outside"):
        run(PydanticAgent(agent))


@pytest.mark.parametrize("input", [None, "", "  ", {}, {"prompt": None}, {"prompt": ""}, [], 1])
def test_the_input_is_a_prompt(input: Any) -> None:  # noqa: A002  - the wire's word
    agent = PydanticAgent(Agent(model(["a"]), name="a"))
    with pytest.raises(Invalid):
        agent.validate(input)
    agent.validate("hi")
    agent.validate({"prompt": "hi", "more": 1})
    assert agent.prompt({"prompt": "hi"}) == agent.prompt("hi") == "hi"


def test_an_agent_needs_a_name() -> None:
    with pytest.raises(ConfigurationError, match="needs a name"):
        PydanticAgent(Agent(model(["a"])))
    named = PydanticAgent(Agent(model(["a"]), name="a"), name="b", on_take_over="fail")
    assert (named.name, named.on_take_over) == ("b", "fail")
