"""The agent of the races: it is only asked for, its worker is whoever writes the scenario."""

from collections.abc import AsyncGenerator

from pydantic import JsonValue

from ...domain.agent import Context, Output, TakeOver, Text


class Echo:
    """Implements `domain.agent.Agent`."""

    name = "echo"
    on_take_over: TakeOver = "continue"

    def validate(self, input: JsonValue) -> None:  # noqa: A002  the port's word
        """Anything is good."""

    def prompt(self, input: JsonValue) -> str | None:  # noqa: A002  the port's word
        """What was said."""
        return input if isinstance(input, str) else None

    async def run(self, context: Context) -> AsyncGenerator[Output]:
        """Never called: there is no worker."""
        yield Text(context.run_id)
