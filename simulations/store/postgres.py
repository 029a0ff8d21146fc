"""The production store on a real PostgreSQL, without its threads: writer and reads in line, on one connection.

Worlds are kept in a schema of their own, which is made for this process, emptied before each world and dropped at the
end: whatever else is in the database is never touched. Imported only where it is asked for: psycopg is an extra.
"""

import atexit
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import URL, make_url

from ...domain.errors import StoreUnavailable
from ...domain.ports import Clock
from ...infrastructure.codec import Codec
from ...infrastructure.driver import Cursor, DriverError, Lost
from ...infrastructure.eventstore.library import Library
from ...infrastructure.eventstore.postgres_reads import PostgresReads
from ...infrastructure.eventstore.postgres_recorder import PostgresRecorder
from ...infrastructure.eventstore.postgres_writer import PostgresWriter
from ...infrastructure.eventstore.schema import meta, metadata
from ...infrastructure.migrations.postgres import migrate
from ...infrastructure.postgres import PostgresConnection, connect
from .stored import NONE, StoredCore

SCHEMA: Final = "reattach_simulation_"
"""What our schemas are called; a number follows."""

SCHEMAS_MAX: Final = 256
"""Processes that may have worlds in one database at a time."""

LOCK: Final = 0x5EA77AC5
"""The advisory lock of who has a schema; its second half is the schema's number."""

_EMPTY: Final = "; ".join(f"DELETE FROM {table.name}" for table in metadata.sorted_tables if table is not meta)  # noqa: S608  our own names
"""Rows of small worlds are deleted sooner than their tables are truncated, and statements stay planned."""


class Shared(PostgresConnection):
    """A connection that many use: `close` of one undoes what it left open, `end` is the end."""

    def close(self) -> None:
        """One of its users leaves."""
        if self.in_transaction:
            self.execute("ROLLBACK")

    def end(self) -> None:
        """Nobody uses it any more."""
        super().close()


class Refusing(Shared):
    """The connection as it is, but that it breaks just before a transaction ends, be it one of a single statement."""

    def execute(self, statement: str, parameters: Mapping[str, Any] | None = None, /) -> Cursor:
        """Run it, unless it would end a transaction."""
        if not self.in_transaction or statement == "ROLLBACK":
            raise _broken()
        return super().execute(statement, parameters)

    def commit(self) -> None:
        """Break."""
        raise _broken()

    def close(self) -> None:
        """What was open is undone."""
        Shared(self.raw).close()


class PostgresCore(StoredCore, PostgresReads):
    """Implements `Core` by the production code on PostgreSQL, on a connection of `opened`."""

    def __init__(self, clock: Clock, connection: Shared) -> None:
        codec = Codec()
        self._shared = connection
        self._library = Library(PostgresRecorder(lambda: connection), codec)
        self._refuses = False
        super().__init__(PostgresWriter(self._connect, self._library, codec, clock), lambda: connection, codec)

    def end(self) -> None:
        """Let go of the database, which stays."""
        self._library.close()
        self._shared.close()

    @contextmanager
    def _refusing(self) -> Generator[None]:
        self._refuses = True
        try:
            yield
        finally:
            self._refuses = False

    def _connect(self) -> PostgresConnection:
        return Refusing(self._shared.raw) if self._refuses else self._shared

    def _rows(self, statement: str, parameters: Mapping[str, Any] = NONE) -> list[Any]:
        text = getattr(statement, "postgres", None) or statement.encode()
        return self._shared.raw.cursor(binary=True).execute(text, parameters).fetchall()


def opened(url: str) -> Shared:
    """This process's connection to its schema, empty. Raises DriverError, StoreUnavailable, ConfigurationError."""
    if _opened(place(url)).raw.closed:
        _opened.cache_clear()
    connection = _opened(place(url))
    connection.execute(_EMPTY)
    return connection


def reached(url: str) -> None:
    """Raises StoreUnavailable unless there is a server that lets us in."""
    try:
        connect(url).close()
    except DriverError as error:
        raise error.meaning from error


@lru_cache(1)
def _opened(url: str) -> Shared:
    connection = Shared(connect(url, "relaxed").raw)
    connection.raw.prepared_max = None  # it stands for all connections of all processes of a world
    atexit.register(connection.end)
    return connection


@lru_cache(1)
def place(url: str) -> str:
    """The URL of this process's schema in that database, made now, gone when the process ends."""
    holder = connect(url)
    schema = f"{SCHEMA}{_number(holder)}"
    inside = _in_schema(make_url(url), schema).render_as_string(hide_password=False)
    holder.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}")
    migrate(inside)

    def leave() -> None:
        with suppress(DriverError):  # its server may have gone before us
            holder.execute(f"DROP SCHEMA {schema} CASCADE")
            holder.close()

    atexit.register(leave)
    return inside


def _number(holder: PostgresConnection) -> int:
    """A number that no other process has, as long as this connection lives."""
    for number in range(SCHEMAS_MAX):
        row = holder.execute(f"SELECT pg_try_advisory_lock({LOCK}, {number})").fetchone()
        if row[0]:
            return number
    raise StoreUnavailable(f"{SCHEMAS_MAX} processes have worlds in this database.")


def _in_schema(url: URL, schema: str) -> URL:
    given = url.query.get("options", ())
    options = [given] if isinstance(given, str) else list(given)
    return url.update_query_dict({"options": " ".join([*options, f"-csearch_path={schema}"])})


def _broken() -> Lost:
    """In the words of a disk that fails: a seed's trace is then the same on every store, byte for byte."""
    return Lost(StoreUnavailable("The database did not do it: disk I/O error."))
