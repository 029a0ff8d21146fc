"""Fixtures: one server for all tests of this folder, and the SDK's own client over every way in and in both eras."""

from collections.abc import Iterator

import pytest

from ..system.server import Server, free_port
from .talking import Way


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that stays up."""
    running = Server(tmp_path_factory.mktemp("mcp") / "reattach.db", free_port(), {"REATTACH_MCP": "true"}).start()
    yield running
    running.kill()


@pytest.fixture(params=["http", "stdio"])
def transport(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=["modern", "legacy"])
def way(request: pytest.FixtureRequest, transport: str, server: Server) -> Way:
    """A way in to the server."""
    return Way(server.url, transport, request.param)
