"""What the options of several `simulate` commands mean."""

import argparse
from importlib.util import find_spec

from ..adapters.cli.exits import UsageError
from ..domain.errors import ReattachError
from ..infrastructure.eventstore import is_postgres
from . import catalogue
from .campaign import JOBS
from .report import Setting
from .shrink import REPLAYS_MAX, SECONDS_MAX, Budget
from .store.opening import POSTGRES


def setting(options: argparse.Namespace) -> Setting:
    """--planted, --agents, --store and --database. Raises UsageError and ConfigurationError before anything is run."""
    chosen = store(getattr(options, "store", None), getattr(options, "database", None))
    return known(Setting(getattr(options, "planted", None), options.agents, chosen))


def known(chosen: Setting) -> Setting:
    """The setting, if its planted bug and its agents are here. Raises UsageError and ConfigurationError."""
    if chosen.planted is not None:
        known_bug(chosen.planted)
    if chosen.agents is not None:
        from .workload.users import Users  # noqa: PLC0415  - only with agents of one's own

        Users.load(chosen.agents)
    return chosen


def jobs(options: argparse.Namespace, worlds: int) -> int:
    """--jobs, or one a core; never more than there are worlds to run."""
    return min(options.jobs or JOBS, max(1, worlds))


def store(name: str | None, database: str | None) -> str | None:
    """--store and --database as one: a PostgreSQL's name is its URL. Raises UsageError."""
    if name != POSTGRES:
        if database is not None:
            raise UsageError(f"--database is for --store {POSTGRES}.")
        return name
    if database is None or not is_postgres(database):
        raise UsageError(
            f"--store {POSTGRES} needs --database postgresql://...: worlds get a schema of their own there."
        )
    if find_spec("psycopg") is None:
        raise UsageError(f"--store {POSTGRES} needs psycopg: pip install 'reattach[postgres]'.")
    from .store.postgres import reached  # noqa: PLC0415  - psycopg is an extra

    try:
        reached(database)
    except ReattachError as error:
        raise UsageError(error.detail) from error
    return database


def known_bug(name: str) -> None:
    """Raises UsageError if nobody has planted such a bug."""
    bugs = catalogue.planted_bugs()
    if name not in bugs:
        raise UsageError(f"There is no planted bug {name}. There are: {', '.join(sorted(bugs))}.")


def budget(options: argparse.Namespace) -> Budget:
    """--replays and --seconds."""
    return Budget(options.replays or REPLAYS_MAX, options.seconds or SECONDS_MAX)
