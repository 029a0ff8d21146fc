"""Wake-ups between processes on one PostgreSQL: NOTIFY as the bell, polling as the net under it.

Neither is in the transaction of an append: a NOTIFY takes a lock of the whole server until its commit. One connection
does nothing but LISTEN; another rings, at most once in a few milliseconds however much was committed, and polls. A bell
carries only who rang. Whether LISTEN works at all (a pooler in between may swallow it) is seen by hearing oneself.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

import psycopg

from .postgres import BACKEND, connection_string, is_pooled

if TYPE_CHECKING:
    from .eventstore.lineage import Lineage

CHANNEL: Final = "reattach"

RING: Final = "SELECT pg_notify(%s, %s), set_config('synchronous_commit', 'off', true)"
"""A bell need not survive a crash. Said for this transaction alone: a pooled session is somebody else's next."""

LISTEN: Final = f"LISTEN {CHANNEL}".encode()

COALESCE_S: Final = 0.005
"""Seconds between two bells, and between two wake-ups: what is committed in between is told together."""

POLL_S: Final = 1.0
"""Seconds between two looks while the bell is heard: the net for one that was lost."""

DEAF_POLL_S: Final = 0.05
"""Seconds between two looks while it is not."""

ANSWER_S: Final = 1.0
"""Seconds within which a process hears its own bell; after that it takes itself for deaf."""

BUSY_S: Final = 0.25
"""Seconds a wake-up is put off at most while what the last one caused to be read is still being read."""

ASKED_S: Final = 5.0
"""Seconds a bell or a look may take. Then its connection is taken for dead: a silent one would take the net away."""

RECONNECT_S: Final = 0.5
"""Seconds until a connection that could not be made is tried again."""

FLUSH_S: Final = 1.0
"""Seconds a store that closes waits for its last bell to be rung."""

_STATE: Final = "SELECT pg_current_snapshot()::text"
"""Another text whenever a transaction that writes has begun or ended, whoever's it is."""


