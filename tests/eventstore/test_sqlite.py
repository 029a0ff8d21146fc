"""SQLite keeps the contract of every store."""

from pathlib import Path

import pytest

from reattach.infrastructure.eventstore import open_store

from .contract import StoreContract
from .contract_appends import AppendContract
from .contract_facts import FactContract
from .contract_reads import ReadContract
from .contract_snapshots import SnapshotContract
from .world import ManualClock, OpenStore


class Sqlite(StoreContract):
    def open(self, directory: Path, clock: ManualClock) -> OpenStore:
        return open_store(f"sqlite:///{directory / 'store.db'}", clock)


@pytest.mark.anyio
class TestAppends(Sqlite, AppendContract):
    pass


@pytest.mark.anyio
class TestFacts(Sqlite, FactContract):
    pass


@pytest.mark.anyio
class TestReads(Sqlite, ReadContract):
    pass


class TestSnapshots(Sqlite, SnapshotContract):
    pass
