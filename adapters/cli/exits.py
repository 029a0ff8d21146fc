"""How commands end: exit codes that a script can rely on, and errors as messages."""

from enum import IntEnum

from ...domain.errors import ConfigurationError, Invalid, ReattachError
from ...domain.transitions import Status


class Exit(IntEnum):
    """The exit codes. `run` and `follow` exit by the run's outcome."""

    COMPLETED = 0
    """The run completed, or the command did what it was asked to."""
    FAILED = 1
    """The run failed, or had ended otherwise than was asked for."""
    USAGE = 2
    """The command line, the environment or a setting is wrong; nothing was sent."""
    CANCELLED = 3
    """The run was cancelled."""
    REFUSED = 4
    """The server can't be reached, or refuses; the message says which."""
    DAMAGED = 5
    """The database holds what is torn, missing or altered; each is named."""
    INTERRUPTED = 130
    """Ctrl-C. The run goes on."""
    UNREAD = 141
    """Nobody reads the output any more (`reattach follow ... | head`). The run goes on."""


OUTCOMES = {Status.COMPLETED: Exit.COMPLETED, Status.FAILED: Exit.FAILED, Status.CANCELLED: Exit.CANCELLED}


class UsageError(Exception):
    """The command can't be carried out as it was given; the message says what to do instead."""


def exit_of(error: ReattachError) -> Exit:
    """The exit code of an error. What the server refuses carries its status; what has none never got there."""
    local = isinstance(error, ConfigurationError) or (isinstance(error, Invalid) and "status" not in error.fields)
    return Exit.USAGE if local else Exit.REFUSED
