"""The fault proxy does what networks do, and otherwise passes every byte."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from reattach.simulations.chaos.proxy import Link
from reattach.simulations.chaos.sockets import Sockets
from reattach.simulations.exchange import ConnectionLost, Request

TIMEOUT_S = 30
NEVER_S = 0.2
"""Seconds in which nothing is expected to come."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def echoing(lose: Callable[[bytes], bool] = lambda _: False) -> AsyncGenerator[tuple[Link, list[bytes]], None]:
    """A server that repeats what it hears, behind a link; and what it has heard."""
    heard: list[bytes] = []

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1000):
                heard.append(data)
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    link = Link(lambda: ("127.0.0.1", port), lose)
    await link.open()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            yield link, heard
    finally:
        await link.close()
        server.close()


async def said(streams: Streams, text: bytes) -> bytes:
    streams[1].write(text)
    return await streams[0].readexactly(len(text))


async def connected(link: Link) -> Streams:
    return await asyncio.open_connection("127.0.0.1", link.port)


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await work()

    asyncio.run(main())


def test_it_passes_everything_both_ways() -> None:
    async def work() -> None:
        async with echoing() as (link, _):
            streams = await connected(link)
            text = bytes(range(256)) * 2_000
            streams[1].write(text)
            streams[1].write_eof()
            assert await streams[0].read(-1) == text
            streams[1].close()

    run(work)


def test_a_cut_is_an_end_and_a_reset_is_none() -> None:
    async def work() -> None:
        async with echoing() as (link, _):
            one = await connected(link)
            assert await said(one, b"x") == b"x"
            assert link.cut() == 1
            assert await one[0].read() == b""
            two = await connected(link)
            assert await said(two, b"x") == b"x"
            assert link.reset() == 1
            with pytest.raises(ConnectionResetError):
                await two[0].read()
            for _, writer in (one, two):
                writer.close()

    run(work)


def test_in_silence_nothing_passes_and_nobody_is_told() -> None:
    async def work() -> None:
        async with echoing() as (link, heard):
            streams = await connected(link)
            assert await said(streams, b"x") == b"x"
            link.silence()
            streams[1].write(b"lost")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(NEVER_S):
                    await streams[0].read(1)
            assert heard == [b"x"]
            link.calm()
            with pytest.raises(ConnectionResetError):
                await streams[0].read(1)
            again = await connected(link)
            assert await said(again, b"y") == b"y"
            for _, writer in (streams, again):
                writer.close()

    run(work)


def test_an_answer_that_is_lost_was_given() -> None:
    async def work() -> None:
        async with echoing(lambda piece: piece == b"do it") as (link, heard):
            streams = await connected(link)
            assert await said(streams, b"look") == b"look"
            streams[1].write(b"do it")
            with pytest.raises(ConnectionResetError):
                await streams[0].read(1)
            assert heard == [b"look", b"do it"]
            streams[1].close()

    run(work)


def test_slow_is_not_wrong() -> None:
    async def work() -> None:
        async with echoing() as (link, _):
            link.weather.slow_s = 0.001
            streams = await connected(link)
            text = bytes(range(256)) * 20
            assert await said(streams, text) == text
            streams[1].close()

    run(work)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\n !!\r\n0\r\n\r\n"
COUNTED = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhello !!"


@pytest.mark.parametrize("answer", [CHUNKED, COUNTED])
def test_a_body_that_is_cut_short_is_no_end(answer: bytes) -> None:
    """After every byte of the answer: a client of the chaos must know a cut when it sees one."""

    async def work() -> None:
        cut = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer[:cut])
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        where = ("127.0.0.1", server.sockets[0].getsockname()[1])
        sockets = Sockets(lambda: {"n0": where})
        for cut in range(len(answer) + 1):
            connection = sockets.open("c", "n0", Request("GET", "/", "", (), b""))
            got, ended = b"", False
            try:
                assert (await connection.head()).status == 200
                while data := await connection.read():
                    got += data
                ended = True
            except ConnectionLost:
                pass
            connection.close()
            assert ended == (cut == len(answer)), cut
            assert b"hello !!".startswith(got)
        server.close()

    run(work)
