"""The stores that tests of several processes run on: a file, and a database of a real PostgreSQL."""

from pathlib import Path

import pytest

from ..postgres import new_database


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of its own, of each kind."""
    return new_database() if request.param == "postgresql" else f"sqlite:///{tmp_path / 'store.db'}"
