"""A keepalive that blocks a socket: what is committed meanwhile reaches the reader when the socket is free again."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from tests.domain.log import RunLog

from reattach.adapters.http.broadcaster import Broadcaster, StreamTimes
from reattach.adapters.http.reader import Reader
from reattach.adapters.http.sse import KEEPALIVE
from reattach.domain.identifiers import RunId
from reattach.domain.ports import Committed, Record, RunView
from reattach.infrastructure.clock import SystemClock

KEEPALIVE_S = 0.2
TIMEOUT_S = 10.0
FRAME = b'{"type":"text.delta","seq":2,"part":"1.1.1","text":"meanwhile"}'


class OneRun:
    """As much of a store as a feed needs."""

    generation = 1

    def __init__(self) -> None:
        log = RunLog()
        log.create()
        self.view = RunView(log.run, log.head)

    async def run_view(self, _: RunId) -> RunView:
        """The run."""
        return self.view

    def listen(self, _: Any) -> Callable[[], None]:
        """News come from the test."""
        return lambda: None


class Socket:
    """Takes everything at once, except that a keepalive blocks it until `free` is set."""

    def __init__(self, *, slow: bool) -> None:
        self.slow = slow
        self.blocked, self.free, self.framed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def send(self, message: Mapping[str, Any]) -> None:
        """An ASGI server's send."""
        if message["body"] == KEEPALIVE and self.slow:
            self.blocked.set()
            await self.free.wait()
        elif FRAME in message["body"]:
            self.framed.set()


async def blocked_by_a_keepalive() -> None:
    store: Any = OneRun()
    run = store.view.run
    broadcaster = Broadcaster(store, SystemClock(), StreamTimes(keepalive_s=KEEPALIVE_S))
    broadcaster.start()
    feed = await broadcaster.watch(run.run_id)
    assert feed is not None
    prompt, slow = Socket(slow=False), Socket(slow=True)
    for socket in (prompt, slow):  # a round begins with who came last: the prompt one is served after the slow one
        reader = Reader(socket.send, b"")
        reader.seq = feed.head
        broadcaster.enter(reader)
        broadcaster.follow(feed, reader)
    await slow.blocked.wait()
    record = Record(feed.head + 1, run.epoch, (FRAME,))
    broadcaster.committed([Committed(run.run_id, run.session_id, record)])
    await prompt.framed.wait()
    assert not slow.framed.is_set()
    slow.free.set()
    await slow.framed.wait()
    broadcaster.stop()


def test_what_was_committed_while_a_keepalive_blocked_the_socket_follows_it() -> None:
    asyncio.run(asyncio.wait_for(blocked_by_a_keepalive(), TIMEOUT_S))
