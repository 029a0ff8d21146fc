"""A user's own agents in the world: what they are asked, and what their user says must hold of their runs.

The module that `--agents module:name` points at may have, besides its agents,
`simulated_inputs`: a list of inputs to ask them with (texts, if there is none), and
`check_run(input, messages, status)`: called for each of their runs that has ended, with what history shows of it;
whatever it raises is the violation `agent-check`.
"""

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final, cast

from ...adapters.agents.loading import load_agents
from ...domain.agent import Agent, Context, Output
from ...domain.errors import ConfigurationError, ReattachError
from ...domain.identifiers import RunId
from ...domain.messages import Fields
from ...domain.ports import Span
from ...domain.run import Run
from ...domain.transitions import Status
from ..misuse import exited, own_line
from ..oracle.outputs import MESSAGES_MAX
from ..oracle.rows import Readable
from ..process import AGENT
from ..violation import Violation
from ..wrapped import WrappedAgent

OWN_PACKAGE: Final = __name__.partition(".")[0]

PROMPTS: Final = ("Hello", "What is the time?", "")
"""What is said to agents that take any text."""

Check = Callable[[Any, Sequence[Fields], str], object]


@dataclass(frozen=True, slots=True)
class Users:
    """The agents of a user, by name; none in most worlds."""

    agents: Mapping[str, Agent] = field(default_factory=dict[str, Agent])
    inputs: Sequence[Any] = PROMPTS
    check: Check | None = None
    files: Sequence[str] = ()
    """The files of their modules."""

    @classmethod
    def load(cls, setting: str | None) -> "Users":
        """Import them anew: what their modules keep in variables belongs to one world. Raises ConfigurationError."""
        if setting is None:
            return cls()
        names = [reference.partition(":")[0].strip() for reference in setting.split(",")]
        for name in names:
            if name.partition(".")[0] != OWN_PACKAGE:
                sys.modules.pop(name, None)
        try:
            agents = load_agents(setting)
        except SystemExit as error:
            raise ConfigurationError(
                f"{names[0]} ends the process while it is imported{own_line(error, ())}."
            ) from error
        modules = [sys.modules[name] for name in names]
        for module in modules:
            _bind_late(module)
        files = [str(getattr(module, "__file__", "")) for module in modules]
        module = modules[0]
        check = getattr(module, "check_run", None)
        if check is not None and not callable(check):
            raise ConfigurationError(f"{names[0]}: check_run must be a function, not {check!r:.80}.")
        inputs = _inputs(names[0], getattr(module, "simulated_inputs", None), agents)
        return cls({name: Watched(agent, files) for name, agent in agents.items()}, inputs, check, files)

    def judge_all(self, core: Readable, run_ids: Sequence[RunId]) -> None:
        """Each of their runs that has ended. Raises what `judge` does."""
        for run_id in run_ids if self.agents else ():
            view = core.run_view(run_id)
            job = core.job(view.run.job_id) if view is not None else None
            if view is not None and job is not None:
                found = core.projected(view.run.session_id, Span(), MESSAGES_MAX)
                self.judge(view.run, job.input, of_run(run_id, [message for _, message, _ in found]))

    def judge(self, run: Run, given: Any, messages: Sequence[Fields]) -> None:
        """Raise agent-raised for an agent that failed without meaning to, agent-check for what its user says of it."""
        if run.agent not in self.agents:
            return
        if run.status is Status.FAILED and run.error is not None and run.error.type == "internal_error":
            agent = self.agents[run.agent]
            where = agent.raised.get(run.error.message, "") if isinstance(agent, Watched) else ""
            detail = f"{run.agent} raised an exception in {run.run_id}{where}: {run.error.message}"
            raise Violation("agent-raised", detail, run_id=run.run_id)
        if self.check is None:
            return
        try:
            self.check(given, messages, str(run.status))
        except Exception as error:
            what = str(error) or type(error).__name__
            detail = f"{run.agent}, {run.run_id} ({run.status}, {run.takeovers} take-overs): {what}"
            raise Violation("agent-check", detail, run_id=run.run_id) from error


class Watched(WrappedAgent):
    """A user's agent in the world. Whatever runs for it, also in tasks of its own, is known to be its (AGENT)."""

    def __init__(self, agent: Agent, files: Sequence[str]) -> None:
        super().__init__(agent)
        self.raised: dict[str, str] = {}
        """Where in the user's code exceptions came from, by what was said of them."""
        self._files = files

    async def run(self, context: Context) -> AsyncGenerator[Output, None]:
        """As it does. A worker fails the run of an agent that would end the process: here it is told as that."""
        AGENT.set(self.name)  # the worker's task for this run has a context of its own
        try:
            async with aclosing(self._agent.run(context)) as outputs:
                async for output in outputs:
                    yield output
        except SystemExit as error:
            if (found := exited(error, self._files)) is not None:
                _abort(found)
            raise
        except Exception as error:
            self.raised[f"{type(error).__name__}: {error}"] = own_line(error, self._files)
            raise


def _bind_late(module: ModuleType) -> None:
    """A sleep that the module has imported by its name is to be the world's, too: it can't be held."""
    for name, value in list(vars(module).items()):
        if value is time.sleep:
            setattr(module, name, _sleep)


def _sleep(seconds: float) -> None:
    time.sleep(seconds)  # inside a world that is refused


def _abort(found: Violation) -> None:
    loop = cast("Any", asyncio.get_running_loop())
    loop.abort(found)


def _inputs(module: str, given: object, agents: Mapping[str, Agent]) -> Sequence[Any]:
    """What the agents are asked: a list of JSON values that each of them takes. Raises ConfigurationError."""
    inputs: object = PROMPTS if given is None else given
    if not isinstance(inputs, list | tuple) or not inputs:
        what = f"{module}: simulated_inputs must be a list of at least one input, not {inputs!r:.80}."
        raise ConfigurationError(what)
    items = cast("Sequence[Any]", inputs)
    for place, item in enumerate(items):
        try:
            json.dumps(item, allow_nan=False)
        except (TypeError, ValueError) as error:
            detail = f"{module}: simulated_inputs[{place}] is no JSON value: {item!r:.80}."
            raise ConfigurationError(detail) from error
        for agent in agents.values():
            try:
                agent.validate(item)
            except ReattachError as error:
                named = f"{item!r:.80}" if given is None else f"simulated_inputs[{place}]"
                detail = (
                    f"{module}: the agent {agent.name} refuses {named}: {error} Say in simulated_inputs what it takes."
                )
                raise ConfigurationError(detail) from error
    return items


def of_run(run_id: RunId, messages: Sequence[Fields]) -> Sequence[Fields]:
    """The messages of one run, the abandoned ones left out: what its reader is to see."""
    return [m for m in messages if f":{run_id}:" in m["message_id"] and m["status"] != "abandoned"]
