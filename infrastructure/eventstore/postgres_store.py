"""The store on PostgreSQL: any number of processes on any machines; its reads run on threads."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from ...domain.errors import StoreUnavailable
from ...domain.ports import News
from ..notifications import Notifications
from .committer import Committer
from .postgres_reads import ReadPool
from .store import LogStore, ReadSide

T = TypeVar("T")


class PostgresStore(LogStore):
    """Tells other processes of its commits, and hears of theirs. Refuses to start on another schema than its own."""

    def __init__(
        self,
        check_schema: Callable[[], None],
        committer: Committer,
        pool: Callable[[], ReadPool],
        notifications: Notifications,
        release: Callable[[], None],
    ) -> None:
        super().__init__(committer, notifications.telling, release)
        self._notifications = notifications
        self._check_schema = check_schema
        self._open_pool = pool
        self._pool: ReadPool | None = None

    async def _prepare(self) -> None:
        await asyncio.to_thread(self._check_schema)
        self._pool = self._open_pool()

    def _tell(self, commits: Sequence[News]) -> None:
        self._notifications.announce()
        super()._tell(commits)

    async def _ask(self, question: Callable[[ReadSide], T]) -> T:
        if self._pool is None:
            raise StoreUnavailable("It is not open.")
        return await self._pool.ask(question)

    async def _close_reads(self) -> None:
        await self._notifications.close()
        if self._pool is not None:
            pool, self._pool = self._pool, None
            await pool.close()
