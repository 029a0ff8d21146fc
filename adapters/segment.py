"""One segment of an agent: what it yields is written down until it says how it ends, or raises."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from ..domain.agent import Approvals, Finish, Output
from ..domain.frames import RunError
from .appender import Appender

ERROR_CHARS_MAX: Final = 2000
"""Characters of an exception's text that are kept as the run's error."""


async def drive(outputs: AsyncGenerator[Output, None], appender: Appender) -> Approvals | Finish:
    """Write what the agent yields; how its segment ended."""
    try:
        async with aclosing(outputs):
            async for output in outputs:
                if isinstance(output, Approvals | Finish):
                    return output
                await appender.write(output)
    except GeneratorExit as error:  # in a coroutine it would mean something else
        message = "the agent raised GeneratorExit"
        raise RuntimeError(message) from error
    return Finish()


def internal_error(error: BaseException) -> RunError:
    """What a run is failed with whose agent raised."""
    return RunError(type="internal_error", message=f"{type(error).__name__}: {plain(error)}", retryable=False)


def plain(text: object) -> str:
    """Text of an agent as it can be stored, whatever it is."""
    try:
        return str(text).encode("utf-8", "replace").decode()[:ERROR_CHARS_MAX]
    except Exception:  # noqa: BLE001  - a __str__ may raise anything, too
        return f"({type(text).__name__} without a readable text)"
