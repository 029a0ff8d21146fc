"""The demo: the same story with and without Pydantic AI, frame by frame, whatever people decide and whoever dies."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import JsonValue

from reattach.adapters.agents.demo import agents, generator_demo
from reattach.adapters.agents.demo_model import model_demo
from reattach.adapters.agents.demo_story import Pace
from reattach.adapters.agents.loading import load_agents
from reattach.domain.agent import Agent, Reasoning, Text, ToolResult
from reattach.domain.errors import Invalid

from .driver import Answer, Driven, context_of, drive, grammatical

Make = Callable[[Pace], Agent]

NO_TIME = Pace(word_s=0, tool_s=0)
INPUT: dict[str, JsonValue] = {"prompt": "Find a better time for the retrospective."}
ANSWERS = {
    "approve": Answer(),
    "deny": Answer("deny", "too early"),
    "deny without a reason": Answer("deny"),
    "edit": Answer(arguments={"to": "ada@example.com", "subject": "Friday", "body": "15:30?"}),
}


def told(agent: Agent, answer: Answer) -> Driven:
    return asyncio.run(drive(agent, context_of(INPUT), lambda _: answer))


@pytest.mark.parametrize("decision", ANSWERS)
def test_nobody_can_tell_the_difference(decision: str) -> None:
    plain, model = (told(demo, ANSWERS[decision]) for demo in (generator_demo(NO_TIME), model_demo(NO_TIME)))
    assert plain.lines == model.lines
    assert [end.requests for end in plain.asked] == [end.requests for end in model.asked]
    grammatical(plain.lines)


def test_the_story() -> None:
    driven = told(generator_demo(NO_TIME), Answer())
    kinds = [part[0] for part in driven.said()]
    assert kinds == ["reasoning", "text", "tool", "result", "reasoning", "text", "tool", "result", "text"]
    assert [request.tool for request in driven.asked[0].requests] == ["send_email"]
    assert "The mail went to team@example.com" in driven.said()[-1][1]
    assert "did not send" in told(generator_demo(NO_TIME), Answer("deny", "no")).said()[-1][1]
    assert "went to ada@example.com" in told(generator_demo(NO_TIME), ANSWERS["edit"]).said()[-1][1]


@pytest.mark.parametrize("make", [generator_demo, model_demo])
@pytest.mark.parametrize("decision", ANSWERS)
def test_another_worker_goes_on_from_any_checkpoint(make: Make, decision: str) -> None:
    whole = told(make(NO_TIME), ANSWERS[decision])
    assert len(whole.restarts) == 6
    for count, context in whole.restarts:
        again = replace(context, epoch=context.epoch + 10)
        rest = asyncio.run(drive(make(NO_TIME), again, lambda _: ANSWERS[decision]))
        before = [output for output in whole.outputs[:count] if isinstance(output, Text | Reasoning | ToolResult)]
        after = [output for output in rest.outputs if isinstance(output, Text | Reasoning | ToolResult)]
        assert before + after == [o for o in whole.outputs if isinstance(o, Text | Reasoning | ToolResult)]


def test_it_lasts_about_half_a_minute() -> None:
    driven = told(generator_demo(NO_TIME), Answer())
    words = sum(isinstance(output, Text | Reasoning) for output in driven.outputs)
    assert 20 <= words * Pace().word_s + 2 * Pace().tool_s <= 35


@pytest.mark.parametrize("make", [generator_demo, model_demo])
def test_it_wants_a_prompt(make: Make) -> None:
    demo = make(NO_TIME)
    assert demo.prompt(INPUT) == INPUT["prompt"]
    with pytest.raises(Invalid):
        demo.validate(None)


def test_what_make_serve_loads() -> None:
    assert list(load_agents("reattach.adapters.agents.demo:agents")) == ["script", "demo"]
    assert [agent.name for agent in agents] == ["script", "demo"]


def test_the_base_install_has_it_too() -> None:
    """Method: a process in which Pydantic AI can't be imported."""
    source = (
        "import sys; sys.modules['pydantic_ai'] = None; "
        "from reattach.adapters.agents.loading import FunctionAgent, load_agents; "
        "agents = load_agents('reattach.adapters.agents.demo:agents'); "
        "assert list(agents) == ['script', 'demo'] and isinstance(agents['demo'], FunctionAgent)"
    )
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / ".src")}
    subprocess.run([sys.executable, "-c", source], check=True, env=environment, timeout=60)
