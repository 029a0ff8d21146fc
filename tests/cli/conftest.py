"""Fixtures: one server for all tests of this folder, and the command line as other processes."""

from collections.abc import Iterator

import pytest

from ..system.server import Server, free_port
from .command import CommandLine


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that stays up."""
    running = Server(tmp_path_factory.mktemp("cli") / "reattach.db", free_port()).start()
    yield running
    running.kill()


@pytest.fixture
def reattach(server: Server, capsys: pytest.CaptureFixture[str]) -> Iterator[CommandLine]:
    """The command line, pointed at the server by REATTACH_URL."""
    line = CommandLine({"REATTACH_URL": server.url}, capsys)
    yield line
    line.kill()
