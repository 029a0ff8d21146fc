"""What every store must do. A store is tested by naming itself: three lines, see `test_sqlite.py`."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from .world import ManualClock, OpenStore, World


class StoreContract(ABC):
    """Base of the suites: makes a store in a fresh place, and a world around it."""

    @abstractmethod
    def open(self, directory: Path, clock: ManualClock) -> OpenStore:
        """A store that is not started yet. Opened again with the same directory it is the same store."""

    @pytest.fixture
    async def world(self, tmp_path: Path) -> AsyncIterator[World]:
        clock = ManualClock()
        store = self.open(tmp_path, clock)
        await store.start()
        yield World(store, clock)
        await store.close()
