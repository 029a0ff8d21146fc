"""Connections to an SQLite file."""

import sqlite3
import time
from pathlib import Path
from typing import Final, Literal

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from ..domain.errors import ConfigurationError
from .driver import Connection

Durability = Literal["strict", "relaxed"]
"""strict: every commit is synced to the disk. relaxed: a power cut may take the last ones, a crash of ours none."""

BUSY_TIMEOUT_MS: Final = 5_000
"""Milliseconds a writer waits for another process's transaction before it gives up."""

WAL_RETRY_MS: Final = 5
"""Milliseconds between two attempts to switch a file to WAL that another makes just now."""

READ_BUSY_TIMEOUT_MS: Final = 250
"""Milliseconds a reader waits on the event loop; in WAL mode only the recovery after a crash ever blocks it."""

JOURNAL_SIZE_LIMIT_BYTES: Final = 67_108_864
"""Bytes of WAL file kept after a checkpoint."""

CACHE_KIB: Final = 16_384
"""KiB of page cache of each connection."""

STATEMENTS_CACHED: Final = 256
"""Prepared statements each connection keeps."""


def database_path(url: str) -> Path:
    """The file an `sqlite:///file` URL names. Raises ConfigurationError for everything else."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise ConfigurationError(_supported(url)) from error
    if parsed.drivername != "sqlite" or parsed.query or parsed.database in (None, "", ":memory:"):
        raise ConfigurationError(_supported(parsed.render_as_string()))
    return Path(parsed.database or "")


def _supported(url: str) -> str:
    return (
        f"{url!r:.200} is no supported database; give sqlite:///relative.db, sqlite:////absolute/path.db "
        "or postgresql://user@host/name."
    )


def connect_writer(path: Path, durability: Durability, wait_ms: int = BUSY_TIMEOUT_MS) -> sqlite3.Connection:
    """A connection that may write, and waits so long for others that do. Raises sqlite3.Error."""
    connection = _connect(path)
    try:
        prepare_writer(connection, durability, wait_ms)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def prepare_writer(connection: sqlite3.Connection, durability: Durability, wait_ms: int = BUSY_TIMEOUT_MS) -> None:
    """Make a new connection one that may write. Raises sqlite3.Error."""
    connection.execute(f"PRAGMA busy_timeout={wait_ms}")
    if connection.execute("PRAGMA page_count").fetchone() == (0,):  # later it has no effect, and writes all the same
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
    _write_ahead(connection, wait_ms)
    connection.execute(f"PRAGMA synchronous={'FULL' if durability == 'strict' else 'NORMAL'}")
    connection.execute(f"PRAGMA journal_size_limit={JOURNAL_SIZE_LIMIT_BYTES}")


def _write_ahead(connection: sqlite3.Connection, wait_ms: int) -> None:
    """Switch the file to WAL. While somebody else writes it SQLite refuses that at once, whatever its time-out."""
    until = time.monotonic() + wait_ms / 1_000
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(WAL_RETRY_MS / 1_000)  # only while a store is opened; SQLite tells nobody that a lock is free
        else:
            return


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that can't write, for statements that run on the event loop. Raises sqlite3.Error."""
    connection = _connect(path)
    connection.execute(f"PRAGMA busy_timeout={READ_BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA query_only=ON")
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path, isolation_level=None, check_same_thread=False, cached_statements=STATEMENTS_CACHED
    )
    connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    return connection


def data_version(connection: Connection) -> int:
    """A number that changes whenever another connection, of any process, has committed; own commits leave it."""
    version: int = connection.execute("PRAGMA data_version").fetchone()[0]
    return version
