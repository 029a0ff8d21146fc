"""PostgreSQL keeps the contract of every store, on a real server."""

from datetime import datetime
from functools import lru_cache
from pathlib import Path

import psycopg
import pytest

from reattach.infrastructure.eventstore import open_store

from ..postgres import new_database
from .contract import StoreContract
from .contract_appends import AppendContract
from .contract_facts import FactContract
from .contract_reads import ReadContract
from .contract_sessions import SessionContract
from .contract_snapshots import SnapshotContract
from .world import ManualClock, OpenStore


@lru_cache
def database(_: Path) -> str:
    """The database that belongs to a test's directory."""
    return new_database()


class Postgres(StoreContract):
    def open(self, directory: Path, clock: ManualClock) -> OpenStore:
        return open_store(database(directory), clock)


@pytest.mark.anyio
class TestAppends(Postgres, AppendContract):
    pass


@pytest.mark.anyio
class TestFacts(Postgres, FactContract):
    pass


@pytest.mark.anyio
class TestReads(Postgres, ReadContract):
    pass


@pytest.mark.anyio
class TestSessions(Postgres, SessionContract):
    pass


class TestSnapshots(Postgres, SnapshotContract):
    pass


@pytest.mark.anyio
async def test_without_a_clock_of_ours_the_servers_judges() -> None:
    """All processes have that one in common, whatever their machines think the time is."""
    url = new_database()

    def server_time() -> datetime:
        with psycopg.connect(url) as session:
            row = session.execute("SELECT clock_timestamp()").fetchone()
            assert row is not None
            told: datetime = row[0]
            return told

    async with open_store(url) as store:
        before = server_time()
        now = await store.transact(lambda tx: tx.now)
        assert before <= now <= server_time()