class Notifications:
    """Calls `changed` on the event loop after others' commits; rings the bell for our own.

    Started with the first listener and stopped with the last; the bell is rung also while nobody listens here.
    """

    def __init__(self, url: str, busy: Callable[[], bool] = lambda: False, lineage: "Lineage | None" = None) -> None:
        """`busy`: what the last wake-up caused to be read is still being read. `lineage` is told what is seen."""
        self._url = connection_string(url)
        self._name = secrets.token_hex(8)
        self._busy = busy
        self._lineage = lineage
        self._changed: Callable[[], None] = lambda: None
        self._listening: list[asyncio.Task[None]] = []
        self._ringing: asyncio.Task[None] | None = None
        self._due = asyncio.Event()
        self._rung_at: float | None = None
        self._woke_at = 0.0
        self._wake: asyncio.TimerHandle | None = None
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._pooled = False
        self._connecting = asyncio.Lock()
        self.hears = False
        """Whether notifications arrive here: the last bell of our own did."""

    def telling(self, changed: Callable[[], None]) -> "Notifications":
        """Itself, which calls this from now on."""
        self._changed = changed
        return self

    def start(self) -> None:
        """Begin to hear and to look. What was committed before does not count."""
        if not self._listening:
            self._listening = [self._task(self._listen()), self._task(self._poll())]

    def stop(self) -> None:
        """Hear and look no more."""
        for task in self._listening:
            task.cancel()
        self._listening.clear()
        self.hears = False
        if self._wake is not None:
            self._wake.cancel()
            self._wake = None

    def announce(self) -> None:
        """Something of ours is committed: ring, now or a moment after the last time."""
        self._due.set()
        if self._ringing is None:
            self._ringing = self._task(self._ring())

    async def close(self) -> None:
        """Ring what is due, then let go of the connections."""
        self.stop()
        ringing, self._ringing = self._ringing, None
        if ringing is not None:
            if self._due.is_set():
                await asyncio.wait([self._task(self._rung())], timeout=FLUSH_S)
            ringing.cancel()
            await asyncio.wait([ringing])
        await self._drop()

    def _task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return asyncio.get_running_loop().create_task(work, name="reattach-notifications")

    # The bell.

    async def _ring(self) -> None:
        while True:
            await self._due.wait()
            await self._rung()
            await asyncio.sleep(RECONNECT_S if self._due.is_set() and self._connection is None else COALESCE_S)

    async def _rung(self) -> None:
        """Ring once for everything that is due."""
        self._due.clear()
        row = await self._asked(RING, (CHANNEL, self._name))
        if row is None:
            self._due.set()
        elif self._rung_at is None:
            self._rung_at = asyncio.get_running_loop().time()

    # What is heard, and what is seen.

    async def _listen(self) -> None:
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True)
                async with connection:
                    if is_pooled(connection.info, await _row(connection, BACKEND)):
                        return  # what we would hear may be told to whoever has the session by then; we look instead
                    await connection.execute(LISTEN)
                    self._wake_up()  # whatever was told while nobody listened was told in vain
                    self.announce()
                    async for bell in connection.notifies():
                        self.hear(bell.payload)
            except (psycopg.Error, OSError):
                pass
            self.hears = False
            await asyncio.sleep(RECONNECT_S)

    def hear(self, name: str) -> None:
        """The process of this name has rung."""
        if name == self._name:
            self.hears, self._rung_at = True, None
        else:
            self._wake_up()

    async def _poll(self) -> None:
        seen: str | None = None
        while True:
            await asyncio.sleep(POLL_S if self.hears else DEAF_POLL_S)
            if self._rung_at is not None and asyncio.get_running_loop().time() - self._rung_at > ANSWER_S:
                self.hears, self._rung_at = False, None
                self.announce()  # to hear whether it was a single one that was lost
            row = await self._asked(_STATE)
            if row is not None and row[0] != seen:
                seen = row[0]
                self._wake_up()

    def _wake_up(self) -> None:
        if self._wake is None:
            loop = asyncio.get_running_loop()
            self._wake = loop.call_at(max(loop.time(), self._woke_at + COALESCE_S), self._tell)

    def _tell(self) -> None:
        loop = asyncio.get_running_loop()
        self._wake = None
        if self._busy() and loop.time() < self._woke_at + BUSY_S:
            # Whoever is told again while they still look would only look more and more.
            self._wake = loop.call_later(COALESCE_S, self._tell)
            return
        self._woke_at = loop.time()
        self._changed()

    # The connection of the bell and of looks.

    async def _asked(self, statement: str, parameters: tuple[str, ...] = ()) -> tuple[Any, ...] | None:
        """The statement's row, or None if the database did not answer."""
        async with self._connecting:
            try:
                async with asyncio.timeout(ASKED_S):
                    connection = self._connection
                    if connection is None or self._pooled:
                        connection = await self._noticing()
                    cursor = await connection.execute(statement.encode(), parameters)
                    return await cursor.fetchone()
            except (psycopg.Error, OSError):  # or TimeoutError, which is one
                await self._drop()
                return None

    async def _noticing(self) -> "psycopg.AsyncConnection[Any]":
        """The connection. A process that nobody asks for anything has to see a fail-over, too: its readers wait.

        Each new connection says so, and behind a pooler each look: there the primary is replaced without our knowing.
        """
        connection = self._connection
        if connection is None:
            connection = self._connection = await psycopg.AsyncConnection.connect(self._url, autocommit=True)
            self._pooled = is_pooled(connection.info, await _row(connection, BACKEND))
        if self._lineage is not None:
            self._lineage.is_same(await _row(connection, self._lineage.question.encode()))
        return connection

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def _row(connection: "psycopg.AsyncConnection[Any]", statement: bytes) -> Any:
    return await (await connection.execute(statement)).fetchone()
