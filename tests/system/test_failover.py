"""What an asynchronous standby had not received is lost with the primary. Readers are told; nothing is spliced."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from reattach import Client
from reattach.adapters.client.frame import Frame, fold
from reattach.domain.messages import Fields
from reattach.infrastructure.migrations.postgres import migrate
from reattach.infrastructure.verify import breaks

from .. import postgres
from ..cli.command import CommandLine, Running
from ..postgres import NoPostgres, new_server, text
from .fickle_agent import PIECES
from .server import FAST, TIMEOUT_S, Server, free_port

AGENT = ("--agents", "tests.system.fickle_agent:agents")
LOOK_S = 0.01
SEEN = 20
"""Frames a reader has when the primary dies."""


@dataclass
class Pair:
    """A primary and its standby, under one URL."""

    primary: postgres.Server
    standby: postgres.Server

    @property
    def url(self) -> str:
        hosts = f"{self.primary.directory},{self.standby.directory}"
        return text(self.primary.url.set(query={"host": hosts}))

    def rows_at_the_standby(self) -> int:
        with psycopg.connect(text(self.standby.url)) as connection:
            row = connection.execute("SELECT count(*) FROM events").fetchone()
        return row[0] if row is not None else 0

    def part(self, rows: int) -> None:
        """From now on the standby receives nothing more; it has this many rows of the log."""
        until = time.monotonic() + TIMEOUT_S
        while self.rows_at_the_standby() < rows:
            assert time.monotonic() < until, "the standby has not followed"
            time.sleep(LOOK_S)  # a standby tells nobody how far it is
        self.standby.stop("fast")

    def fail_over(self) -> None:
        """The primary is gone with its disk; the standby goes on from what it has."""
        self.primary.stop("immediate")
        self.standby.start()
        self.standby.promote()


@pytest.fixture
def pair() -> Iterator[Pair]:
    servers: list[postgres.Server] = []
    try:
        servers.append(new_server())
        servers[0].create()
        migrate(text(servers[0].url))
        servers.append(servers[0].standby())
    except NoPostgres as error:
        pytest.skip(str(error))
    yield Pair(*servers)
    for server in servers:
        server.remove()


@pytest.fixture
def serve(pair: Pair, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def start(*arguments: str) -> Server:
        given = ("--database", pair.url, *AGENT, *arguments)
        servers.append(Server(tmp_path / "unused.db", free_port(), FAST, given).start())
        return servers[-1]

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
def work(pair: Pair, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[[], Running]]:
    """A process that only works: it has to see the fail-over by itself."""
    line = CommandLine(FAST, capsys)

    def start() -> Running:
        worker = line.start("worker", "--database", pair.url, *AGENT)
        worker.until_answer("\n")  # it has said that it works
        return worker

    yield start
    line.kill()


async def follow(
    url: str, run_id: str, after: str | None = None, seen: Callable[[], None] | None = None
) -> list[Frame]:
    """What the client that users have hands on. `seen` is called once, while it follows."""
    frames: list[Frame] = []
    async with Client(url) as client:
        async for frame in client.follow(run_id, after):
            frames.append(frame)
            if len(frames) == SEEN and seen is not None:
                await asyncio.to_thread(seen)
    return frames


def words(state: Fields) -> list[str]:
    """What the agent's living messages say."""
    said: list[Fields] = [message for message in state["messages"] if message["role"] != "user"]
    texts: list[str] = [part["text"] for message in said for part in message["parts"] if "text" in part]
    return " ".join(texts).split()


@pytest.mark.parametrize("claimed", [False, True], ids=["claim-lost", "frames-lost"])
def test_who_saw_what_was_lost_is_given_what_is_there(
    pair: Pair, serve: Callable[..., Server], work: Callable[[], Running], *, claimed: bool
) -> None:
    """The run is claimed again under the very epoch that the lost claim had, and says other things at the same seqs."""
    server = serve("--no-worker")
    run = server.post(f"/v1/sessions/{server.session()}/runs", {"agent": "fickle", "input": "go"}).json()
    worker: Running | None = None
    if claimed:
        serve()
        pair.part(rows=8)
    else:
        pair.part(rows=3)
        worker = work()
    url, run_id = server.url, run["run_id"]
    stayed = asyncio.run(follow(url, run_id, seen=pair.fail_over))
    there = fold(asyncio.run(follow(url, run_id))).state()
    left = stayed[:SEEN]  # another reader: it went away at this frame, and comes back when all is over
    returned = [*left, *asyncio.run(follow(url, run_id, left[-1].id))]
    for frames in (stayed, returned):
        assert [frame.data["reason"] for frame in frames if frame.type == "stream.reset"] == ["generation"]
        assert frames[-1].type == "run.completed"
        assert fold(frames).state() == there
    said = words(there)
    assert len(said) == PIECES
    assert len(set(said)) == 1, "what two attempts said was spliced"
    assert not list(breaks(pair.url))
    if worker is not None:
        worker.process.send_signal(signal.SIGTERM)
        assert worker.end().out.count("Reattach works as") == 2, "it works on under another name"
