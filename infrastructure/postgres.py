"""Connections to PostgreSQL through psycopg, and what its errors mean to the domain.

Imported only where a URL names PostgreSQL: psycopg is an extra.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from struct import Struct
from typing import Any, Final, Literal

import psycopg
from psycopg import pq
from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.numeric import Int8BinaryDumper
from sqlalchemy import make_url

from ..domain.errors import Invalid, ReattachError, RecordDamaged, StoreUnavailable
from .answers import TimedConnection
from .driver import Contended, Cursor, DriverError, Lost, Taken
from .sqlite import Durability

APPLICATION_NAME: Final = "reattach"
"""What `pg_stat_activity` calls our sessions."""

CONNECT_TIMEOUT_S: Final = 5
"""Seconds a connection may take to be made."""

STATEMENT_TIMEOUT_MS: Final = 5_000
"""Milliseconds a statement may take: every one of ours is bounded work."""

LOCK_TIMEOUT_MS: Final = 200
"""Milliseconds a work that is alone in its transaction waits for a row that others hold, before the next group."""

GROUP_LOCK_TIMEOUT_MS: Final = 20
"""Milliseconds a work waits within a group: about as long as others' commits take. Then the group goes on without it.

Every wait of a transaction that holds several works' locks is this short: groups can't hold each other up.
"""

IDLE_IN_TRANSACTION_TIMEOUT_MS: Final = 10_000
"""Milliseconds after which the server undoes the transaction of a process that stands still: it holds others up."""

KEEPALIVE_IDLE_S: Final = 10
KEEPALIVE_INTERVAL_S: Final = 5
KEEPALIVES_MAX: Final = 3
UNACKNOWLEDGED_MS: Final = 15_000
"""A connection whose other end has vanished is given up after about 25 s of silence, or 15 s after what was sent."""

STREAMED_ROWS: Final = 1_000
"""Rows of a long result that are fetched at once."""

_PATIENCE: Final[dict[str, object]] = {
    "statement_timeout": STATEMENT_TIMEOUT_MS,
    "lock_timeout": GROUP_LOCK_TIMEOUT_MS,
    "idle_in_transaction_session_timeout": IDLE_IN_TRANSACTION_TIMEOUT_MS,
}
_SESSION: Final[dict[str, object]] = {
    **_PATIENCE,
    "default_transaction_isolation": "'read committed'",
    "timezone": "'UTC'",
    # Every statement of ours has its index. A plan made while a table was empty must not scan it once it is full.
    # Nor may it sort what an index has in order: all of a session for its newest messages.
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
}

_BEGIN: Final = "BEGIN ISOLATION LEVEL READ COMMITTED"
_CLOCK: Final = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"

BACKEND: Final = b"SELECT pg_backend_pid()"

_AGAIN: Final = frozenset({"40001", "40P01", "55P03"})
"""serialization_failure, deadlock_detected, lock_not_available."""
_GONE: Final = frozenset({"57P01", "57P02", "57P03", "57P05", "25P03", "25P04", "25006"})
"""The server ends sessions, or begins; idle for too long; read_only_sql_transaction: it is not the primary any more."""
_DAMAGE: Final = frozenset({"XX001", "XX002"})
"""data_corrupted, index_corrupted."""


ArrayOf = Literal["uuid", "bytea", "text", "bigint"]

_ELEMENTS: Final[Mapping[ArrayOf, int]] = {"uuid": 2950, "bytea": 17, "text": 25, "bigint": 20}
"""The types' numbers, the same in every PostgreSQL."""
_ARRAY: Final = Struct(">iiiii")
"""Dimensions, whether there are nulls, the elements' type, their number, the index of the first."""


class _Bytes(Dumper):
    """Bytes as they are, for a column of bytes or of UUIDs: the server knows which from the statement."""

    format = pq.Format.BINARY
    oid = 0

    def dump(self, obj: bytes) -> Buffer:
        return obj


