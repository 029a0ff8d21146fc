"""apsw with the face of `sqlite3`: as much of a connection as production code uses."""

import sqlite3
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, cast

import apsw

from ...infrastructure.sqlite import STATEMENTS_CACHED
from .vfs import Drive

Parameters = Mapping[str, Any] | Sequence[Any]

_KINDS: Final[Mapping[type[apsw.Error], type[sqlite3.Error]]] = {
    apsw.ConstraintError: sqlite3.IntegrityError,
    apsw.CorruptError: sqlite3.DatabaseError,
    apsw.NotADBError: sqlite3.DatabaseError,
}


class Cursor:
    """What a statement gave."""

    def __init__(self, cursor: apsw.Cursor, changed: int) -> None:
        self._cursor = cursor
        self.rowcount = changed

    def fetchone(self) -> Any:
        """The next row, or None."""
        with translated():
            return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        with translated():
            return list(self._cursor)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.fetchall())


class Connection:
    """A connection to a file on a simulated disk. Give it to production code by `as_sqlite3`.

    `close` of one of its users undoes what is open, `end` is the end: there can be no other one.
    """

    def __init__(self, drive: Drive, name: str) -> None:
        self.commits = 0
        """COMMITs that have succeeded."""
        with translated():
            # Any: what apsw says of its parameters needs a newer Python to be understood.
            self._connection: Any = apsw.Connection(name, vfs=drive.name, statementcachesize=STATEMENTS_CACHED)

    @property
    def as_sqlite3(self) -> sqlite3.Connection:
        """Itself."""
        return cast("sqlite3.Connection", self)

    @property
    def in_transaction(self) -> bool:
        """Whether there is something to commit."""
        return bool(self._connection.in_transaction)

    def execute(self, statement: str, parameters: Parameters = ()) -> Cursor:
        """Run a statement. Raises sqlite3.Error."""
        with translated():
            cursor = self._connection.execute(statement, parameters)
        self.commits += statement == "COMMIT"
        return Cursor(cursor, self._connection.changes())

    def executemany(self, statement: str, rows: Iterable[Parameters]) -> Cursor:
        """Run a statement for each row. Raises sqlite3.Error."""
        with translated():
            cursor = self._connection.executemany(statement, rows)
        return Cursor(cursor, self._connection.changes())

    def close(self) -> None:
        """One of its users leaves."""
        if self.in_transaction:
            with suppress(sqlite3.Error):  # it is undone one way or the other
                self.execute("ROLLBACK")

    def end(self) -> None:
        """Nobody uses it any more."""
        with translated():
            self._connection.close()


@contextmanager
def translated() -> Generator[None]:
    """Raise what `sqlite3` would."""
    try:
        yield
    except apsw.Error as error:
        kinds = (kind for cause, kind in _KINDS.items() if isinstance(error, cause))
        raised = next(kinds, sqlite3.OperationalError)(str(error))
        raised.sqlite_errorcode = getattr(error, "extendedresult", 0)
        raise raised from error
