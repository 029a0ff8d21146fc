"""What is said beside the log reaches a reader whose socket is blocked, too: after what blocks it, before the end."""

import asyncio
from collections.abc import MutableMapping
from typing import Any

from reattach.adapters.http.reader import Reader

TIMEOUT_S = 5.0


class Socket:
    """Takes nothing until it is free."""

    def __init__(self) -> None:
        self.free = asyncio.Event()
        self.sent: list[tuple[bytes, bool]] = []

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """An ASGI server's send."""
        if not self.free.is_set():
            await self.free.wait()
        self.sent.append((message["body"], message["more_body"]))


async def parked(*blocks: bytes, farewell: bytes | None = None) -> list[tuple[bytes, bool]]:
    """What a socket gets that is blocked by a first frame while these blocks are interjected."""
    socket, resumed = Socket(), asyncio.Event()
    reader = Reader(socket.send, b"retry: 1\n")

    def then(_: Reader) -> None:
        resumed.set()

    reader.push(b"frame", then=then)
    assert reader.parked
    for block in blocks:
        reader.interject(block, then)
    if farewell is not None:
        reader.finish(farewell)
    socket.free.set()
    async with asyncio.timeout(TIMEOUT_S):
        while not (resumed.is_set() or reader.closed):
            await asyncio.sleep(0)
    return socket.sent


def test_it_follows_what_blocked_the_socket() -> None:
    assert asyncio.run(parked(b"one", b"two")) == [(b"retry: 1\nframe", True), (b"onetwo", True)]


def test_it_comes_before_the_farewell() -> None:
    assert asyncio.run(parked(b"one", farewell=b"bye")) == [(b"retry: 1\nframe", True), (b"onebye", False)]


def test_a_reader_that_has_gone_is_told_nothing() -> None:
    async def gone() -> list[tuple[bytes, bool]]:
        socket = Socket()
        socket.free.set()
        reader = Reader(socket.send, b"")
        reader.close()
        reader.interject(b"one", lambda _: None)
        return socket.sent

    assert asyncio.run(gone()) == []
