"""A disk that can lose its power: what was written but not synced may be kept, lost or torn.

What programs see is one thing, what is on the medium another. A sync makes the file the same on both; a power cut asks
the tape about every write since, sector by sector. Names are like data: a file that was created is there for sure only
after its first sync (SQLite then syncs the folder, too), one that was deleted is gone for sure only after a sync of the
folder.

Without power nothing fails: programs go on as in a dream, and nothing of it is ever stored. They wake up when the power
comes back, and see what the medium has.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from ..tape import Tape

KEPT: Final = 0
LOST: Final = 1
TORN: Final = 2

HOW: Final = ("kept", "kept", "lost", "mixed", "mixed")
"""What a cut does to all that was not synced; mixed asks for each write."""


@dataclass(slots=True)
class File:
    """A file: `seen` by programs, `stored` on the medium, and what was done to the one and not to the other.

    A change is an offset and what was written there, or a new size and None.
    """

    seen: bytearray = field(default_factory=bytearray)
    stored: bytearray = field(default_factory=bytearray)
    changes: list[tuple[int, bytes | None]] = field(default_factory=list[tuple[int, bytes | None]])

    def change(self, at: int, data: bytes | None) -> None:
        """Do it, unsynced."""
        self.dream(at, data)
        self.changes.append((at, data))

    def dream(self, at: int, data: bytes | None) -> None:
        """Only let it be seen."""
        apply(self.seen, at, data)

    def sync(self) -> None:
        """From here on the medium has it all."""
        for at, data in self.changes:
            apply(self.stored, at, data)
        self.changes.clear()


def apply(content: bytearray, at: int, data: bytes | None) -> None:
    """Write there; what is skipped becomes zeros, as in any file with holes."""
    size = at if data is None else at + len(data)
    if len(content) < size:
        content.extend(bytes(size - len(content)))
    if data is None:
        del content[at:]
    else:
        content[at:size] = data


@dataclass(slots=True)
class Tally:
    """What cuts did to what was not synced: writes and names, by what became of them."""

    kept: int = 0
    lost: int = 0
    torn: int = 0


class Platter:
    """A disk of one folder. `lies`: whether it answers to a sync without doing anything, as some disks do."""

    def __init__(self, tape: Tape, *, sector_bytes: int, lies: bool = False) -> None:
        self.sector_bytes = sector_bytes
        self.power = True
        self.left: int | None = None
        """Operations until the power goes; None is for ever."""
        self.cuts = Tally()
        self._tape = tape
        self._lies = lies
        self._seen: dict[str, File] = {}
        self._stored: dict[str, File] = {}
        self._renames: list[tuple[str, File | None]] = []

    # What programs do.

    def open(self, name: str) -> File:
        """The file of this name, made if there is none."""
        if name not in self._seen:
            self._name(name, File())
        return self._seen[name]

    def exists(self, name: str) -> bool:
        """Whether programs see it."""
        return name in self._seen

    def change(self, file: File, at: int, data: bytes | None) -> None:
        """Write there, or (None) truncate. If the power goes just then, it may be there in part."""
        if self.power:
            file.change(at, data)
            self._spend()
        else:
            file.dream(at, data)

    def sync(self, file: File) -> None:
        """Store the file, and its name. If the power goes just then, nothing is sure."""
        if self._spend() and not self._lies:
            file.sync()
            if any(renamed is file for _, renamed in self._renames):
                self._store_names()

    def delete(self, name: str, *, sync: bool) -> None:
        """Delete a file, and with `sync` store that."""
        if name in self._seen:
            self._name(name, None)
        if self._spend() and sync and not self._lies:
            self._store_names()

    # The power.

    def cut(self) -> None:
        """The power goes now."""
        self.power, self.left = False, None

    def restore(self) -> None:
        """The power comes back: programs see what the medium has."""
        how = self._tape.pick("cut.how", HOW)
        named = [file for _, file in self._renames if file is not None]
        for file in {id(file): file for file in (*self._stored.values(), *named)}.values():
            for at, data in file.changes:
                self._keep_some(file, at, data, how)
            file.changes.clear()
            file.seen = bytearray(file.stored)
        for name, renamed in self._renames:
            if self._verdict(how, "cut.name", TORN) == KEPT:
                self.cuts.kept += 1
                put(self._stored, name, renamed)
            else:
                self.cuts.lost += 1
        self._renames.clear()
        self._seen = dict(self._stored)
        self.power, self.left = True, None

    def _keep_some(self, file: File, at: int, data: bytes | None, how: str) -> None:
        verdict = self._verdict(how, "cut.write", TORN + 1 if data else TORN)
        if verdict == KEPT:
            self.cuts.kept += 1
            apply(file.stored, at, data)
        elif verdict == LOST or data is None:
            self.cuts.lost += 1
        else:
            self.cuts.torn += 1
            for start, piece in self._sectors(at, data):
                if self._tape.draw("cut.sector", 2) == KEPT:
                    # A sector is written from its start on: of the last one that was begun, a part may be there.
                    part = self._tape.pick("cut.part", (1.0, 1.0, 1.0, 0.5)) * len(piece)
                    apply(file.stored, start, piece[: int(part)])

    def _verdict(self, how: str, site: str, n: int) -> int:
        return self._tape.draw(site, n) if how == "mixed" else KEPT if how == "kept" else LOST

    def _sectors(self, at: int, data: bytes) -> Iterator[tuple[int, bytes]]:
        start, end = at, at + len(data)
        while start < end:
            stop = min(end, (start // self.sector_bytes + 1) * self.sector_bytes)
            yield start, data[start - at : stop - at]
            start = stop

    def _name(self, name: str, file: File | None) -> None:
        put(self._seen, name, file)
        if self.power:
            self._renames.append((name, file))

    def _store_names(self) -> None:
        self._stored = dict(self._seen)
        self._renames.clear()

    def _spend(self) -> bool:
        """One operation more; with the last one the power goes. Whether it is still there."""
        if self.left is not None:
            self.left -= 1
            if self.left <= 0:
                self.cut()
        return self.power


def put(names: dict[str, File], name: str, file: File | None) -> None:
    """Enter the name, or take it out."""
    if file is None:
        names.pop(name, None)
    else:
        names[name] = file
