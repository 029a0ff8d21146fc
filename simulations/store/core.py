"""What every simulated store is, whatever it keeps things in: a core that writes groups and answers reads, at once.

A core is one database for all nodes of a world. There is the model (the specification), the production code on SQLite
in memory, and both in lock-step. Their durable states are compared row by row.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

from pydantic_core import to_json

from ...domain.identifiers import RunId, SessionId
from ...domain.messages import Fields
from ...domain.ports import Committed, News, Span, StoredMessage
from ...domain.scribe import Checkpointed
from ...domain.session_facts import SessionFact
from ...infrastructure.eventstore.committer import Committer
from ...infrastructure.eventstore.sqlite_store import SqliteStore
from ...infrastructure.eventstore.store import ReadSide, WakeupSource
from ...infrastructure.eventstore.writer import Work, Written

OnCommit = Callable[[Sequence[Work], Written], None]
"""Told of each group and what became of it, once it is durable and before its authors are."""

Row = tuple[Any, ...]
"""A kind, a key, and what is kept under it: one thing of the durable state, as JSON can write it."""

ALL: Final = 2**31
"""More messages than any world has: a limit for who wants all."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""What rows count their microseconds from."""


class Core(ReadSide, Protocol):
    """The state of a store, in one process and without a loop: every call is one instant."""

    on_commit: OnCommit | None

    @property
    def commits(self) -> int:
        """Groups so far that left news. Whoever counts its own knows of the others'."""
        ...

    def write(self, group: Sequence[Work]) -> Written:
        """Run the works in order, each whole or not at all. What they raise are results; each has its own instant."""
        ...

    def projected(self, session_id: SessionId, span: Span, limit: int) -> Sequence[StoredMessage]:
        """The session's messages as they are stored, those of runs that have not settled included."""
        ...

    def lease_until(self, run_id: RunId) -> datetime | None:
        """Until when the run's worker holds it; None if nobody does."""
        ...

    def checkpoint(self, run_id: RunId) -> Checkpointed | None:
        """The run's latest checkpoint."""
        ...

    def session_facts(self, after: int) -> Sequence[tuple[int, SessionId, SessionFact]]:
        """What has happened to sessions since this place of the feed, in order, each with its place."""
        ...

    def durable(self) -> Iterator[Row]:
        """Everything that is kept, in an order of its own making: equal for equal states of any two cores."""
        ...

    def digest(self) -> str:
        """A digest of `durable`."""
        ...

    def close(self) -> None:
        """One of its users leaves. The state stays."""
        ...


def records(news: Iterable[News]) -> list[Committed]:
    """The records among the news: what has happened to runs."""
    return [item for item in news if isinstance(item, Committed)]


def digest_of(rows: Iterable[Row]) -> str:
    """The digest of a durable state."""
    digest = hashlib.blake2b(digest_size=16)
    for row in rows:
        digest.update(to_json(row) + b"\n")
    return digest.hexdigest()


def microseconds(at: datetime | None) -> int | None:
    """A time as rows hold it: microseconds since 1970."""
    return None if at is None else (at - EPOCH) // timedelta(microseconds=1)


def message_row(session_id: str, place: tuple[int, int, int], fields: Mapping[str, Any]) -> Row:
    """A message as `durable` has it, its names in one order."""
    return ("message", session_id, *place, _sorted(dict(fields)))


def _sorted(fields: Fields) -> Fields:
    parts = [dict(sorted(part.items())) for part in fields["parts"]]
    return dict(sorted({**fields, "parts": parts}.items()))


class NoWakeups:
    """Of commits by others nothing is told: for a store that is alone, or whose world does it otherwise."""

    def start(self) -> None:
        """Nothing begins."""

    def stop(self) -> None:
        """Nothing ends."""


def open_over(
    core: Core,
    committer: Committer,
    wakeups: Callable[[Callable[[], None]], WakeupSource] = lambda _: NoWakeups(),
) -> SqliteStore:
    """The production store of one process over a core: its listeners and its order of news are under simulation, too.

    `wakeups` makes what calls `changed` after commits of other processes. Start it, or `async with` it.
    """
    return SqliteStore(_nothing, committer, lambda: core, wakeups, _nothing)


def _nothing() -> None:
    """There is no file to prepare, and none to let go of."""
