"""The schema on PostgreSQL: brought up to date by a command, and only looked at when a store starts.

Any number of servers share one database, so none of them changes it while it starts: others may be of another version.
"""

from typing import Any, Final

import psycopg
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from ...domain.errors import ConfigurationError, StoreUnavailable
from ..driver import DriverError
from ..postgres import connect, connection_string, translated
from . import HEAD, configuration, refuse_unknown

LOCK: Final = 0x5EA77AC4
"""The advisory lock of whoever migrates, in the database that is migrated."""

LOCK_WAIT_MS: Final = 3_000
"""Milliseconds a migration waits for a table. It gives up rather than let running servers queue behind it."""

Raw = psycopg.Connection[tuple[Any, ...]]


def migrate(url: str) -> str | None:
    """Bring the schema to HEAD, one process at a time; the revision it had before, None if there was nothing.

    Raises ConfigurationError (not ours, newer than this code), StoreUnavailable.
    """
    from alembic import command  # noqa: PLC0415  - a server that only looks does not need it

    conninfo = connection_string(url)
    engine = sa.create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(conninfo), poolclass=sa.NullPool)
    try:
        with engine.connect() as bound, bound.begin():
            # Held until the commit: of several that migrate, one does it and the others find it done.
            bound.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            bound.execute(sa.text(f"SET LOCAL lock_timeout={LOCK_WAIT_MS}"))
            raw: Any = bound.connection.driver_connection
            found = _revision(raw, url)
            if found != HEAD:
                config = configuration()
                refuse_unknown(found, _shown(url), config)
                config.attributes["connection"] = bound
                command.upgrade(config, "head")
            return found
    except (DBAPIError, psycopg.Error) as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        said = f"{cause}".strip().partition("\n")[0].rstrip(".")
        raise StoreUnavailable(f"The database can't be migrated: {said}.") from error
    finally:
        engine.dispose()


def check_schema(url: str) -> None:
    """Raises ConfigurationError, naming the command that helps, unless the schema is HEAD. Changes nothing."""
    try:
        connection = connect(url, reads=True)
        try:
            with translated(connection.raw):
                found = _revision(connection.raw, url)
        finally:
            connection.close()
    except DriverError as error:
        raise error.meaning from error
    if found == HEAD:
        return
    command = f"Run `reattach migrate --database {_shown(url)}`"
    if found is None:
        raise ConfigurationError(f"{_shown(url)} is empty. {command} first.")
    refuse_unknown(found, _shown(url), configuration())
    detail = f"{_shown(url)} has an older schema ({found}, ours is {HEAD}). {command}; running servers may go on."
    raise ConfigurationError(detail, schema=found)


def _revision(raw: Raw, url: str) -> str | None:
    with raw.cursor() as cursor:
        found = cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1")
        tables = [row[0] for row in found.fetchall()]
        if "alembic_version" not in tables:
            if tables:
                raise ConfigurationError(f"{_shown(url)} is of something else: it holds the table {tables[0]!r}.")
            return None
        row = cursor.execute("SELECT version_num FROM alembic_version").fetchone()
        return row[0] if row is not None else None


def _shown(url: str) -> str:
    return sa.make_url(url).render_as_string(hide_password=True)
