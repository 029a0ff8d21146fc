"""Fixtures: a server for the module, and servers that a test may kill."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .server import Server, free_port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server shared by a module's tests."""
    running = Server(tmp_path_factory.mktemp("server") / "reattach.db", free_port()).start()
    yield running
    running.terminate()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start servers of one's own; whatever still runs at the end is killed."""
    servers: list[Server] = []

    def start_one(*arguments: str, database: Path | None = None, **environment: str) -> Server:
        path = database or tmp_path / "reattach.db"
        servers.append(Server(path, free_port(), environment, arguments).start())
        return servers[-1]

    yield start_one
    for one in servers:
        one.kill()
