"""What is written on a disk that loses its power: the groups of a real simulated world, and what they must leave."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from ...infrastructure.eventstore.writer import Work, Written
from ..anyio_patch import patched_anyio
from ..bugs import bugs_end
from ..guard import guarded
from ..process import EPOCH
from ..store.database import Memory, memory
from ..store.inline import SqliteCore
from ..store.model import ModelCore
from ..tape import Tape
from ..teardown import quiet_gc
from ..world import World

RECORDINGS: Final = 8
"""Worlds that are recorded. Disks share them: a cut is over in a hundredth of the time that a world takes."""

GROUPS_MAX: Final = 150
"""Groups of a recording: the cost of looking at a database grows with what is in it."""

LOG: Final = "SELECT stream_id, version, frames, epoch, topic, checksum, feed_id FROM events ORDER BY rowid"
"""The log in the order in which it was written."""


class NotRepeatable(Exception):
    """A recorded world is not the same when it is written again: nothing can be held against it."""


class Hands:
    """A clock that stands where it was put."""

    def __init__(self) -> None:
        self.at = EPOCH

    def now(self) -> datetime:
        """Where it was put."""
        return self.at

    def monotonic(self) -> float:
        """Seconds since the epoch of all worlds."""
        return (self.at - EPOCH).total_seconds()


@dataclass(frozen=True, slots=True)
class Recording:
    """Groups and the instants they were written at, and what the database holds after none, one, two .. of them."""

    groups: Sequence[tuple[datetime, Sequence[Work]]]
    digests: Sequence[str]
    """Of everything durable, by the specification (the model)."""
    log: Sequence[Any]
    """Rows of the log."""
    ends: Sequence[int]
    """How many of these rows there are."""


@lru_cache(RECORDINGS)
def recording(seed: int) -> Recording:
    """Record the world of this seed. Raises NotRepeatable if the model and SQLite do not agree about it."""
    groups = _recorded(seed)
    hands = Hands()
    model, connection = ModelCore(hands), memory()
    sqlite = SqliteCore(hands, connection)
    digests, ends = [model.digest()], [0]
    with closing(_Ending(sqlite)):
        for hands.at, group in groups:
            model.write(group)
            sqlite.write(group)
            digests.append(model.digest())
            ends.append(_count(connection))
        if sqlite.digest() != digests[-1]:
            raise NotRepeatable(f"the world of seed {seed} is another one when SQLite writes it again")
        return Recording(groups, digests, connection.execute(LOG).fetchall(), ends)


def _count(connection: Memory) -> int:
    count: int = connection.execute("SELECT count(*) FROM events").fetchone()[0]
    return count


def _recorded(seed: int) -> list[tuple[datetime, Sequence[Work]]]:
    tape = Tape(seed)
    with quiet_gc():
        world = _Recorder(tape)
        with guarded(world.loop, tape.seed), patched_anyio(), bugs_end(world.loop):
            world.run()
    return world.groups[:GROUPS_MAX]


class _Recorder(World):
    """A world that remembers what was written."""

    def __init__(self, tape: Tape) -> None:
        self.groups: list[tuple[datetime, Sequence[Work]]] = []
        super().__init__(tape, None, "model", tracing=False)

    def _committed(self, group: Sequence[Work], written: Written) -> None:
        self.groups.append((self._clock.now(), tuple(group)))
        super()._committed(group, written)


class _Ending:
    """`close` is the end of the core."""

    def __init__(self, core: SqliteCore) -> None:
        self.close = core.end
