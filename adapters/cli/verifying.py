"""`reattach verify`: is everything there, and as it was written?"""

import argparse

from ...domain.errors import RecordDamaged
from .exits import Exit
from .options import Commands
from .terminal import Terminal


def add(commands: Commands) -> None:
    """Declare the command."""
    verify = commands.add_parser("verify", help="read a whole database and name what is damaged", allow_abbrev=False)
    verify.add_argument("--database", metavar="URL", help="which (default: sqlite:///reattach.db)")
    verify.set_defaults(command=_verify)


def _verify(options: argparse.Namespace, terminal: Terminal) -> int:
    from ..composition import load_settings, verified  # noqa: PLC0415  - the store's modules, for what reads it

    code = Exit.COMPLETED
    try:
        for line in verified(load_settings(database=options.database)):
            terminal.result(line)
            code = Exit.DAMAGED
    except RecordDamaged as error:
        terminal.error(error.detail)
        return Exit.DAMAGED
    return code
