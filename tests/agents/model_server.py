"""A model provider on a real socket: answers each request with the next recorded stream, or with an error."""

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import from_json, to_json

_TYPE = re.compile(r'"type":"([^"]+)"')
"""The first in an event is the event's own."""

OWN = Path(__file__).parent / "streams"
RECORDED = Path(__file__).parents[3] / "shared" / "data" / "model-streams"
"""Real streams, beside a checkout of the project; they are not part of it."""


@dataclass(frozen=True)
class Reply:
    """One answer. `events` are the JSON of the `data:` lines; after them it may stall, or drop the connection."""

    events: Sequence[str] = ()
    status: int = 200
    body: str = ""
    stalls: bool = False
    drops: bool = False

    @classmethod
    def stream(cls, path: Path) -> "Reply":
        """A file with one JSON event a line."""
        return cls([line for line in path.read_text(encoding="utf-8").splitlines() if line])

    @classmethod
    def error(cls, status: int, **fields: Any) -> "Reply":
        """What both providers answer when they can't: an object `error`."""
        body = {"type": "error", "error": {"type": "some_error", "message": "no", **fields}}
        return cls(status=status, body=to_json(body).decode())


@dataclass
class ModelServer:
    """`requests` are the bodies it was sent, with the route as `route`."""

    replies: list[Reply]
    port: int = 0
    requests: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer, and the connection is closed."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = dict(line.lower().split(": ", 1) for line in head.splitlines()[1:] if line)
        body = await reader.readexactly(int(headers["content-length"]))
        self.requests.append({"route": head.split()[1], **from_json(body)})
        reply = self.replies.pop(0)
        if reply.status == 200:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
            writer.write(b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n")
            blocks = _blocks(reply, self.requests[-1]["route"])
            writer.writelines(b"%x\r\n%b\r\n" % (len(block), block) for block in blocks)
            if not (reply.stalls or reply.drops):
                writer.write(b"0\r\n\r\n")
        else:
            length = len(reply.body.encode())
            writer.write(f"HTTP/1.1 {reply.status} No\r\nContent-Type: application/json\r\n".encode())
            writer.write(f"Connection: close\r\nContent-Length: {length}\r\n\r\n{reply.body}".encode())
        await writer.drain()
        if reply.stalls:
            await reader.read()  # until the client gives up
        writer.close()


@asynccontextmanager
async def serving(*replies: Reply) -> AsyncGenerator[ModelServer, None]:
    """A server with these answers; all of them must be asked for."""
    model = ModelServer(list(replies))
    server = await asyncio.start_server(model.answer, "127.0.0.1")
    model.port = server.sockets[0].getsockname()[1]
    async with server:
        yield model
    assert not model.replies, f"{len(model.replies)} answers were never asked for"


def _blocks(reply: Reply, route: str) -> list[bytes]:
    if route.endswith("/chat/completions"):
        done = [] if reply.stalls or reply.drops else [b"data: [DONE]\n\n"]
        return [*(f"data: {event}\n\n".encode() for event in reply.events), *done]
    return [f"event: {_TYPE.findall(event)[0]}\ndata: {event}\n\n".encode() for event in reply.events]
