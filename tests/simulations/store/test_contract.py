"""Every simulated core keeps the contract of every store, under the production store and its group commit.

The suites are those of SQLite on a file, whole. What tests/eventstore has beside them is about the file and the thread
(damage, migrations, processes, costs of statements, a full disk) and says nothing about a core.
"""

from pathlib import Path

import pytest

from reattach.domain.ports import Clock
from reattach.simulations.store import Core, DualCore, InlineCommitter, ModelCore, SqliteCore, open_over

from ...eventstore.contract import StoreContract
from ...eventstore.contract_appends import AppendContract
from ...eventstore.contract_facts import FactContract
from ...eventstore.contract_reads import ReadContract
from ...eventstore.contract_sessions import SessionContract
from ...eventstore.contract_snapshots import SnapshotContract
from ...eventstore.world import ManualClock, OpenStore


class Simulated(StoreContract):
    """A store over a core, on a plain event loop."""

    @pytest.fixture(autouse=True, params=["model", "sqlite", "dual"])
    def kind(self, request: pytest.FixtureRequest) -> str:
        self._kind: str = request.param
        return self._kind

    def open(self, directory: Path, clock: ManualClock) -> OpenStore:
        core = made(self._kind, clock)
        return open_over(core, InlineCommitter(core))


def made(kind: str, clock: Clock) -> Core:
    match kind:
        case "model":
            return ModelCore(clock)
        case "sqlite":
            return SqliteCore(clock)
        case _:
            return DualCore(ModelCore(clock), SqliteCore(clock))


@pytest.mark.anyio
class TestAppends(Simulated, AppendContract):
    pass


@pytest.mark.anyio
class TestFacts(Simulated, FactContract):
    pass


@pytest.mark.anyio
class TestReads(Simulated, ReadContract):
    pass


@pytest.mark.anyio
class TestSessions(Simulated, SessionContract):
    pass


class TestSnapshots(Simulated, SnapshotContract):
    pass
