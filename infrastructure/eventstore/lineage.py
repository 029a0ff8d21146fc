"""Which history a process writes to: on PostgreSQL a fail-over, or a restore, begins another one.

What an asynchronous replica had not received is lost with the old primary. Epochs and seqs are given again then, for
other frames; so the store's generation is raised, which resets every cursor of the old history, and a process that
knew the old one writes and reads nothing more of the new one: what it holds of runs may never have been.
"""

from collections.abc import Callable
from contextlib import closing
from typing import Any, Final, NamedTuple

from ...domain.errors import StoreUnavailable
from ..driver import Lost
from ..postgres import STATEMENT_TIMEOUT_MS, PostgresConnection
from . import postgres_statements as sql
from .feed_statements import RAISE_FEED
from .statements import SELECT_META

_TIMELINE_DIGITS: Final = 8


class History(NamedTuple):
    """What tells histories apart: a standby that is promoted begins a timeline, a dump that is loaded makes tables."""

    cluster: int
    timeline: int
    table: int


class Lineage:
    """The history that this process began with. `replaced` is called on any thread once there is another one."""

    question: Final = (
        "SELECT CASE WHEN has_function_privilege('pg_control_system()', 'execute')"
        " THEN (SELECT system_identifier FROM pg_control_system()) ELSE 0 END,"
        " pg_walfile_name(pg_current_wal_insert_lsn()), 'meta'::regclass::oid::bigint"
    )
    """The cluster's number, the name of the file it writes its log to (that begins with the timeline), our table's."""

    def __init__(self, replaced: Callable[[], object]) -> None:
        self._replaced = replaced
        self._known: History | None = None

    def begin(self, connection: PostgresConnection) -> None:
        """Learn which history this is and write it down, with a generation of its own. Closes the connection.

        Raises DriverError.
        """
        with closing(connection):
            found = _asked(connection)
            if _written(connection) != found:
                connection.begin(STATEMENT_TIMEOUT_MS)
                connection.execute(sql.LOCK_GENERATION)
                _write(connection, found)
                connection.commit()
        self._known = found

    def admit(self, connection: PostgresConnection) -> PostgresConnection:
        """The connection, if it is to the history that we know. Raises DriverError."""
        try:
            same = self.is_same(connection.execute(Lineage.question).fetchone())
        except BaseException:
            connection.close()
            raise
        if not same:
            connection.close()
            detail = "The database has had a fail-over or a restore; this process has to begin anew on what is there."
            raise Lost(StoreUnavailable(detail))
        return connection

    def is_same(self, row: Any) -> bool:
        """Whether the answer to `question` names the history that we know; if not, `replaced` is called."""
        same = self._known in (None, _history(row))
        if not same:
            self._replaced()
        return same


def _asked(connection: PostgresConnection) -> History:
    return _history(connection.execute(Lineage.question).fetchone())


def _history(row: Any) -> History:
    return History(int(row[0]), int(row[1][:_TIMELINE_DIGITS], 16), int(row[2]))


def _written(connection: PostgresConnection) -> History | None:
    rows = [connection.execute(SELECT_META, {"key": key}).fetchone() for key in History._fields]
    return None if None in rows else History(*(int(row[0]) for row in rows))


def _write(connection: PostgresConnection, found: History) -> None:
    before = _written(connection)  # with the lock: another process may have done it meanwhile
    if before == found:
        return
    if before is not None:
        connection.execute(sql.RAISE_GENERATION)
        connection.execute(RAISE_FEED)
    for key, value in found._asdict().items():
        connection.execute(sql.WRITE_META, {"key": key, "value": value})
