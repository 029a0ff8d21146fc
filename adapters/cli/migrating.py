"""`reattach migrate`: bring a database to the schema of this version."""

import argparse

from .exits import Exit
from .options import Commands
from .terminal import Terminal


def add(commands: Commands) -> None:
    """Declare the command."""
    migrate = commands.add_parser("migrate", help="bring a database to this version's schema", allow_abbrev=False)
    migrate.add_argument("--database", metavar="URL", help="which (default: sqlite:///reattach.db)")
    migrate.set_defaults(command=_migrate)


def _migrate(options: argparse.Namespace, terminal: Terminal) -> int:
    from ..composition import load_settings, migrated  # noqa: PLC0415  - the store's modules, for what needs them

    terminal.result(migrated(load_settings(database=options.database)))
    return Exit.COMPLETED
