"""The event store: `open_store` gives the one that a database URL names."""

import sqlite3

from ...domain.ports import Clock
from ..codec import Codec
from ..migrations import migrate
from ..sqlite import Durability, connect_reader, connect_writer, database_path
from ..wakeups import POLL_INTERVAL_S, Wakeups
from .committer import ThreadCommitter
from .library import Library
from .reads import Reads
from .recorder import Recorder
from .store import SqliteStore
from .writer import Writer

__all__ = ["Durability", "SqliteStore", "open_store"]


def open_store(
    url: str,
    clock: Clock,
    *,
    durability: Durability = "strict",
    codec: Codec | None = None,
    poll_interval_s: float = POLL_INTERVAL_S,
) -> SqliteStore:
    """The store in this database; `async with` it, or `start` and `close` it.

    Raises ConfigurationError for a URL that is not supported; `start` does for a file that can't be used.
    """
    path = database_path(url)
    sealed = codec or Codec()

    def connect() -> sqlite3.Connection:
        return connect_writer(path, durability)

    library = Library(Recorder(connect), sealed)
    committer = ThreadCommitter(Writer(connect, library, sealed, clock))
    return SqliteStore(
        prepare=lambda: migrate(path),
        committer=committer,
        reads=lambda: Reads(lambda: connect_reader(path), sealed),
        wakeups=lambda changed: Wakeups(
            lambda: connect_reader(path), committer.foreign_commits, changed, poll_interval_s
        ),
        release=library.close,
    )
