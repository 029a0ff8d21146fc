"""The prompt in a run's input: what people read as the user's message, and what models are asked."""

from collections.abc import Callable

from pydantic import JsonValue

from ...domain.errors import Invalid


def prompt_of(input: JsonValue) -> str | None:  # noqa: A002  - the wire's word
    """The input if it is a text, else its `prompt` if that is one."""
    prompt = input.get("prompt") if isinstance(input, dict) else input
    return prompt if isinstance(prompt, str) else None


def require_prompt(input: JsonValue) -> None:  # noqa: A002  - the wire's word
    """Raise Invalid unless there is a prompt with something in it."""
    if not (prompt_of(input) or "").strip():
        raise Invalid('The input is a text, or an object with a text `prompt`: {"prompt": "hello"}.', field="input")


class Checked:
    """The input of an agent whose author may give a `check`: it raises Invalid for input that can't be run."""

    __slots__ = ()
    check: Callable[[JsonValue], None] | None

    def validate(self, input: JsonValue) -> None:  # noqa: A002  - the wire's word
        """As `check` says; without one, everything is accepted."""
        if self.check is not None:
            self.check(input)

    def prompt(self, input: JsonValue) -> str | None:  # noqa: A002  - the wire's word
        """The input if it is a text, else its `prompt` if that is one."""
        return prompt_of(input)
