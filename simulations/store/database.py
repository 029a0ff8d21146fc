"""A SQLite database in memory that a whole world shares: made from an empty one, and one that can't commit."""

import sqlite3
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ...infrastructure.migrations import migrate
from ...infrastructure.sqlite import STATEMENTS_CACHED


class Memory(sqlite3.Connection):
    """A database in memory that many use: `close` of one undoes what it left open, `end` is the end."""

    def close(self) -> None:
        """One of its users leaves."""
        if self.in_transaction:
            self.rollback()

    def end(self) -> None:
        """Nobody uses it any more."""
        super().close()


@lru_cache(1)
def template() -> bytes:
    """An empty database as the migrations make it. Made once in a process, on a real disk and not within a world."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / "empty.db"
        migrate(path)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")  # a database in memory can't be in WAL mode
            return connection.serialize()


def memory() -> Memory:
    """A new empty database in memory, with the production schema."""
    connection = sqlite3.connect(
        ":memory:", isolation_level=None, cached_statements=STATEMENTS_CACHED, factory=Memory, check_same_thread=False
    )
    connection.deserialize(template())
    connection.execute("PRAGMA synchronous=OFF")
    return connection


class Refusing:
    """The connection as it is, but that it can't commit: a disk that is full, or that fails."""

    def __init__(self, connection: Memory) -> None:
        self._connection = connection

    def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
        """Run it, unless it is the commit."""
        if statement == "COMMIT":
            raise sqlite3.OperationalError("disk I/O error")
        return self._connection.execute(statement, *parameters)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)
