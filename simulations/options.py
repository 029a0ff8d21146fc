"""What the options of several `simulate` commands mean."""

import argparse

from ..adapters.cli.exits import UsageError
from . import catalogue
from .report import Setting
from .shrink import REPLAYS_MAX, SECONDS_MAX, Budget


def setting(options: argparse.Namespace) -> Setting:
    """--planted, --agents and --store. Raises UsageError and ConfigurationError before anything is run."""
    planted: str | None = getattr(options, "planted", None)
    if planted is not None:
        known_bug(planted)
    if options.agents is not None:
        from .workload.users import Users  # noqa: PLC0415  - only with agents of one's own

        Users.load(options.agents)
    return Setting(planted, options.agents, getattr(options, "store", None))


def known_bug(name: str) -> None:
    """Raises UsageError if nobody has planted such a bug."""
    bugs = catalogue.planted_bugs()
    if name not in bugs:
        raise UsageError(f"There is no planted bug {name}. There are: {', '.join(sorted(bugs))}.")


def budget(options: argparse.Namespace) -> Budget:
    """--replays and --seconds."""
    return Budget(options.replays or REPLAYS_MAX, options.seconds or SECONDS_MAX)
