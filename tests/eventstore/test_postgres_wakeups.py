"""Wake-ups on PostgreSQL: the bell between processes, the net under it, and how often it is rung."""

import asyncio
from typing import Any

import psycopg
import pytest

from reattach.domain.agent import Text
from reattach.infrastructure import notifications
from reattach.infrastructure.eventstore import open_store
from reattach.infrastructure.notifications import Notifications

from .beside import url_on_postgres, world_on_postgres
from .test_postgres_trouble import terminate
from .world import SIGNAL_TIMEOUT_S, Listening, Segment, World

__all__ = ["url_on_postgres", "world_on_postgres"]  # fixtures

pytestmark = pytest.mark.anyio

SLEEPING = b"SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND datname = current_database()"


async def hears_the_bell(of: Notifications) -> None:
    """Until it hears its own: from then on it looks by itself only once a second."""
    async with asyncio.timeout(SIGNAL_TIMEOUT_S):
        while not of.hears:
            await asyncio.sleep(0.002)


async def is_woken(listening: Listening, segment: Segment) -> None:
    """By what is written now."""
    before = listening.changes
    await segment.write(Text("a"))
    while listening.changes == before:
        await listening.hears()


async def test_the_bell_wakes_while_nobody_looks(world: World, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the net: polls are an hour apart."""
    monkeypatch.setattr(notifications, "POLL_S", 3600.0)
    segment = await world.running()
    async with open_store(url, world.clock) as other:
        listening = Listening()
        other.listen(listening)
        await hears_the_bell(of(other))
        for _ in range(5):
            await is_woken(listening, segment)


def of(store: Any) -> Notifications:
    """The notifications of a store."""
    found: Notifications = store._notifications
    return found


async def test_where_listen_hears_nothing_looking_does(world: World, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a pooler that gives each transaction another session: the bell is rung, and nobody hears it."""
    segment = await world.running()
    async with open_store(url, world.clock) as other:
        listening = Listening()
        other.listen(listening)
        monkeypatch.setattr(notifications, "LISTEN", b"LISTEN elsewhere")
        for _ in range(5):
            await is_woken(listening, segment)
        assert not of(other).hears


async def test_a_look_that_is_never_answered_is_given_up(
    world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection has gone silent; the next one looks again, or nobody would wake the readers here any more."""
    segment = await world.running()
    monkeypatch.setattr(notifications, "LISTEN", b"LISTEN elsewhere")
    monkeypatch.setattr(notifications, "ASKED_S", 0.2)
    async with open_store(url, world.clock) as other:
        listening = Listening()
        with monkeypatch.context() as silent:
            silent.setattr(notifications, "_STATE", "SELECT pg_sleep(3600)::text")
            other.listen(listening)
            async with await psycopg.AsyncConnection.connect(url, autocommit=True) as operator:
                while await (await operator.execute(SLEEPING)).fetchone() is None:
                    await asyncio.sleep(0.01)
        await is_woken(listening, segment)


async def test_what_was_told_in_vain_is_read_after_a_reconnect(world: World, url: str) -> None:
    """The listening session is ended again and again, and something is committed before there is another."""
    segment = await world.running()
    async with open_store(url, world.clock) as other:
        listening = Listening()
        other.listen(listening)
        for _ in range(3):
            while terminate(url, "query LIKE 'LISTEN%'") != 1:
                await asyncio.sleep(0.01)
            await is_woken(listening, segment)


async def test_many_commits_are_one_bell(world: World, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first is told at once, what follows within the pause together, the last when the store closes."""
    monkeypatch.setattr(notifications, "COALESCE_S", 3600.0)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as stranger:
        await stranger.execute(f"LISTEN {notifications.CHANNEL}".encode())
        async with open_store(url, world.clock) as other:
            writing = World(other, world.clock)
            segment = await writing.running()
            for _ in range(30):
                await segment.write(Text("a"))
        bells = [bell async for bell in stranger.notifies(timeout=0.5)]
    assert len({bell.payload for bell in bells}) == 1
    assert len(bells) == 2


async def test_who_still_looks_is_not_told_to_look_again(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Wake-ups come as fast as they can be followed: else every one would add to what is being read already."""
    monkeypatch.setattr(notifications, "BUSY_S", 1e9)
    asked, told = [0], asyncio.Event()

    def looks() -> bool:
        asked[0] += 1
        return asked[0] <= 3

    bell = Notifications(url, looks).telling(told.set)
    for _ in range(2):
        bell.hear("somebody else")
    await asyncio.wait_for(told.wait(), SIGNAL_TIMEOUT_S)
    assert asked == [4]
    await bell.close()
