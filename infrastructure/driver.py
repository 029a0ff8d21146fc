"""What the stores ask of a database's driver: `sqlite3` as it is, psycopg in the dress of `postgres.py`."""

import sqlite3
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Protocol

from ..domain.errors import ReattachError, RecordDamaged, StoreUnavailable


class Cursor(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...
    def close(self) -> object: ...


class Connection(Protocol):
    """One session with a database. Statements are of `compiling.Sql`, or words that every database understands."""

    @property
    def in_transaction(self) -> bool: ...
    def execute(self, statement: str, parameters: Mapping[str, Any] = ..., /) -> Cursor: ...
    def executemany(self, statement: str, rows: Iterable[Mapping[str, Any]], /) -> Cursor: ...
    def close(self) -> None: ...


class DriverError(Exception):
    """A driver other than `sqlite3` did not do it; `meaning` is what that is to the domain."""

    def __init__(self, meaning: ReattachError) -> None:
        super().__init__(f"{meaning}")
        self.meaning = meaning


class Taken(DriverError):
    """There is such a row already."""


class Contended(DriverError):
    """Somebody else holds the lock or was first. Nothing was done; done again it may work."""


class Lost(DriverError):
    """The connection is gone, and with it every transaction that was not committed."""


_DAMAGE: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

ERRORS: Final = (sqlite3.Error, DriverError)
"""Everything drivers raise."""

TAKEN: Final = (sqlite3.IntegrityError, Taken)
"""What a taken key raises."""


def domain_error(error: sqlite3.Error | DriverError) -> ReattachError:
    """What an error of a driver means: a damaged database, or a store that does not answer."""
    if isinstance(error, DriverError):
        return error.meaning
    if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
        return RecordDamaged(f"The database file is damaged: {error}.")
    return StoreUnavailable(f"The database did not do it: {error}.")


@contextmanager
def domain_errors() -> Generator[None]:
    """Raise what the driver's errors mean."""
    try:
        yield
    except ERRORS as error:
        raise domain_error(error) from error
