"""A dump that is loaded, anywhere, is another history: cursors of the old one are reset, and the feed goes on."""

import asyncio
import subprocess
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import make_url

from reattach.domain.errors import StoreUnavailable
from reattach.infrastructure.eventstore import open_store
from reattach.infrastructure.eventstore.postgres_recorder import PostgresRecorder
from reattach.infrastructure.postgres import connect

from ..postgres import Server, new_server, run_unprivileged, text
from .beside import url_on_postgres, world_on_postgres
from .world import ManualClock, World

__all__ = ["url_on_postgres", "world_on_postgres"]  # fixtures

pytestmark = pytest.mark.anyio

FOREIGN_XIDS = 5_000_000
"""As many transactions as the dumped cluster has had, and the new one has not."""


@pytest.fixture
def elsewhere() -> Iterator[Server]:
    """Another cluster, empty."""
    server = new_server()
    server.create()
    yield server
    server.remove()


async def generation(url: str) -> int:
    async with open_store(url, ManualClock()) as store:
        return store.generation


def places(url: str) -> list[int]:
    feed = PostgresRecorder(lambda: connect(url))
    try:
        return [one.id for one in feed.select_notifications(None, 99)]
    finally:
        feed.close()


def move(source: str, target: str, by: Server) -> None:
    """Dump a database and load it into another one."""
    dump = str(by.directory / "dump.sql")
    for command in (["pg_dump", "-d", source, "-f", dump], ["psql", "-q", "-d", target, "-f", dump]):
        done: subprocess.CompletedProcess[str] = run_unprivileged(
            [str(by.binaries / command[0]), *command[1:]], by.directory
        )
        assert done.returncode == 0, done.stdout


async def test_a_dump_loaded_into_another_cluster(world: World, url: str, elsewhere: Server) -> None:
    with psycopg.connect(url) as operator:
        operator.execute("UPDATE meta SET value = value + %s WHERE key = 'feed'", (FOREIGN_XIDS,))
    await world.pending()
    known = places(url)
    there = text(elsewhere.url)
    move(url, there, elsewhere)
    assert await asyncio.gather(*(generation(there) for _ in range(4))) == [2] * 4
    async with open_store(there, ManualClock()) as store:
        await World(store, ManualClock()).pending()
    now = places(there)
    assert now[: len(known)] == known
    assert len(now) > len(known)
    assert now == sorted(now)


async def test_a_dump_loaded_into_the_same_cluster(world: World, url: str, elsewhere: Server) -> None:
    """Taken earlier: what came after it is lost, and its seqs are given again."""
    await world.pending()
    copy = make_url(url).set(database=f"{make_url(url).database}_copy")
    with psycopg.connect(url, autocommit=True) as operator:
        operator.execute(f"CREATE DATABASE {copy.database}".encode())
    move(url, text(copy), elsewhere)
    assert (world.store.generation, await generation(text(copy))) == (1, 2)
    with psycopg.connect(url, autocommit=True) as operator:
        operator.execute(f"DROP DATABASE {copy.database}".encode())


async def test_opening_again_is_no_restore(url: str) -> None:
    """Nor does it write anything."""
    assert await generation(url) == 1
    with psycopg.connect(url) as operator:
        before = operator.execute("SELECT xmin::text, key, value FROM meta ORDER BY key").fetchall()
    assert await generation(url) == 1
    with psycopg.connect(url) as operator:
        assert operator.execute("SELECT xmin::text, key, value FROM meta ORDER BY key").fetchall() == before


async def test_who_knew_another_history_writes_and_reads_no_more(world: World, url: str) -> None:
    """Its connections end, and those that it makes anew are of the wrong history."""
    await world.pending()
    with psycopg.connect(url, autocommit=True) as operator:
        operator.execute("ALTER TABLE meta RENAME TO old")
        operator.execute("CREATE TABLE meta (LIKE old INCLUDING ALL)")
        operator.execute("INSERT INTO meta SELECT * FROM old")
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        operator.execute(f"{ended} WHERE datname = current_database() AND pid <> pg_backend_pid()".encode())
    with pytest.raises(StoreUnavailable, match="fail-over or a restore"):
        await world.pending()
    with pytest.raises(StoreUnavailable, match="fail-over or a restore"):
        await world.store.has_pending(["echo"])
    assert await generation(url) == 2
