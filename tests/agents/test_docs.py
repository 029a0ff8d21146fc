"""docs/agents.md says what is so: each of its agents is loaded and run, and each of its limits and steps is there."""

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from reattach import agent as exported
from reattach.adapters.agents.loading import agent, load_agents
from reattach.adapters.agents.script import ScriptAgent
from reattach.adapters.agents.script_steps import KINDS
from reattach.domain.agent import Agent, Data, Finish

from .driver import Answer, Driven, context_of, drive, grammatical

PAGE = (Path(__file__).parents[2] / "docs" / "agents.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
MODULES: dict[str, str] = {text.splitlines()[0].removeprefix("# "): text for kind, text in BLOCKS if kind == "python"}


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's modules, as the reader would have it."""
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name.removesuffix(".py"), raising=False)
    return tmp_path


def told(agent: Agent, input: Any = "hi", answer: Answer | None = None, **changes: Any) -> Driven:  # noqa: A002  - the wire's word
    agent.validate(input)
    driven = asyncio.run(drive(agent, context_of(input, **changes), lambda _: answer or Answer()))
    grammatical(driven.lines)
    return driven


def test_every_module_is_run_below() -> None:
    assert list(MODULES) == ["counter.py", "dice.py", "mailer.py", "echo.py", "assistant.py", "wrapped.py"]


@pytest.mark.usefixtures("pages")
def test_the_counter_goes_on() -> None:
    counter = load_agents("counter:counter")["counter"]
    assert told(counter).said() == [("text", "0 "), ("text", "1 "), ("text", "2 ")]
    assert told(counter, checkpoint=2).said() == [("text", "2 ")]


@pytest.mark.usefixtures("pages")
def test_the_dice_are_not_rolled_twice() -> None:
    dice = load_agents("dice:roll")["dice"]
    assert dice.on_take_over == "fail"
    assert told(dice).outputs == [Data("rolled", 4)]


@pytest.mark.usefixtures("pages")
def test_the_mailer_asks() -> None:
    mailer = load_agents("mailer:mailer")["mailer"]
    assert told(mailer).said()[-2:] == [
        ("result", "run_1.mail", {"sent_to": "ann@example.com"}, None),
        ("text", "That was all."),
    ]
    assert ("result", "run_1.mail", {"sent_to": "eve"}, None) in told(
        mailer, answer=Answer(arguments={"to": "eve"})
    ).said()
    assert ("result", "run_1.mail", None, "denied: no") in told(mailer, answer=Answer("deny", "no")).said()


@pytest.mark.usefixtures("pages")
def test_the_echo_knows_the_history() -> None:
    echo = load_agents("echo:echo")["echo"]
    driven = told(echo, "hi", history=[{"role": "user", "parts": [{"kind": "text", "text": "hello"}]}])
    assert driven.said() == [("text", "You said 'hi', and 1 things were said before.")]
    assert driven.end == Finish(usage={"words": 9})


@pytest.mark.usefixtures("pages")
def test_the_assistant_asks_before_it_sends() -> None:
    assistant = load_agents("assistant:assistant")["assistant"]
    driven = told(assistant)
    assert [part[0] for part in driven.said()] == ["tool", "tool", "result", "result", "text"]
    assert [request.tool for request in driven.asked[0].requests] == ["send_postcard"]


@pytest.mark.usefixtures("pages")
def test_the_cashier_pays_under_a_key() -> None:
    cashier = load_agents("wrapped:wrapped")["cashier"]
    (result,) = (part for part in told(cashier).parts() if part["kind"] == "tool_result")
    assert re.fullmatch(r"\d+ euros paid once under run_1:\S+", result["output"])


def test_the_script_runs() -> None:
    (script,) = (json.loads(text) for kind, text in BLOCKS if kind == "json")
    driven = told(ScriptAgent(), script)
    kinds = [part[0] for part in driven.said()]
    assert kinds == ["reasoning", "text", "tool", "result", "text", "tool", "result", "tool", "result", "data"]


def test_the_table_has_every_step() -> None:
    table = PAGE[PAGE.index("| step |") :]
    assert re.findall(r'^\| `\{"(\w+)"', table, re.MULTILINE) == list(KINDS)


@pytest.mark.usefixtures("pages")
def test_the_commands_name_agents_of_the_page() -> None:
    commands = "".join(text for kind, text in BLOCKS if kind == "sh")
    references = re.findall(r"--agents (\S+)", commands)
    loaded = {name for reference in references for name in load_agents(reference)}
    assert set(re.findall(r"reattach run (\S+)", commands)) <= loaded


def test_the_package_exports_what_the_page_imports() -> None:
    assert exported is agent