class _Uuid(Loader):
    """A UUID as its sixteen bytes: the form in which the store knows identifiers."""

    format = pq.Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return bytes(data)


class PostgresConnection:
    """A psycopg connection with the face of a `driver.Connection`. Transactions are begun and ended by statements.

    Behind a pooler that hands a session from one client to the next (`pooled`) nothing may be set for the session:
    whoever has it next would get our settings, and we others'. There each transaction says its own.
    """

    def __init__(
        self, connection: "psycopg.Connection[tuple[Any, ...]]", each_time: Mapping[str, object] | None = None
    ) -> None:
        """`each_time`: what to set in each transaction of a pooled connection."""
        self.raw = connection
        self.pooled = each_time is not None
        self._begin = ";".join([_BEGIN, *(f"SET LOCAL {name}={value}" for name, value in (each_time or {}).items())])
        self._facts = 0

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, be it a failed one."""
        return self.raw.info.transaction_status != pq.TransactionStatus.IDLE

    def execute(self, statement: str, parameters: Mapping[str, Any] | None = None, /) -> Cursor:
        """Run a statement, or several of our own words. Raises DriverError."""
        if statement.startswith("BEGIN"):
            self._facts = 0
        with translated(self.raw):
            text = getattr(statement, "postgres", None)
            if text is None:
                return self._execute(statement)
            return self.raw.cursor(binary=True).execute(text, parameters)

    def _execute(self, words: str) -> "psycopg.Cursor[Any]":
        with translated(self.raw):
            return self.raw.execute(words.encode(), prepare=False)

    def executemany(self, statement: str, rows: Iterable[Mapping[str, Any]], /) -> Cursor:
        """Run a statement for each row, in one trip. Raises DriverError."""
        with translated(self.raw):
            cursor = self.raw.cursor(binary=True)
            cursor.executemany(statement.postgres, rows)  # type: ignore[attr-defined]  # every statement with rows is a Sql
            return cursor

    def begin(self, lock_timeout_ms: int | None = None) -> int:
        """Begin a transaction; the server's clock, in microseconds since 1970. Raises DriverError."""
        patience = f"SET LOCAL lock_timeout={lock_timeout_ms};" if lock_timeout_ms is not None else ""
        self._facts = 0
        cursor = self._execute(f"{self._begin};{patience}{_CLOCK}")
        while cursor.nextset():
            pass
        row = cursor.fetchone()
        return int(row[0]) if row is not None else 0

    def next_fact(self) -> int:
        """The number of the next fact in this transaction: its place in the feed within it."""
        self._facts += 1
        return self._facts

    def commit(self) -> None:
        """Commit. Raises DriverError; then it is not known whether the transaction was committed."""
        if self._execute("COMMIT").statusmessage != "COMMIT":  # PostgreSQL answers so where it rolls back
            raise DriverError(StoreUnavailable("The database undid the transaction instead of committing it."))

    def close(self) -> None:
        """Let go of it. What is not committed is undone."""
        self.raw.close()


def connection_string(url: str) -> str:
    """What libpq reads, of a URL with any driver's name in it. Raises ConfigurationError.

    Of several hosts the primary is meant, unless the URL says `target_session_attrs`.
    """
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    wanted = {"target_session_attrs": "primary"} | conninfo_to_dict(plain)
    return make_conninfo(
        plain,
        target_session_attrs=wanted["target_session_attrs"],
        connect_timeout=CONNECT_TIMEOUT_S,
        keepalives_idle=KEEPALIVE_IDLE_S,
        keepalives_interval=KEEPALIVE_INTERVAL_S,
        keepalives_count=KEEPALIVES_MAX,
        tcp_user_timeout=UNACKNOWLEDGED_MS,
        application_name=APPLICATION_NAME,
    )


