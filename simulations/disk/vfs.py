"""The operating system's part of SQLite, on a simulated disk: a VFS of apsw.

Files have no shared memory, so a database in WAL mode is opened by one connection that locks it for itself
(`locking_mode=EXCLUSIVE`); locks between processes are not simulated.
"""

from itertools import count
from typing import Any, Final

import apsw

from .platter import File, Platter

_NUMBERS: Final = count()


class Drive(apsw.VFS):
    """Registers a disk with SQLite under `name`. `safe`: whether it promises that a write harms no bytes beside it."""

    def __init__(self, platter: Platter, *, safe: bool) -> None:
        self.name = f"reattach-disk-{next(_NUMBERS)}"
        self._platter = platter
        self._safe = safe
        super().__init__(self.name, "")

    def xAccess(self, pathname: str, flags: int) -> bool:  # noqa: N802  - SQLite's name for it
        return self._platter.exists(pathname)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802  - as above
        self._platter.delete(filename, sync=syncdir)

    def xFullPathname(self, name: str) -> str:  # noqa: N802  - as above
        return name

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> Any:  # noqa: N802  - as above
        flags[1] = flags[0]
        if name is None:  # a temporary file: nobody looks for it after a power cut
            return OpenFile(self._platter, File(), safe=self._safe)
        path = name if isinstance(name, str) else name.filename()
        return OpenFile(self._platter, self._platter.open(path), safe=self._safe)


class OpenFile:
    """A file as SQLite uses it. Closing it stores nothing; nobody else ever locks it."""

    def __init__(self, platter: Platter, file: File, *, safe: bool) -> None:
        self._platter = platter
        self._file = file
        self._traits = apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE if safe else 0

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802  - SQLite's names for it all
        return bytes(self._file.seen[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802  - as above
        self._platter.change(self._file, offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802  - as above
        self._platter.change(self._file, newsize, None)

    def xSync(self, flags: int) -> None:  # noqa: N802  - as above
        self._platter.sync(self._file)

    def xFileSize(self) -> int:  # noqa: N802  - as above
        return len(self._file.seen)

    def xSectorSize(self) -> int:  # noqa: N802  - as above
        return self._platter.sector_bytes

    def xDeviceCharacteristics(self) -> int:  # noqa: N802  - as above
        return self._traits

    def xLock(self, level: int) -> None:  # noqa: N802  - as above
        pass

    def xUnlock(self, level: int) -> None:  # noqa: N802  - as above
        pass

    def xCheckReservedLock(self) -> bool:  # noqa: N802  - as above
        return False

    def xFileControl(self, op: int, ptr: int) -> bool:  # noqa: N802  - as above
        return False

    def xClose(self) -> None:  # noqa: N802  - as above
        pass
