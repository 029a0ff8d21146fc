"""A reader's socket takes one thing after the other: what catch-up writes, keepalives, asides, and the goodbye."""

import asyncio
from collections.abc import Mapping
from typing import Any

from reattach.adapters.http.reader import Reader
from reattach.adapters.http.sse import KEEPALIVE

TIMEOUT_S = 10.0
ASIDE, GOODBYE = b"event: session.warning\n\n", b"event: stream.reconnect\n\n"


class Socket:
    """An ASGI server's send that blocks until `free` is set; what came out, in order, and whether it was the last."""

    def __init__(self) -> None:
        self.blocked, self.free = asyncio.Event(), asyncio.Event()
        self.sent: list[tuple[bytes, bool]] = []

    async def send(self, message: Mapping[str, Any]) -> None:
        """Sends that wait go on in the order of their waiting; one that comes later may overtake them."""
        if not self.free.is_set():
            self.blocked.set()
            await self.free.wait()
            await asyncio.sleep(0)
        assert not self.sent or not self.sent[-1][1], "something was sent after the end"
        self.sent.append((message["body"], not message["more_body"]))


def ignore(_: Reader) -> None:
    """Nothing follows."""


async def freed_after(socket: Socket, *waiting: "asyncio.Task[None]") -> list[tuple[bytes, bool]]:
    socket.free.set()
    await asyncio.wait_for(asyncio.gather(*waiting), TIMEOUT_S)
    await asyncio.sleep(0)
    return socket.sent


def test_a_keepalive_that_waits_is_not_sent_after_the_end() -> None:
    """Found by the simulator (seed 2000592): a keepalive between two pages of a slow reader came after its last one."""

    async def story() -> None:
        socket = Socket()
        reader = Reader(socket.send, b"")
        reader.push(KEEPALIVE, then=ignore)
        assert reader.parked
        page = asyncio.create_task(reader.write(b"page", last=True))
        assert await freed_after(socket, page) == [(KEEPALIVE, False), (b"page", True)]

    asyncio.run(story())


def test_whatever_comes_while_a_page_is_written_waits_for_it() -> None:
    async def story() -> None:
        socket = Socket()
        reader = Reader(socket.send, b"")
        page = asyncio.create_task(reader.write(b"page"))
        await socket.blocked.wait()
        assert reader.parked, "no keepalive now"
        reader.interject(ASIDE, ignore)
        reader.finish(GOODBYE)
        assert await freed_after(socket, page) == [(b"page", False), (ASIDE + GOODBYE, True)]
        await reader.write(b"another page")
        assert socket.sent[-1] == (ASIDE + GOODBYE, True)

    asyncio.run(story())


def test_an_aside_follows_the_page_it_waited_for() -> None:
    async def story() -> None:
        socket = Socket()
        reader = Reader(socket.send, b"")
        page = asyncio.create_task(reader.write(b"page"))
        await socket.blocked.wait()
        reader.interject(ASIDE, ignore)
        assert await freed_after(socket, page) == [(b"page", False), (ASIDE, False)]
        assert not reader.parked

    asyncio.run(story())
