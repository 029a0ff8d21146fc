"""Agents by name: what `--agents module:name` points at becomes agents that a worker can run."""

import importlib
import inspect
import operator
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeGuard, cast, get_args

from pydantic import JsonValue

from ...domain.agent import Agent, Context, Output, TakeOver
from ...domain.errors import ConfigurationError
from .prompts import Checked

if TYPE_CHECKING:
    from pydantic_ai.agent import AbstractAgent

AgentFunction = Callable[[Context], AsyncIterator[Output]]
"""An agent in its plainest form: an async generator function, however it is annotated."""

NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,99}")
"""What an agent may be called: it stands in URLs and on command lines."""

_MEMBERS: Final = ("name", "on_take_over", "validate", "prompt", "run")


@dataclass(frozen=True, slots=True)
class FunctionAgent(Checked):
    """An async generator function as an agent: any input will do, and text in it is the prompt."""

    name: str
    function: AgentFunction
    on_take_over: TakeOver = "continue"
    check: Callable[[JsonValue], None] | None = None

    def run(self, context: Context) -> AsyncGenerator[Output, None]:
        """Call the function."""
        return cast("AsyncGenerator[Output, None]", self.function(context))


def agent(
    *,
    name: str | None = None,
    on_take_over: TakeOver = "continue",
    check: Callable[[JsonValue], None] | None = None,
) -> Callable[[AgentFunction], FunctionAgent]:
    """Make an async generator function an agent under its own name or another.

    `on_take_over="fail"` says that it can't be started again after its worker died; `check` raises Invalid for input
    that can't be run. Raises ConfigurationError for another kind of function.
    """

    def decorate(function: AgentFunction) -> FunctionAgent:
        if not inspect.isasyncgenfunction(function):
            raise ConfigurationError(f"@agent: {_what_is_wrong(function, [])}")
        return FunctionAgent(name or function.__name__, function, on_take_over, check)

    return decorate


def load_agents(spec: str) -> dict[str, Agent]:
    """The agents of `module:name[,module:name...]` under their names. Modules of the current folder are found too.

    A name may stand for an agent, an async generator function, a pydantic_ai Agent, or a list or dict of these (a
    dict's keys are the names). Raises ConfigurationError.
    """
    agents: dict[str, Agent] = {}
    for reference in (part.strip() for part in spec.split(",")):
        for name, found in _agents_of(_find(reference), reference):
            if found.on_take_over not in get_args(TakeOver):
                raise ConfigurationError(f"{reference}: on_take_over is {' or '.join(get_args(TakeOver))}.")
            if not NAME.fullmatch(name):
                raise ConfigurationError(
                    f"{name!r} (from {reference}) can't name an agent: use letters, digits and _.:-"
                )
            if name in agents:
                raise ConfigurationError(f"Two agents are called {name} (the second is from {reference}); rename one.")
            agents[name] = found
    return agents


def _find(reference: str) -> object:
    module_name, colon, path = reference.partition(":")
    if not colon or not module_name or not path:
        raise ConfigurationError(f"--agents takes module:name, for example my_agents:chat, not {reference!r}.")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise ConfigurationError(_missing(error, module_name, folder)) from error
    except Exception as error:
        detail = f"The module {module_name} can't be imported: {type(error).__name__}: {error}."
        raise ConfigurationError(detail) from error
    try:
        return operator.attrgetter(path)(module)
    except AttributeError as error:
        raise ConfigurationError(f"The module {module_name} has no {path}.") from error


def _missing(error: ModuleNotFoundError, module_name: str, folder: str) -> str:
    missing = error.name or ""
    if missing.partition(".")[0] == "pydantic_ai":
        return f"{module_name} needs Pydantic AI: pip install 'reattach[pydantic-ai]'."
    if module_name == missing or module_name.startswith(f"{missing}."):
        return f"There is no module {module_name}, neither in {folder} nor installed."
    return f"The module {module_name} can't be imported: it needs {missing}, which is not installed."


def _agents_of(found: object, reference: str) -> Iterator[tuple[str, Agent]]:
    if isinstance(found, Mapping):
        for name, item in cast("Mapping[object, object]", found).items():
            yield str(name), _as_agent(item, f"{reference}[{name!r}]", name=str(name))
    elif isinstance(found, list | tuple):
        for index, item in enumerate(cast("list[object]", found)):
            each = _as_agent(item, f"{reference}[{index}]")
            yield each.name, each
    else:
        each = _as_agent(found, reference, fallback=reference.rpartition(":")[2])
        yield each.name, each


def _as_agent(found: object, reference: str, *, name: str = "", fallback: str = "") -> Agent:
    """What was found as an agent: under `name` if one is given, under `fallback` if it has none itself."""
    if inspect.isasyncgenfunction(found):
        return FunctionAgent(name or found.__name__, found)
    if isinstance(found, FunctionAgent):
        return replace(found, name=name or found.name)
    if _is_pydantic_ai(found):
        from .pydantic_ai import PydanticAgent  # noqa: PLC0415  - an optional extra, needed here for the first time

        return PydanticAgent(found, name=name or found.name or fallback)
    missing = [member for member in _MEMBERS if not hasattr(found, member)]
    if missing or inspect.isclass(found):
        raise ConfigurationError(f"{reference} is no agent: {_what_is_wrong(found, missing)}")
    candidate = cast("Agent", found)
    if name not in ("", candidate.name):
        raise ConfigurationError(f"{reference} calls itself {candidate.name}; use that as its key.")
    return candidate


def _is_pydantic_ai(found: object) -> "TypeGuard[AbstractAgent[Any, Any]]":
    """Whether this is one of Pydantic AI's agents; if the library was never imported, nothing is."""
    library = sys.modules.get("pydantic_ai.agent")
    return library is not None and isinstance(found, library.AbstractAgent)


def _what_is_wrong(found: object, missing: list[str]) -> str:
    if inspect.isclass(found):
        return "it is a class; name an instance of it."
    if inspect.iscoroutinefunction(found):
        return "it is a coroutine function; yield outputs in it, so that it becomes an async generator function."
    if callable(found):
        return "it is a plain function; make it an async generator function (async def ... yield)."
    return f"a {type(found).__name__} without {', '.join(missing)}. See docs/agents.md."
