"""Agents that run elsewhere: declared here, so that clients may ask for them; run by workers that claim over HTTP."""

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from pydantic import JsonValue

from ...domain.agent import AgentFailure, Context, Output, TakeOver
from .prompts import prompt_of


@dataclass(frozen=True, slots=True)
class RemoteAgent:
    """The name of an agent that no process of Reattach's own runs. `check` raises Invalid for input that can't be run;
    `on_take_over="fail"` says that it can't be started again after its worker died."""

    name: str
    on_take_over: TakeOver = "continue"
    check: Callable[[JsonValue], None] | None = None

    def validate(self, input: JsonValue) -> None:  # noqa: A002  - the wire's word
        """As `check` says; without one, everything is accepted."""
        if self.check is not None:
            self.check(input)

    def prompt(self, input: JsonValue) -> str | None:  # noqa: A002  - the wire's word
        """The input if it is a text, else its `prompt` if that is one."""
        return prompt_of(input)

    def run(self, context: Context) -> AsyncGenerator[Output, None]:
        """Raises AgentFailure; our own workers leave the agent to those it belongs to."""
        raise AgentFailure("not_here", f"{self.name} is run by workers that claim it, not here ({context.run_id}).")
