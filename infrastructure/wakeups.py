"""Wake-ups from other processes: a look, every few milliseconds, at whether somebody else has committed.

SQLite keeps a number for each connection that changes when another connection commits. A watching connection sees
every commit, our own too; so when its number has moved, the writing connection is asked, whose number moves for
foreign commits only. Thus nothing foreign is missed, and our own commits cost no wake-up.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from typing import Final

from ..domain.errors import ReattachError
from .sqlite import data_version

POLL_INTERVAL_S: Final = 0.02
"""Seconds between two looks; what another process commits is seen that much later."""

ANSWER_S: Final = 0.1
"""Seconds the writer may take to say whose commit it was; then it is taken for foreign."""


class Wakeups:
    """Looks while it is started; calls `changed` on the event loop after each foreign commit."""

    def __init__(
        self,
        connect: Callable[[], sqlite3.Connection],
        foreign_commits: Callable[[], Awaitable[bool]],
        changed: Callable[[], None],
        interval_s: float = POLL_INTERVAL_S,
        answer_s: float = ANSWER_S,
    ) -> None:
        self._connect = connect
        self._foreign_commits = foreign_commits
        self._changed = changed
        self._interval_s = interval_s
        self._answer_s = answer_s
        self._connection: sqlite3.Connection | None = None
        self._seen: int | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look. What was committed before does not count."""
        if self._task is None:
            self._seen = self._version()
            self._task = asyncio.get_running_loop().create_task(self._look(), name="reattach-wakeups")

    def stop(self) -> None:
        """Look no more."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(self._interval_s)
            version = self._version()
            if version is not None and version == self._seen:
                continue
            # Kept before the question: what is committed while it is answered moves the number again.
            self._seen = version
            if await self._is_foreign():
                self._changed()

    async def _is_foreign(self) -> bool:
        try:
            async with asyncio.timeout(self._answer_s):
                return await self._foreign_commits()
        except (ReattachError, TimeoutError):
            return True  # a wake-up too many is harmless, one too few is not

    def _version(self) -> int | None:
        try:
            if self._connection is None:
                self._connection = self._connect()
            return data_version(self._connection)
        except sqlite3.Error:
            return None
