"""A server begins to stop while a stream is being placed: the reader is told to reconnect, and nothing after it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tests.domain.log import RunLog

from reattach.adapters.http.broadcaster import Broadcaster, StreamTimes
from reattach.adapters.http.stream import RunEvents
from reattach.domain.identifiers import RunId
from reattach.domain.ports import Record, RunView
from reattach.domain.snapshot import Snapshot
from reattach.infrastructure.clock import SystemClock

TIMEOUT_S = 10.0


class Stopping:
    """A store of one run. While `during` is read, the server begins to stop."""

    generation = 1

    def __init__(self, during: str) -> None:
        self.log = RunLog()
        self.log.create()
        self.stop: Callable[[], None] = lambda: None
        self._during = during

    def _read(self, what: str) -> None:
        if what == self._during:
            self.stop()

    async def run_view(self, _: RunId) -> RunView:
        """The run."""
        self._read("run")
        return RunView(self.log.run, self.log.head)

    async def snapshot(self, _: RunId) -> Snapshot:
        """The run, folded."""
        self._read("snapshot")
        return Snapshot.empty()

    async def read(self, _: RunId, after_seq: int, limit_frames: int) -> Sequence[Record]:
        """Its frames one by one."""
        self._read("log")
        lines = self.log.lines[after_seq : after_seq + limit_frames]
        return [Record(seq, 1, (line,)) for seq, line in enumerate(lines, after_seq + 1)]


@pytest.mark.parametrize(("during", "query"), [("run", b""), ("snapshot", b"snapshot=true"), ("log", b"")])
def test_whoever_is_placed_while_the_server_stops_is_told(during: str, query: bytes) -> None:
    bodies = asyncio.run(asyncio.wait_for(streamed(Stopping(during), query), TIMEOUT_S))
    assert b"event: stream.reconnect\n" in bodies[-1][0]
    assert [more for _, more in bodies].count(False) == 1
    assert not bodies[-1][1]


async def streamed(store: Any, query: bytes) -> list[tuple[bytes, bool]]:
    """What a reader is sent: each body, and whether more follows."""
    bodies: list[tuple[bytes, bool]] = []
    over = asyncio.Event()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.body":
            bodies.append((message["body"], message.get("more_body", False)))
            if not bodies[-1][1]:
                over.set()

    async def receive() -> Any:
        await over.wait()
        await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    broadcaster = Broadcaster(store, SystemClock(), StreamTimes())
    store.stop = broadcaster.drain
    application: Any = type("OneStore", (), {"store": store})()
    run = store.log.run
    scope: dict[str, Any] = {
        "type": "http",
        "headers": [],
        "query_string": query,
        "tenant": run.tenant,
        "path_params": {"run_id": run.run_id},
    }
    await RunEvents(application, broadcaster)(scope, receive, send)
    assert broadcaster.held == (0, 0, 0)
    return bodies
