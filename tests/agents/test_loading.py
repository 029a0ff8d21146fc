"""What `--agents` may point at, and what it says when that is wrong."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from reattach.adapters.agents.loading import FunctionAgent, agent, load_agents
from reattach.adapters.agents.pydantic_ai import PydanticAgent
from reattach.adapters.agents.script import ScriptAgent
from reattach.domain.agent import Context, Text
from reattach.domain.errors import ConfigurationError, Invalid

from .driver import context_of, drive

Write = Callable[[str], str]

FUNCTION = """
from reattach.domain.agent import Text

async def chat(context):
    yield Text(f"you said {context.input}")
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Write a module into the current folder; its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())

    def written(source: str) -> str:
        name = f"module_{tmp_path.name}_{len(list(tmp_path.iterdir()))}"
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        return name

    return written


def test_a_function_in_the_current_folder(write: Write) -> None:
    agents = load_agents(f"{write(FUNCTION)}:chat")
    assert list(agents) == ["chat"]
    chat = agents["chat"]
    assert asyncio.run(drive(chat, context_of("hi"))).outputs == [Text("you said hi")]
    assert chat.on_take_over == "continue"
    inputs: list[Any] = ["hi", {"prompt": "hi"}, {"prompt": 1}, {}, None, 3, ["hi"]]
    assert [chat.prompt(each) for each in inputs] == ["hi", "hi", None, None, None, None, None]
    chat.validate({"anything": ["goes"]})


def test_several_of_every_kind(write: Write) -> None:
    source = (
        FUNCTION
        + """
from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel
from reattach.adapters.agents.script import ScriptAgent
from reattach.adapters.agents.loading import agent

writer = Agent(TestModel(), name="scribbler")
nameless = Agent(TestModel())
several = [ScriptAgent(), writer]
by_name = {"first": chat, "second": nameless}

@agent(name="careful", on_take_over="fail")
async def other(context):
    yield Text("a")

class Box:
    inner = chat
"""
    )
    module = write(source)
    agents = load_agents(f"{module}:several, {module}:by_name,{module}:nameless,{module}:other,{module}:Box.inner")
    assert list(agents) == ["script", "scribbler", "first", "second", "nameless", "careful", "chat"]
    assert isinstance(agents["script"], ScriptAgent)
    assert isinstance(agents["scribbler"], PydanticAgent)
    assert isinstance(agents["second"], PydanticAgent)
    assert [each.name for each in agents.values()] == list(agents)
    assert agents["careful"].on_take_over == "fail"


FAULTS = {
    "module": "--agents takes module:name",
    "": "--agents takes module:name",
    ":name": "--agents takes module:name",
    "no_such_module_at_all:chat": "There is no module no_such_module_at_all",
    "json.no_such_module:chat": "There is no module json.no_such_module",
    "json:chat": "The module json has no chat",
    "json:dumps": "plain function; make it an async generator function",
    "json:JSONDecoder": "it is a class; name an instance of it",
    "json:__name__": "a str without name, on_take_over, validate, prompt, run",
    "asyncio:sleep": "it is a coroutine function; yield outputs in it",
}


@pytest.mark.parametrize("spec", FAULTS)
def test_a_wrong_reference_says_what_to_do(spec: str) -> None:
    with pytest.raises(ConfigurationError) as fault:
        load_agents(spec)
    assert FAULTS[spec] in fault.value.detail


BROKEN = {
    "1 / 0": "can't be imported: ZeroDivisionError: division by zero",
    "def (": "can't be imported: SyntaxError",
    "import no_such_library": "it needs no_such_library, which is not installed",
    "import pydantic_ai_missing": "it needs pydantic_ai_missing",
    f"{FUNCTION}\nchat.__name__ = 'two words'": "'two words' .* can't name an agent",
    f"{FUNCTION}\nchat = [chat, chat]": "Two agents are called chat",
    "from reattach.adapters.agents.script import ScriptAgent as S\nchat = {'a': S()}": "calls itself script",
    f"{FUNCTION}\nfrom reattach import agent\nchat = agent(on_take_over='perhaps')(chat)": "continue or fail",
}


@pytest.mark.parametrize("source", BROKEN)
def test_a_broken_module_says_what_is_wrong(source: str, write: Write) -> None:
    with pytest.raises(ConfigurationError, match=BROKEN[source]):
        load_agents(f"{write(source)}:chat")


def test_a_missing_extra_says_how_to_get_it(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydantic_ai", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'reattach\[pydantic-ai\]'"):
        load_agents(f"{write('from pydantic_ai import Agent')}:chat")


def test_the_library_is_not_imported_for_a_plain_function(write: Write) -> None:
    check = "import sys; assert not [name for name in sys.modules if name.startswith('pydantic_ai')]"
    load = f"from reattach.adapters.agents.loading import load_agents; load_agents('{write(FUNCTION)}:chat')"
    environment = {"PYTHONPATH": str(Path(__file__).parents[2] / ".src")}
    subprocess.run([sys.executable, "-c", f"{load}; {check}"], check=True, env=environment, timeout=60)


def test_the_decorator() -> None:
    def only_numbers(input: object) -> None:  # noqa: A002  - the wire's word
        if not isinstance(input, int):
            raise Invalid("A number, please.", field="input")

    @agent(check=only_numbers)
    async def count(context: Context) -> AsyncIterator[Text]:
        yield Text(str(context.input))

    assert isinstance(count, FunctionAgent)
    assert (count.name, count.on_take_over) == ("count", "continue")
    count.validate(3)
    with pytest.raises(Invalid):
        count.validate("three")


def test_the_decorator_wants_a_generator() -> None:
    async def wrong(_: Context) -> None:
        return None

    with pytest.raises(ConfigurationError, match="yield outputs in it"):
        agent()(cast("Any", wrong))
