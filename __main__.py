"""`reattach`, also `python -m reattach`: the command line, joined with the simulator, which stands above it."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .adapters.cli import main as command_line

if TYPE_CHECKING:
    from .adapters.cli.options import Commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    return command_line(given, extra=(_simulate if "simulate" in given[:1] else _name_it,))


def _simulate(commands: "Commands") -> None:
    from .simulations import cli  # noqa: PLC0415  - for this command alone; and Ctrl-C meanwhile is no traceback

    cli.add(commands)


def _name_it(commands: "Commands") -> None:
    """Where another command is given, the list of commands is all that it is needed for."""
    commands.add_parser("simulate", help="look for broken promises in a simulated world")


if __name__ == "__main__":
    sys.exit(main())
