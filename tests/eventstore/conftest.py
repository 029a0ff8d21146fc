"""The stores that tests of several processes run on: a file, and a database of a real PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ..postgres import new_database
from .beside import Process
from .world import World


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of its own, of each kind."""
    return new_database() if request.param == "postgresql" else f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def a(url: str, world: World) -> Iterator[Process]:
    """One of two processes beside the world's own store, on PostgreSQL."""
    process = Process(url, world)
    yield process
    process.close()


@pytest.fixture
def b(url: str, world: World) -> Iterator[Process]:
    """The other one."""
    process = Process(url, world)
    yield process
    process.close()
