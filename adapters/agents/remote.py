"""Agents that run elsewhere: declared here, so that clients may ask for them; run by workers that claim over HTTP."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from pydantic import JsonValue

from ...domain.agent import AgentFailure, Context, Output, TakeOver
from .prompts import Checked


@dataclass(frozen=True, slots=True)
class RemoteAgent(Checked):
    """The name of an agent that no process of Reattach's own runs. `check` raises Invalid for input that can't be run;
    `on_take_over="fail"` says that it can't be started again after its worker died."""

    name: str
    on_take_over: TakeOver = "continue"
    check: Callable[[JsonValue], None] | None = None

    def run(self, context: Context) -> AsyncGenerator[Output, None]:
        """Raises AgentFailure; our own workers leave the agent to those it belongs to."""
        raise AgentFailure("not_here", f"{self.name} is run by workers that claim it, not here ({context.run_id}).")
