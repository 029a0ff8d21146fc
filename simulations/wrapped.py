"""An agent around an agent: what the world wants to know of it passes by here."""

from pydantic import JsonValue

from ..domain.agent import Agent, TakeOver


class WrappedAgent:
    """As the agent within it; whoever derives from it says what `run` does besides."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    @property
    def name(self) -> str:
        """Its name."""
        return self._agent.name

    @property
    def on_take_over(self) -> TakeOver:
        """As it says."""
        return self._agent.on_take_over

    def validate(self, input: JsonValue) -> None:  # noqa: A002  - the wire's word
        """As it does."""
        self._agent.validate(input)

    def prompt(self, input: JsonValue) -> str | None:  # noqa: A002  - the wire's word
        """As it does."""
        return self._agent.prompt(input)