def connect(url: str, durability: Durability = "strict", *, reads: bool = False) -> PostgresConnection:
    """A connection as the store uses them; `reads`: it can't write. Raises DriverError."""
    relaxed: dict[str, object] = {"synchronous_commit": "off"} if durability == "relaxed" else {}
    readonly: dict[str, object] = {"default_transaction_read_only": "on"} if reads else {}
    try:
        connection = TimedConnection.connect(
            connection_string(url),
            autocommit=True,
            prepare_threshold=0,
        )
    except psycopg.Error as error:
        raise Lost(StoreUnavailable(f"The database can't be reached: {_said(error)}.")) from error
    connection.adapters.register_dumper(bytes, _Bytes)
    connection.adapters.register_dumper(int, Int8BinaryDumper)
    connection.adapters.register_loader("uuid", _Uuid)
    try:
        with translated(connection):
            if is_pooled(connection.info, connection.execute(BACKEND).fetchone()):
                return PostgresConnection(connection, _PATIENCE | relaxed)
        adapted = PostgresConnection(connection)
        # Not as options of the connection: a pooler in between would refuse those.
        settings = _SESSION | relaxed | readonly
        adapted.execute(";".join(f"SET {name}={value}" for name, value in settings.items()))
    except DriverError:
        connection.close()
        raise
    return adapted


def is_pooled(info: psycopg.ConnectionInfo, backend: Any) -> bool:
    """Whether a pooler stands between, by the answer to `BACKEND`: it names another process than the greeting did."""
    return bool(backend[0] != info.backend_pid)


class Streamed:
    """A connection that stays at one moment of the database; its results come in pieces, however long they are."""

    def __init__(self, connection: PostgresConnection) -> None:
        self._connection = connection
        self._count = 0

    def execute(self, statement: str, /) -> Iterator[Any]:
        """Run a statement that has no parameters; its rows. Raises DriverError."""
        self._count += 1
        raw = self._connection.raw
        with translated(raw), raw.cursor(f"streamed{self._count}") as cursor:
            cursor.itersize = STREAMED_ROWS
            yield from cursor.execute(statement.encode(), binary=True)


@contextmanager
def one_moment(url: str) -> Generator[Streamed]:
    """A connection for whoever reads everything. Raises DriverError."""
    connection = connect(url, reads=True)
    try:
        with translated(connection.raw):
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield Streamed(connection)
    finally:
        connection.close()


def array(kind: ArrayOf, values: Sequence[bytes]) -> bytes:
    """The binary form of an array: what `unnest` takes, at a fifth of the price of having it made of a list."""
    pieces = [_ARRAY.pack(1, 0, _ELEMENTS[kind], len(values), 1)]
    for value in values:
        pieces += (len(value).to_bytes(4), value)
    return b"".join(pieces)


def integers(values: Iterable[int]) -> bytes:
    """The binary form of an array of integers."""
    return array("bigint", [value.to_bytes(8, signed=True) for value in values])


@contextmanager
def translated(connection: "psycopg.Connection[Any] | None" = None) -> Generator[None]:
    """Raise what the stores understand."""
    try:
        yield
    except psycopg.Error as error:
        raise _error(error, gone=connection is not None and connection.closed) from error


def _error(error: psycopg.Error, *, gone: bool) -> DriverError:
    state = error.sqlstate or ""
    said = _said(error)
    failed: ReattachError = StoreUnavailable(f"The database did not do it: {said}.")
    if gone or state in _GONE or state.startswith("08") or (not state and isinstance(error, psycopg.OperationalError)):
        return Lost(failed)
    if state in _AGAIN:
        return Contended(failed)
    if isinstance(error, psycopg.IntegrityError):
        return Taken(failed)
    if isinstance(error, psycopg.DataError):
        return DriverError(Invalid(f"The database can't hold this text: {said}."))
    if state in _DAMAGE:
        return DriverError(RecordDamaged(f"The database is damaged: {said}."))
    return DriverError(failed)


def _said(error: psycopg.Error) -> str:
    return f"{error}".strip().rstrip(".").partition("\n")[0] or type(error).__name__
