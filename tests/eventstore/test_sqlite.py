"""SQLite keeps the contract of every store."""

from pathlib import Path

import pytest

from reattach.infrastructure.eventstore import Durability, open_store

from .contract import StoreContract
from .contract_appends import AppendContract
from .contract_facts import FactContract
from .contract_reads import ReadContract
from .contract_sessions import SessionContract
from .contract_snapshots import SnapshotContract
from .world import ManualClock, OpenStore


class Sqlite(StoreContract):
    durability: Durability = "strict"

    def open(self, directory: Path, clock: ManualClock) -> OpenStore:
        return open_store(f"sqlite:///{directory / 'store.db'}", clock, durability=self.durability)


@pytest.mark.anyio
class TestAppends(Sqlite, AppendContract):
    pass


@pytest.mark.anyio
class TestFacts(Sqlite, FactContract):
    pass


@pytest.mark.anyio
class TestReads(Sqlite, ReadContract):
    pass


@pytest.mark.anyio
class TestSessions(Sqlite, SessionContract):
    durability = "relaxed"


class TestSnapshots(Sqlite, SnapshotContract):
    durability = "relaxed"  # thousands of small runs
