"""A user's own agents in the world: what they are asked, and what their user says must hold of their runs.

The module that `--agents module:name` points at may have, besides its agents,
`simulated_inputs`: a list of inputs to ask them with (texts, if there is none), and
`check_run(input, messages, status)`: called for each of their runs that has ended, with what history shows of it;
whatever it raises is the violation `agent-check`.
"""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from ...adapters.agents.loading import load_agents
from ...domain.agent import Agent
from ...domain.identifiers import RunId
from ...domain.messages import Fields
from ...domain.ports import Span
from ...domain.run import Run
from ...domain.transitions import Status
from ..oracle.outputs import MESSAGES_MAX
from ..oracle.rows import Readable
from ..violation import Violation

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

    @classmethod
    def load(cls, setting: str | None) -> "Users":
        """Import them anew: what their modules keep in variables belongs to one world. Raises ConfigurationError."""
        if setting is None:
            return cls()
        for reference in setting.split(","):
            name = reference.partition(":")[0].strip()
            if name.partition(".")[0] != OWN_PACKAGE:
                sys.modules.pop(name, None)
        agents = load_agents(setting)
        module = importlib.import_module(setting.partition(":")[0])
        return cls(agents, getattr(module, "simulated_inputs", PROMPTS), getattr(module, "check_run", None))

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
            detail = f"{run.agent} raised an exception in {run.run_id}: {run.error.message}"
            raise Violation("agent-raised", detail, run_id=run.run_id)
        if self.check is None:
            return
        try:
            self.check(given, messages, str(run.status))
        except Exception as error:
            what = str(error) or type(error).__name__
            detail = f"{run.agent}, {run.run_id} ({run.status}, {run.takeovers} take-overs): {what}"
            raise Violation("agent-check", detail, run_id=run.run_id) from error


def of_run(run_id: RunId, messages: Sequence[Fields]) -> Sequence[Fields]:
    """The messages of one run, the abandoned ones left out: what its reader is to see."""
    return [m for m in messages if f":{run_id}:" in m["message_id"] and m["status"] != "abandoned"]
