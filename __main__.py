"""`reattach`, also `python -m reattach`: the command line, joined with simulator and chaos, which stand above it."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from .adapters.cli import main as command_line

if TYPE_CHECKING:
    from .adapters.cli.options import Commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    extra = {"simulate": _simulate, "chaos": _chaos}.get(given[0] if given else "", _name_them)
    return command_line(given, extra=(extra,))


def _simulate(commands: "Commands") -> None:
    from .simulations import cli  # noqa: PLC0415  - for this command alone; and Ctrl-C meanwhile is no traceback

    cli.add(commands)


def _chaos(commands: "Commands") -> None:
    from .simulations.chaos import cli  # noqa: PLC0415  - as above

    cli.add(commands)


def _name_them(commands: "Commands") -> None:
    """Where another command is given, the list of commands is all that they are needed for."""
    commands.add_parser("simulate", help="look for broken promises in a simulated world")
    commands.add_parser("chaos", help="kill real processes under load")


if __name__ == "__main__":
    sys.exit(main())
