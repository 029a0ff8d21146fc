"""A server on a real port that does as a test says: whole answers, cut bodies, resets, silence, or nonsense.

Each connection carries one request and takes the next reply of the script. What was asked is kept in `requests`.
"""

import asyncio
import json
import socket
import struct
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from reattach.adapters.client import Client, Frame, Patience

from .ids import CountingIds

End = Literal["clean", "cut", "reset", "silence"]
FAST = Patience(wait_min_s=0.001, wait_max_s=0.02, connect_s=5, answer_s=5, silence_s=5, give_up_s=20)


@dataclass(frozen=True)
class Request:
    """What arrived."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """An answer. `end`: how its body ends; a cut one lacks its last chunk, silence keeps the connection open."""

    body: bytes = b""
    status: int = 200
    content_type: str = "text/event-stream"
    end: End = "clean"
    headers: dict[str, str] = field(default_factory=dict[str, str])
    refuse: bool = False
    """Close without a word instead of answering."""


def answer(fields: Any, status: int = 200, content_type: str = "application/json") -> Reply:
    """A JSON answer."""
    return Reply(json.dumps(fields).encode(), status, content_type)


def problem(status: int, code: str, detail: str = "No.", **fields: Any) -> Reply:
    """A problem document."""
    document = {"type": f"urn:reattach:{code}", "title": code, "status": status, "code": code, "detail": detail}
    return answer(document | fields, status, "application/problem+json")


Script = Sequence[Reply] | Callable[[Request], Reply]


class Wire:
    """The server. A script is a list of replies (the last one is repeated), or a function of the request."""

    def __init__(self, script: Script) -> None:
        self.requests: list[Request] = []
        self.silent = asyncio.Event()
        self.port = 0
        self._script = script
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        """Listen; on the same port again after a `close`."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse connections from now on."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await _read(reader)
            self.requests.append(request)
            if callable(self._script):
                reply = self._script(request)
            else:
                reply = self._script[min(len(self.requests), len(self._script)) - 1]
            if not reply.refuse:
                writer.write(_head(reply))
                if reply.body:
                    writer.write(b"%x\r\n%b\r\n" % (len(reply.body), reply.body))
                await self._end(reply, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _end(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if reply.end == "clean" and reply.status != 204:
            writer.write(b"0\r\n\r\n")
        await writer.drain()
        if reply.end == "silence":
            self.silent.set()
            await reader.read()  # until the client leaves
        elif reply.end == "reset":
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()


@asynccontextmanager
async def wire(*replies: Reply, script: Callable[[Request], Reply] | None = None) -> AsyncGenerator[Wire]:
    """A listening server for the length of a test."""
    server = Wire(script or replies)
    await server.open()
    try:
        yield server
    finally:
        await server.close()


@asynccontextmanager
async def talking(
    *replies: Reply,
    script: Callable[[Request], Reply] | None = None,
    patience: Patience = FAST,
    token: str | None = None,
) -> AsyncGenerator[tuple[Wire, Client]]:
    """A server and a client of it."""
    async with (
        wire(*replies, script=script) as server,
        Client(server.url, token, ids=CountingIds(), patience=patience) as client,
    ):
        yield server, client


async def gather(frames: AsyncIterator[Frame]) -> list[Frame]:
    """All frames up to the end."""
    return [frame async for frame in frames]


async def _read(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    line, *rest = head.rstrip("\r\n").split("\r\n")
    method, target, _ = line.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in rest)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers, body)


def _head(reply: Reply) -> bytes:
    chunked = {} if reply.status == 204 else {"transfer-encoding": "chunked"}
    fields = {"content-type": reply.content_type, "connection": "close", **chunked, **reply.headers}
    lines = [f"HTTP/1.1 {reply.status} Whatever", *(f"{name}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
