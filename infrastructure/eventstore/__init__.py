"""The event store: `open_store` gives the one that a database URL names."""

import sqlite3
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from ...domain.errors import ConfigurationError
from ...domain.ports import Clock
from ..clock import SystemClock
from ..codec import Codec
from ..driver import domain_errors
from ..migrations import migrate
from ..sqlite import Durability, connect_reader, connect_writer, database_path
from ..wakeups import POLL_INTERVAL_S, Wakeups
from .committer import ThreadCommitter
from .library import Library
from .reads import Reads
from .recorder import Recorder
from .sqlite_store import SqliteStore
from .store import LogStore
from .writer import Writer

if TYPE_CHECKING:
    from .postgres_store import PostgresStore

__all__ = ["Durability", "LogStore", "SqliteStore", "is_postgres", "migrate_database", "open_store"]

_POSTGRES: Final = ("postgresql", "postgres")


def open_store(
    url: str,
    clock: Clock | None = None,
    *,
    durability: Durability = "strict",
    codec: Codec | None = None,
    poll_interval_s: float = POLL_INTERVAL_S,
    replaced: Callable[[], object] = lambda: None,
) -> LogStore:
    """The store in this database; `async with` it, or `start` and `close` it.

    Without a `clock` the store has its own: this machine's for a file, the server's where there is one. Raises
    ConfigurationError for a URL that is not supported; `start` does for a database that can't be used. `replaced` is
    called, on any thread, when the database has been replaced by another one with a history of its own (a fail-over):
    this store then reads and writes nothing more, and has to be opened anew.
    """
    if is_postgres(url):
        return _postgres(url, clock, durability, codec or Codec(), replaced)
    path = database_path(url)
    sealed = codec or Codec()

    def connect() -> sqlite3.Connection:
        return connect_writer(path, durability)

    library = Library(Recorder(connect), sealed)
    committer = ThreadCommitter(Writer(connect, library, sealed, clock or SystemClock()))
    return SqliteStore(
        prepare=lambda: migrate(path),
        committer=committer,
        reads=lambda: Reads(lambda: connect_reader(path), sealed),
        wakeups=lambda changed: Wakeups(
            lambda: connect_reader(path), committer.foreign_commits, changed, poll_interval_s
        ),
        release=library.close,
    )


def is_postgres(url: str) -> bool:
    """Whether a URL names PostgreSQL, through whatever driver."""
    try:
        return make_url(url).get_backend_name() in _POSTGRES
    except ArgumentError:
        return False


def migrate_database(url: str) -> str | None:
    """Bring the database to this version's schema; the revision it had before, None if it was empty.

    Raises ConfigurationError, StoreUnavailable, RecordDamaged.
    """
    if not is_postgres(url):
        return migrate(database_path(url))
    _check_driver(url)
    from ..migrations.postgres import migrate as migrate_postgres  # noqa: PLC0415  - psycopg is an extra

    return migrate_postgres(url)


def _postgres(
    url: str, clock: Clock | None, durability: Durability, codec: Codec, replaced: Callable[[], object]
) -> "PostgresStore":
    _check_driver(url)
    from ..migrations.postgres import check_schema  # noqa: PLC0415  - psycopg is an extra
    from ..notifications import Notifications  # noqa: PLC0415  - as above
    from ..postgres import PostgresConnection, connect  # noqa: PLC0415  - as above
    from .lineage import Lineage  # noqa: PLC0415  - as above
    from .postgres_reads import PostgresReads, ReadPool  # noqa: PLC0415  - as above
    from .postgres_recorder import PostgresRecorder  # noqa: PLC0415  - as above
    from .postgres_store import PostgresStore  # noqa: PLC0415  - as above
    from .postgres_writer import PostgresWriter  # noqa: PLC0415  - as above

    lineage = Lineage(replaced)

    def writes() -> PostgresConnection:
        return lineage.admit(connect(url, durability))

    def reads() -> PostgresReads:
        return PostgresReads(lambda: lineage.admit(connect(url, reads=True)), codec)

    def prepare() -> None:
        check_schema(url)
        with domain_errors():
            lineage.begin(connect(url, durability))

    library = Library(PostgresRecorder(writes), codec)
    pool = ReadPool(reads)
    return PostgresStore(
        prepare=prepare,
        committer=ThreadCommitter(PostgresWriter(writes, library, codec, clock)),
        pool=pool,
        notifications=Notifications(url, lambda: pool.busy, lineage),
        release=library.close,
    )


def _check_driver(url: str) -> None:
    if find_spec("psycopg") is None:
        shown = make_url(url).render_as_string()
        raise ConfigurationError(f"{shown} needs psycopg: pip install 'reattach[postgres]'.")
