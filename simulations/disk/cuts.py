"""Power cuts under the real SQLite: a disk loses its power again and again, and what was acknowledged must be there.

The production code (writer, recorder, library, migrated schema) writes the groups of a recorded world on a disk whose
power goes at a drawn operation, also while the database recovers from the cut before. Then the database is opened
again. It must be sound, and hold exactly what the specification says after some number of whole groups: those that were
acknowledged, and perhaps the one that was being written. With relaxed durability it may be fewer, but never fewer than
were there after the last cut, and never anything else.

Left out: shared memory and locks between processes (a VFS in Python has none, so the database belongs to one
connection: `locking_mode=EXCLUSIVE`), the thread and the group commit above the writer, damage to sectors that were
synced, and file systems that reorder what SQLite relies on even across a sync.
"""

import sqlite3
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, cast

from ...domain.errors import ReattachError
from ..store.database import Memory, template
from ..store.inline import SqliteCore
from ..tape import Tape
from ..violation import Violation
from .connection import Connection
from .platter import Platter
from .recording import LOG, RECORDINGS, Hands, Recording, recording
from .variants import DRAWN, PLANTED, VARIANTS, Variant
from .vfs import Drive

CUTS_A_DISK: Final = 8
"""Power cuts of one disk, unless told otherwise."""

OPERATIONS: Final = (16, 64, 400)
"""Writes, syncs, truncations and deletions until the power goes, at most: in recovery, soon, later."""

CHECKPOINTS: Final = (1000, 4, 30)
"""Pages of the write-ahead log after which SQLite copies them into the database."""

FILE: Final = "reattach.db"


@dataclass(slots=True)
class Disk:
    """What came of one disk."""

    seed: int
    variant: str
    cuts: int = 0
    acknowledged: int = 0
    """Groups."""
    unsure: Counter[str] = field(default_factory=Counter[str])
    """Groups that were being written when the power went: `kept` or `lost`."""
    forgotten: int = 0
    """Acknowledged groups that were lost: only where durability is relaxed."""
    in_recovery: int = 0
    """Cuts before the database had recovered from the last one."""
    changes: Counter[str] = field(default_factory=Counter[str])
    """What was not synced when the power went: `kept`, `lost` or `torn`."""
    violation: Violation | None = None


def run_disk(tape: Tape, cuts: int = CUTS_A_DISK, planted: str | None = None) -> Disk:
    """Cut the power of this tape's disk so often, or until a promise is broken. Raises KeyError for a planted bug that
    nobody knows."""
    name = planted or tape.pick("disk.variant", DRAWN)
    disk = Disk(tape.seed, name)
    life = _Life(tape, PLANTED[planted] if planted else VARIANTS[name], disk)
    try:
        for _ in range(cuts):
            life.until_the_power_goes()
            disk.cuts += 1
        life.once_more()
    except Violation as violation:
        disk.violation = violation
    with suppress(sqlite3.Error):
        life.end()
    counts = life.platter.cuts
    disk.changes.update(kept=counts.kept, lost=counts.lost, torn=counts.torn)
    return disk


