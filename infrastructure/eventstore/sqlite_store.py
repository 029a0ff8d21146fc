"""The store on one SQLite file: its reads cost tens of microseconds, and run in place."""

from collections.abc import Callable
from typing import TypeVar

from ...domain.errors import StoreUnavailable
from .committer import Committer
from .store import LogStore, ReadSide, WakeupSource

T = TypeVar("T")


class SqliteStore(LogStore):
    """Reads on the event loop. Creates or migrates its file when it is started."""

    def __init__(
        self,
        prepare: Callable[[], object],
        committer: Committer,
        reads: Callable[[], ReadSide],
        wakeups: Callable[[Callable[[], None]], WakeupSource],
        release: Callable[[], None],
    ) -> None:
        super().__init__(committer, wakeups, release)
        self._migrate = prepare
        self._open_reads = reads
        self._reads: ReadSide | None = None
        self._open = False

    async def _prepare(self) -> None:
        self._migrate()
        self._open = True

    async def _ask(self, question: Callable[[ReadSide], T]) -> T:
        if not self._open:
            raise StoreUnavailable("It is not open.")
        if self._reads is None:
            self._reads = self._open_reads()
        return question(self._reads)

    async def _close_reads(self) -> None:
        self._open = False
        if self._reads is not None:
            self._reads.close()
            self._reads = None
