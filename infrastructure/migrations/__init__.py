"""The schema's history, which Alembic applies: when an embedded database is opened, or by `reattach migrate`."""

import os
import sqlite3
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy.exc import DBAPIError

from ...domain.errors import ConfigurationError, ReattachError, StoreUnavailable
from ..driver import domain_error
from ..sqlite import connect_writer

if TYPE_CHECKING:
    from alembic.config import Config

HEAD: Final = "0002"
"""The revision this code works with. Kept here so that opening a current database does not load Alembic."""

_MIGRATING: Final = threading.Lock()
"""Alembic keeps what it works on in global state; one thread of a process at a time."""


def migrate(path: Path) -> str | None:
    """Create the file, or bring its schema to HEAD; the revision it had before, None if there was nothing.

    Safe to run in several processes at once. Raises ConfigurationError (not our file, newer than this code, can't be
    opened), StoreUnavailable, RecordDamaged.
    """
    connection = _writable(path)
    try:
        found = _revision(connection, path)
        if found != HEAD:
            with _MIGRATING:
                _upgrade(connection, path)
        return found
    except sqlite3.Error as error:
        raise domain_error(error) from error
    except DBAPIError as error:
        raise StoreUnavailable(f"The database can't be migrated: {error.orig}.") from error
    finally:
        connection.close()


def _writable(path: Path) -> sqlite3.Connection:
    try:
        connection = connect_writer(path, "strict")
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    if not os.access(path, os.W_OK):  # SQLite would tell at the first write only
        connection.close()
        raise ConfigurationError(f"The database {path} is readonly for this user.")
    return connection


def _revision(connection: sqlite3.Connection, path: Path) -> str | None:
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    if "alembic_version" not in tables:
        if tables:
            raise ConfigurationError(f"{path} is a database of something else: it holds the table {tables[0]!r}.")
        return None
    row: tuple[str] | None = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return row[0] if row else None


def _upgrade(connection: sqlite3.Connection, path: Path) -> None:
    import sqlalchemy as sa  # noqa: PLC0415  - loaded only when there is something to migrate
    from alembic import command  # noqa: PLC0415  - as above

    config = configuration()
    engine = sa.create_engine("sqlite://", creator=lambda: connection, poolclass=sa.StaticPool)
    with engine.connect() as bound, bound.begin():
        # Under the write lock: of several processes that start at once, one migrates and the others find it done.
        # Taken only here, because SQLAlchemy rolls a connection back when it first sees it; it also commits.
        connection.execute("BEGIN IMMEDIATE")
        revision = _revision(connection, path)
        refuse_unknown(revision, f"{path}", config)
        config.attributes["connection"] = bound
        command.upgrade(config, "head")


def configuration() -> "Config":
    """Alembic's configuration, in code: these scripts, wherever the package is installed."""
    from alembic.config import Config  # noqa: PLC0415  - as above

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def refuse_unknown(revision: str | None, database: str, config: "Config") -> None:
    """Raise ConfigurationError for a revision that only a newer version can know."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415  - loaded only when there is something to migrate

    known = [script.revision for script in ScriptDirectory.from_config(config).walk_revisions()]
    if revision is not None and revision not in known:
        detail = f"{database} was written by a newer version of Reattach (its schema is {revision}, ours {known[0]})."
        raise ConfigurationError(f"{detail} Run that version, or restore a backup of this one.", schema=revision)


def _unusable(path: Path, error: sqlite3.Error) -> ReattachError:
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_CORRUPT):
        return domain_error(error)
    return ConfigurationError(f"The database {path} can't be opened: {error}.")
