"""Connections that stop before each statement until they are let on, and who waits for whom in the database."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import psycopg

from ...infrastructure.driver import Contended, Cursor, DriverError
from ...infrastructure.postgres import PostgresConnection

T = TypeVar("T")

LOOK_S: Final = 0.002
"""Seconds without a sign until the database is asked whether somebody waits for a lock."""

LOST_S: Final = 20.0
"""Seconds after which a statement that neither ends nor waits for a lock means that the explorer is at fault."""

PATIENCE_MS: Final = 60_000
"""Milliseconds for which real time-outs are out of the way: when a wait ends is a choice here."""

_WAITING: Final = b"SELECT pid FROM pg_locks WHERE NOT granted AND pid = ANY(%s)"
_QUIET: Final = ("BEGIN", "SAVEPOINT", "RELEASE")
"""Statements that no other transaction could notice."""


class Stopped(BaseException):
    """The play ended while somebody stood at a gate."""


class Gates:
    """Where the writers of a play stand. One thread lets them on, one at a time."""

    def __init__(self, watch: "psycopg.Connection[Any]", pids: Sequence[int]) -> None:
        self._watch = watch
        self._pids = list(pids)
        self._changed = threading.Condition()
        self._standing: dict[int, str] = {}
        self._let_on: int | None = None
        self._done: set[int] = set()
        self._stopped = False
        self.blocked: list[int] = []
        """Writers that wait for others' locks."""

    def begin(self) -> None:
        """A new play."""
        self._standing, self._let_on, self._done, self.blocked = {}, None, set(), []
        self._stopped = False

    def stop(self) -> None:
        """Whoever stands at a gate shall leave."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    # For the writers' threads.

    def pass_by(self, writer: int, statement: str) -> None:
        """Stand there until let on."""
        with self._changed:
            self._standing[writer] = statement
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._let_on == writer or self._stopped)
            if self._stopped:
                raise Stopped
            self._let_on = None
            del self._standing[writer]
            self._changed.notify_all()

    def done(self, writer: int) -> None:
        """It has nothing more to do."""
        with self._changed:
            self._done.add(writer)
            self._changed.notify_all()

    # For the one that lets them on.

    def settle(self) -> list[int]:
        """Wait until every writer stands, is done, or waits for a lock; those that stand."""
        waited_s = 0.0
        while not self._quiet():
            with self._changed:
                if self._changed.wait_for(self._quiet, LOOK_S):
                    break
            waited_s += LOOK_S
            if waited_s > LOST_S:
                raise RuntimeError("a statement neither ends nor waits for a lock")
            with self._changed:
                moving = self._moving()
            waiting = {row[0] for row in self._watch.execute(_WAITING, [self._pids]).fetchall()}
            with self._changed:  # whoever moved when we asked may have let on one that waited then
                if moving == self._moving() and all(self._pids[writer] in waiting for writer in moving):
                    self.blocked = moving
                    return sorted(self._standing)
        self.blocked = []
        return sorted(self._standing)

    def next_of(self, writer: int) -> str:
        """The statement before which it stands."""
        return self._standing[writer]

    def let_on(self, writer: int) -> None:
        """One statement of this writer's."""
        with self._changed:
            self._let_on = writer
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._let_on is None)

    def time_out(self, writer: int) -> None:
        """Its wait for a lock ends without it."""
        self._watch.execute(b"SELECT pg_cancel_backend(%s::int)", [self._pids[writer]])
        with self._changed:
            self._changed.wait_for(lambda: writer not in self._moving(), LOST_S)

    def _moving(self) -> list[int]:
        known = self._standing.keys() | self._done
        return [writer for writer in range(len(self._pids)) if writer not in known]

    def _quiet(self) -> bool:
        return self._let_on is None and not self._moving()


class GatedConnection(PostgresConnection):
    """A connection of production's whose statements stop at the gates. `close` undoes what is open; it stays."""

    def __init__(self, connection: PostgresConnection, pass_by: Callable[[str], None]) -> None:
        super().__init__(connection.raw)
        self._pass_by = pass_by
        super().execute(f"SET lock_timeout={PATIENCE_MS}; SET statement_timeout={PATIENCE_MS}")
        super().execute(f"SET idle_in_transaction_session_timeout={PATIENCE_MS}")
        with suppress(DriverError):  # only a superuser may; others have a second until the server takes part in it
            super().execute(f"SET deadlock_timeout={PATIENCE_MS}")

    def execute(self, statement: str, parameters: Mapping[str, Any] | None = None, /) -> Cursor:
        """When it is let on."""
        if not statement.startswith(_QUIET):
            self._pass_by(statement or f"{getattr(statement, 'postgres', b'').decode()}")
        return _timed(lambda: super(GatedConnection, self).execute(statement, parameters))

    def executemany(self, statement: str, rows: Iterable[Mapping[str, Any]], /) -> Cursor:
        """When it is let on."""
        self._pass_by(statement)
        return _timed(lambda: super(GatedConnection, self).executemany(statement, rows))

    def begin(self, lock_timeout_ms: int | None = None) -> int:
        """At once: it sees nothing yet."""
        del lock_timeout_ms
        return super().begin()

    def commit(self) -> None:
        """When it is let on."""
        self._pass_by("COMMIT")
        super().commit()

    def close(self) -> None:
        """What is open is undone."""
        if self.in_transaction:
            super().execute("ROLLBACK")


def _timed(execute: Callable[[], T]) -> T:
    """What ends a wait here comes as a cancel; to the writer it is what the lock's time-out is."""
    try:
        return execute()
    except DriverError as error:
        if isinstance(error.__cause__, psycopg.errors.QueryCanceled):
            raise Contended(error.meaning) from error.__cause__
        raise
