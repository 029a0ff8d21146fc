"""How a database is opened on a disk that loses its power, and what is promised then. Some of it is planted wrong."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ...infrastructure.sqlite import Durability, prepare_writer
from .connection import Connection

ALONE: Final = "locking_mode=EXCLUSIVE"
"""A write-ahead log without shared memory. It comes first; a rollback journal would never be deleted with it."""


@dataclass(frozen=True, slots=True)
class Variant:
    """`promises` strict: no acknowledged commit is ever lost; relaxed: the last ones may be, the others are whole.

    Without `pragmas` the connection is prepared as production does it for what is promised.
    """

    what: str
    promises: Durability = "strict"
    pragmas: tuple[str, ...] = ()
    lies: bool = False
    """Whether the disk says that it has synced, and has not."""

    def prepare(self, connection: Connection) -> None:
        """Make a new connection one that may write. Raises sqlite3.Error."""
        if not self.pragmas:
            connection.execute(f"PRAGMA {ALONE}")
            prepare_writer(connection.as_sqlite3, self.promises)
        for pragma in self.pragmas:
            connection.execute(f"PRAGMA {pragma}")


VARIANTS: Final[Mapping[str, Variant]] = {
    "wal": Variant("write-ahead log, as production does it for strict durability"),
    "wal-relaxed": Variant("write-ahead log, as production does it for relaxed durability", "relaxed"),
    "delete": Variant("rollback journal, deleted", pragmas=("journal_mode=DELETE", "synchronous=EXTRA")),
    "truncate": Variant("rollback journal, truncated", pragmas=("journal_mode=TRUNCATE", "synchronous=FULL")),
    "persist": Variant("rollback journal, overwritten", pragmas=("journal_mode=PERSIST", "synchronous=FULL")),
}
"""What must hold. The first two are what Reattach uses; the others show that the disk itself is a fair one."""

DRAWN: Final = (*VARIANTS, "wal", "wal", "wal-relaxed")
"""How often each is drawn."""

PLANTED: Final[Mapping[str, Variant]] = {
    "sync-off": Variant("nothing is synced", pragmas=(ALONE, "journal_mode=WAL", "synchronous=OFF")),
    "journal-sync-off": Variant("nothing is synced", pragmas=("journal_mode=DELETE", "synchronous=OFF")),
    "relaxed-for-strict": Variant("commits are not synced", pragmas=(ALONE, "journal_mode=WAL", "synchronous=NORMAL")),
    "sync-off-for-relaxed": Variant("nothing is synced", "relaxed", (ALONE, "journal_mode=WAL", "synchronous=OFF")),
    "folder-not-synced": Variant(
        "the journal's deletion is not synced", pragmas=("journal_mode=DELETE", "synchronous=FULL")
    ),
    "disk-lies": Variant("the disk syncs nothing", lies=True),
}
"""What must be found."""
