"""The store on PostgreSQL: any number of processes on any machines; its reads run on threads."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from ...domain.errors import StoreUnavailable
from ...domain.identifiers import RunId
from ...domain.ports import Damaged, News, Record
from ..notifications import Notifications
from .committer import Committer
from .postgres_reads import GroupedReads, Page, PostgresReads, ReadPool
from .store import LogStore

T = TypeVar("T")


class PostgresStore(LogStore):
    """Tells other processes of its commits, and hears of theirs. Refuses to start on another schema than its own."""

    def __init__(
        self,
        prepare: Callable[[], None],
        committer: Committer,
        pool: ReadPool,
        notifications: Notifications,
        release: Callable[[], None],
    ) -> None:
        super().__init__(committer, notifications.telling, release)
        self._notifications = notifications
        self._make_ready = prepare
        self._pool = pool
        self._open = False
        self._logs = GroupedReads(self._ask)

    async def _prepare(self) -> None:
        await asyncio.to_thread(self._make_ready)
        self._open = True

    def _tell(self, commits: Sequence[News]) -> None:
        self._notifications.announce()
        super()._tell(commits)

    async def read(self, run_id: RunId, after_seq: int, limit_frames: int) -> Sequence[Record | Damaged]:
        """The records that hold the frames after `after_seq`, in order; with others who ask now, in one statement."""
        return await self._logs.read(Page(run_id, after_seq, limit_frames))

    async def _ask(self, question: Callable[[PostgresReads], T]) -> T:
        if not self._open:
            raise StoreUnavailable("It is not open.")
        return await self._pool.ask(question)

    async def _close_reads(self) -> None:
        await self._notifications.close()
        self._open = False
        await self._pool.close()
