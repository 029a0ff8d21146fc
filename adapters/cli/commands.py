"""All commands, and what happens when one of them can't do its work."""

import argparse
import io
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Final

from ...domain.errors import ReattachError
from ..client import Unreachable
from . import deciding, mcp, migrating, running, serving, tail, verifying
from .exits import Exit, UsageError, exit_of
from .options import DEFAULT_URL, Commands, invocation
from .screen import compact
from .terminal import Terminal

_DESCRIPTION = "Agent runs that survive every disconnect."
_SAID_ALREADY: Final = ("status", "url", "field")
_EPILOG = (
    "Client commands talk to --url, else $REATTACH_URL, else "
    f"{DEFAULT_URL}, with the bearer token in $REATTACH_TOKEN. "
    "Exit codes: 0 completed, 1 failed, 2 usage, 3 cancelled, 4 server unreachable or refusing, 5 database damaged, "
    "130 Ctrl-C."
)


def execute(arguments: Sequence[str], extra: Sequence[Callable[[Commands], None]] = ()) -> int:
    """Parse, run, and say what went wrong. Raises KeyboardInterrupt and BrokenPipeError."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a character the terminal lacks is no reason to stop
    options = _parser(extra).parse_args(arguments)
    terminal = Terminal.standard()
    try:
        code: int = options.command(options, terminal)
    except UsageError as error:
        terminal.error(str(error))
        return Exit.USAGE
    except ReattachError as error:
        terminal.error(error.detail)
        for name, value in error.fields.items():
            if name not in _SAID_ALREADY and value:
                terminal.note(f"  {name}: {compact(value)}", "dim")
        if isinstance(error, Unreachable):
            terminal.note(f"A server on this machine is started with: {shlex.join((*invocation(), 'serve'))}")
        return exit_of(error)
    return code


def _parser(extra: Sequence[Callable[[Commands], None]]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reattach", description=_DESCRIPTION, epilog=_EPILOG, allow_abbrev=False)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for declare in (serving.add, running.add, tail.add, deciding.add, mcp.add, migrating.add, verifying.add, *extra):
        declare(commands)
    return parser
