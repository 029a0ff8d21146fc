"""Two processes at one PostgreSQL, statement by statement: the one stands before its commit, the other comes."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import psycopg
import pytest

from reattach.domain.application import Application
from reattach.domain.ports import Append, Store, Transaction
from reattach.infrastructure.codec import Codec
from reattach.infrastructure.eventstore import open_store
from reattach.infrastructure.eventstore.library import Library
from reattach.infrastructure.eventstore.postgres_recorder import PostgresRecorder
from reattach.infrastructure.eventstore.postgres_writer import PostgresWriter
from reattach.infrastructure.eventstore.writer import Work
from reattach.infrastructure.postgres import PostgresConnection, connect

from ..postgres import new_database
from .world import SIGNAL_TIMEOUT_S, Echo, ManualClock, World

T = TypeVar("T")
LOOK_S = 0.002


@dataclass
class Gate:
    """Where a work stands until it is let through; the first `passes` of them go by."""

    passes: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    opened: threading.Event = field(default_factory=threading.Event)

    def stand(self) -> None:
        self.reached.set()
        assert self.opened.wait(SIGNAL_TIMEOUT_S)

    async def is_reached(self) -> None:
        assert await asyncio.to_thread(self.reached.wait, SIGNAL_TIMEOUT_S)


class Process:
    """A process of its own as far as the database can tell: one writer, and the use cases over it."""

    def __init__(
        self,
        url: str,
        world: World,
        connect_by: Callable[[], PostgresConnection] | None = None,
        *,
        by_server: bool = False,
    ) -> None:
        make = connect_by or (lambda: connect(url, "relaxed"))
        self.library = Library(PostgresRecorder(make), Codec())
        self.writer = PostgresWriter(make, self.library, Codec(), None if by_server else world.clock)
        self.gate: Gate | None = None
        self.application = Application(cast("Store", self), world.ids, {"echo": Echo()}, world.limits)

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """As the store; with a gate the work stands there, done and not committed."""
        gate = self.gate

        def standing(tx: Transaction) -> T:
            value = work(tx)
            if gate is not None and not gate.reached.is_set():
                gate.passes -= 1
                if gate.passes < 0:
                    gate.stand()
            return value

        value: T = await self.write(standing)
        return value

    async def append(self, append: Append) -> None:
        """As the store."""
        await self.write(append)

    async def write(self, work: Work) -> Any:
        """One work as a group of its own."""
        (result,) = (await asyncio.to_thread(self.writer.write, [work])).results
        while result.again:
            (result,) = (await asyncio.to_thread(self.writer.write, [work])).results
        if result.error is not None:
            raise result.error
        return result.value

    def close(self) -> None:
        self.writer.close()
        self.library.close()


async def waits_for_a_lock(url: str) -> None:
    """Return when some session of the database does."""
    waiting = b"SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(SIGNAL_TIMEOUT_S), await psycopg.AsyncConnection.connect(url, autocommit=True) as look:
        while await (await look.execute(waiting)).fetchone() is None:
            await asyncio.sleep(LOOK_S)


async def race(
    url: str,
    first: Process,
    one: Callable[[Application], Awaitable[Any]],
    second: Process,
    other: Callable[[Application], Awaitable[Any]],
    *,
    waits: bool = True,
    passes: int = 0,
) -> tuple[Any, Any]:
    """`one` stands before its commit while `other` comes, and waits for it or does not; what both got."""
    first.gate = Gate(passes)
    ahead = asyncio.ensure_future(one(first.application))
    await first.gate.is_reached()
    behind = asyncio.ensure_future(other(second.application))
    if waits:
        await waits_for_a_lock(url)
        assert not behind.done()
    else:
        await asyncio.wait([behind], timeout=SIGNAL_TIMEOUT_S)
    first.gate.opened.set()
    gave, got = await asyncio.gather(ahead, behind, return_exceptions=True)
    return gave, got


@pytest.fixture(name="url")
def url_on_postgres() -> str:
    """A database of its own."""
    return new_database()


@pytest.fixture(name="world")
async def world_on_postgres(url: str) -> AsyncIterator[World]:
    """The application over it."""
    clock = ManualClock()
    async with open_store(url, clock, durability="relaxed") as store:
        yield World(store, clock)
