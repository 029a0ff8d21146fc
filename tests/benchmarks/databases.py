"""The databases that are measured, bare: rows are copied into them, and read by plain statements."""

import itertools
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Final, Self
from uuid import UUID

import psycopg
from tests import postgres

from reattach.infrastructure.postgres import connect

_NUMBERS: Final = itertools.count(1)

SHARED_BUFFERS: Final = "4GB"
"""Two stores of a million messages fit: what is measured is the work, not how much memory a server was given."""


@lru_cache
def _numbered(statement: str) -> bytes:
    """With psycopg's marks for binary parameters."""
    return statement.replace("?", "%b").encode()


class Database(ABC):
    """One database, by its URL and on a connection of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    @classmethod
    @abstractmethod
    def new(cls, directory: Path) -> Self:
        """An empty one."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection."""

    @abstractmethod
    def stored(self, value: UUID) -> Any:
        """An id as its columns have it."""

    @abstractmethod
    def uuid(self, stored: Any) -> UUID:
        """And back."""

    @abstractmethod
    def table(self, name: str) -> tuple[list[str], list[Sequence[Any]]]:
        """A table's columns, and all its rows."""

    @abstractmethod
    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Many rows, in one transaction."""

    @abstractmethod
    def settle(self) -> None:
        """All rows are there: do what a database does in the hours after."""

    @abstractmethod
    def select(self, statement: str, parameters: Sequence[Any]) -> list[Sequence[Any]]:
        """The rows of a statement whose parameters are question marks."""


class SqliteDatabase(Database):
    """A file."""

    @cached_property
    def _connection(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.url.removeprefix("sqlite:///"))
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    @classmethod
    def new(cls, directory: Path) -> Self:
        """A file nobody has used."""
        return cls(f"sqlite:///{directory / f'tails-{next(_NUMBERS)}.db'}")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def stored(self, value: UUID) -> Any:
        """Sixteen bytes."""
        return value.bytes

    def uuid(self, stored: Any) -> UUID:
        """And back."""
        return UUID(bytes=stored)

    def table(self, name: str) -> tuple[list[str], list[Sequence[Any]]]:
        """A table's columns, and all its rows."""
        rows = self._connection.execute(f"SELECT * FROM {name}")  # noqa: S608  - our own name
        return [column[0] for column in rows.description], rows.fetchall()

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Many rows, in one transaction."""
        marks = ", ".join("?" * len(columns))
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608  - our own names
        with self._connection:
            self._connection.executemany(statement, rows)

    def settle(self) -> None:
        """The log ahead is written back."""
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def select(self, statement: str, parameters: Sequence[Any]) -> list[Sequence[Any]]:
        """The rows."""
        return self._connection.execute(statement, parameters).fetchall()


class PostgresDatabase(Database):
    """A database of a server that is started for the measurement."""

    @cached_property
    def _connection(self) -> "psycopg.Connection[tuple[Any, ...]]":
        return psycopg.connect(self.url, autocommit=True, prepare_threshold=0)

    @cached_property
    def _reads(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """Set up as the store's own that read, and used bare."""
        return connect(self.url, reads=True).raw

    @classmethod
    def new(cls, directory: Path) -> Self:
        """A copy of the empty one."""
        return cls(postgres.new_database(shared_buffers=SHARED_BUFFERS))

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()
        self._reads.close()

    def stored(self, value: UUID) -> Any:
        """Itself."""
        return value

    def uuid(self, stored: Any) -> UUID:
        """Itself."""
        found: UUID = stored
        return found

    def table(self, name: str) -> tuple[list[str], list[Sequence[Any]]]:
        """A table's columns, and all its rows."""
        rows = self._connection.execute(f"SELECT * FROM {name}".encode())  # noqa: S608  - our own name
        return [column.name for column in rows.description or ()], list(rows.fetchall())

    def insert(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Many rows, in one transaction."""
        statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN".encode()
        with self._connection.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)

    def settle(self) -> None:
        """What autovacuum does; and everything is in the server's memory."""
        self._connection.execute("VACUUM ANALYZE")
        self._connection.execute("CREATE EXTENSION pg_prewarm")
        self._connection.execute(
            "SELECT pg_prewarm(oid) FROM pg_class WHERE relkind IN ('r', 'i') AND relnamespace = 'public'::regnamespace"
        )

    def select(self, statement: str, parameters: Sequence[Any]) -> list[Sequence[Any]]:
        """The rows, in binary."""
        return list(self._reads.cursor(binary=True).execute(_numbered(statement), parameters).fetchall())