class _Life:
    """A disk, the database on it, and what of the recording may be in there: the first `low` to `high` groups."""

    def __init__(self, tape: Tape, variant: Variant, disk: Disk) -> None:
        self._tape = tape
        self._variant = variant
        self._disk = disk
        self._recording: Recording = recording(tape.draw("disk.recording", RECORDINGS))
        sector_bytes = tape.pick("disk.sector", (4096, 512))
        self.platter = Platter(tape, sector_bytes=sector_bytes, lies=variant.lies)
        self._drive = Drive(self.platter, safe=tape.chance("disk.safe", 0.5))
        self._hands = Hands()
        self._low = self._high = self._acknowledged = 0
        self._connection: Connection | None = None
        self._format()

    def _format(self) -> None:
        """An empty database, safely on the medium."""
        file = self.platter.open(FILE)
        file.change(0, template())
        file.sync()
        self.platter.delete("", sync=True)

    def until_the_power_goes(self) -> None:
        """Open, check, write on, and lose the power."""
        self.platter.left = 1 + self._tape.draw("cut.after", self._tape.pick("cut.within", OPERATIONS))
        with _damage_told():
            core = self._open()
            self._check(core)
            self._disk.in_recovery += not self.platter.power
            self._write(core)
            if self._tape.chance("cut.closed", 0.3):
                self.end()  # properly, as at a shutdown
            self.platter.cut()
            self.end()
        self.platter.restore()

    def once_more(self) -> None:
        """Open and check, with nothing in the way."""
        with _damage_told():
            self._check(self._open())
            self.end()

    def _open(self) -> SqliteCore:
        self._connection = connection = Connection(self._drive, FILE)
        self._variant.prepare(connection)
        connection.execute(f"PRAGMA wal_autocheckpoint={self._tape.pick('disk.checkpoint', CHECKPOINTS)}")
        return SqliteCore(self._hands, cast("Memory", connection))

    def end(self) -> None:
        """Close the database. Raises sqlite3.Error."""
        if self._connection is not None:
            self._connection.end()
            self._connection = None

    def _write(self, core: SqliteCore) -> None:
        """Write on until the power goes, or the recording ends."""
        connection = self._connection
        assert connection is not None
        for at, group in self._recording.groups[self._high :]:
            if not self.platter.power:
                return
            self._hands.at = at
            self._high += 1
            commits = connection.commits
            written = core.write(group)
            if connection.commits == commits:
                raise Violation("database-damaged", f"After a power cut, a group failed: {written.results[0].error}")
            if self.platter.power:
                self._acknowledged = self._high
                self._disk.acknowledged += 1
                if self._variant.promises == "strict":
                    self._low = self._high

    # The checks.

    def _check(self, core: SqliteCore) -> None:
        """Hold what is there against what may be there; then it is known, and durable."""
        connection = self._connection
        assert connection is not None
        sound = connection.execute("PRAGMA integrity_check").fetchone()[0]
        if sound != "ok":
            raise Violation("database-damaged", f"After a power cut, integrity_check says: {sound:.300}")
        self._check_log(connection.execute(LOG).fetchall())
        digest, digests = core.digest(), self._recording.digests
        fits = [groups for groups in range(self._low, self._high + 1) if digests[groups] == digest]
        if not fits:
            if digest in digests[: self._low]:  # a lease, a checkpoint, an answer: the log does not show it
                raise self._lost(f"only {digests.index(digest)} are")
            raise Violation("projection-off", "After a power cut, the rows that follow from the log differ from it.")
        if self._high > self._acknowledged:
            self._disk.unsure["kept" if self._high in fits else "lost"] += 1
        self._disk.forgotten += max(0, self._acknowledged - fits[-1])
        self._low = self._high = self._acknowledged = fits[-1]

    def _check_log(self, log: list[Any]) -> None:
        """Each stream without a gap, all in the order they were written in, whole groups, and enough of them."""
        known, there = self._recording, len(log)
        ends: dict[bytes, int] = {}
        for stream, version, frames, *_ in sorted(log):
            if version != ends.get(stream, 0) + 1:
                detail = f"After a power cut, {stream.hex()} goes on at {version} after {ends.get(stream, 0)}."
                raise Violation("seq-gap", detail)
            ends[stream] = version + frames - 1
        if log != known.log[:there]:
            raise Violation("log-rewritten", f"After a power cut, {there} events are there, and not the first ones.")
        if there < known.ends[self._low]:
            raise self._lost(f"the log has {there} events of {known.ends[self._low]}")
        if there not in known.ends[self._low : self._high + 1]:
            raise Violation("commit-torn", f"After a power cut, the log ends within a commit, after {there} events.")

    def _lost(self, what: str) -> Violation:
        must = f"of {self._high} commits the first {self._low} must be there"
        return Violation("acknowledged-lost", f"After a power cut, {must}; {what}.")


@contextmanager
def _damage_told() -> Generator[None]:
    """SQLite never fails for want of power (see Platter): an error means that it can't read what it finds."""
    try:
        yield
    except (sqlite3.Error, ReattachError) as error:
        raise Violation("database-damaged", f"After a power cut: {type(error).__name__}: {error}.") from error
