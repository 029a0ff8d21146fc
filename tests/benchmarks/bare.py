"""Bare servers that send the same bytes as Reattach and store nothing: what the figures are measured against.

`memory`: a plain ASGI endpoint fed by one broadcaster, woken once per tick, the best a server without a store does.
`starlette`: a StreamingResponse per reader, one frame a send. Both on uvicorn with httptools and uvloop, as Reattach.
"""

import argparse
import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from .agents import bench

WINDOW_FRAMES: Final = 256
"""Frames a producer that never waits may get ahead before readers are served."""

RUN: Final = b"run_01h455vb4pex5vsknk084sn02q"
BLOCK: Final = b'event: text.delta\nid: %b.1.1.%d\ndata: {"type":"text.delta","seq":%d,"part":"1.1.1","text":"%b"}\n\n'
HEADERS: Final = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
BACKLOG: Final = 8192
"""Connections that may wait to be accepted."""


@dataclass(frozen=True)
class Given:
    """The context of the producer: its input."""

    input: Mapping[str, Any]


class Log:
    """The frames of one run, in memory, and the readers that follow it."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []
        self.ended = False
        self.readers: set[Reader] = set()
        self._loop = asyncio.get_running_loop()
        self._woken = False
        self._changed = self._loop.create_future()

    async def produce(self, script: Mapping[str, Any]) -> None:
        """Run the producer of agents.py into this log."""
        async for piece in bench(Given(script)):
            seq = len(self.blocks) + 1
            self.blocks.append(BLOCK % (RUN, seq, seq, piece.text.encode()))
            self._wake()
            if seq % WINDOW_FRAMES == 0:
                await asyncio.sleep(0)
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._woken = False
        changed, self._changed = self._changed, self._loop.create_future()
        changed.set_result(None)
        shared: dict[int, bytes] = {}
        for reader in tuple(self.readers):
            if not reader.parked:
                reader.push(shared)

    async def followed(self) -> AsyncIterator[bytes]:
        """Every block by itself, until the log has ended."""
        position = 0
        while True:
            while position < len(self.blocks):
                yield self.blocks[position]
                position += 1
            if self.ended:
                return
            await self._changed


class Rest:
    """A coroutine that was begun outside of any task, to be finished by one."""

    def __init__(self, coroutine: Coroutine[Any, Any, None], waits_for: object) -> None:
        self._coroutine = coroutine
        self._waits_for = waits_for

    def __await__(self) -> Generator[Any, Any, None]:
        """Hand over what the coroutine waits for, then go on with it."""
        yield self._waits_for
        yield from self._coroutine.__await__()


class Reader:
    """One reader of a log. It is parked while its socket takes no more, and costs no task otherwise."""

    def __init__(self, log: Log, send: Send) -> None:
        self.parked = False
        self._log = log
        self._send = send
        self._position = 0
        self._task: asyncio.Task[None] | None = None

    def push(self, shared: dict[int, bytes]) -> None:
        """Send everything new, joined; `shared` has what readers at the same place were sent."""
        blocks = self._log.blocks
        if self._position == len(blocks) and not self._log.ended:
            return
        body = shared.get(self._position)
        if body is None:
            body = shared[self._position] = b"".join(blocks[self._position :])
        self._position = len(blocks)
        if self._log.ended:
            self._log.readers.discard(self)
        coroutine: Any = self._send({"type": "http.response.body", "body": body, "more_body": not self._log.ended})
        try:
            waits_for = coroutine.send(None)
        except StopIteration:
            return
        self.parked = True
        self._task = asyncio.create_task(self._finish(Rest(coroutine, waits_for)))

    async def _finish(self, rest: Rest) -> None:
        await rest
        self.parked = False
        if self in self._log.readers:
            self.push({})


class Memory:
    """The plain ASGI endpoint of the broadcaster."""

    def __init__(self, logs: list[Log]) -> None:
        self._logs = logs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Follow one log until it ends or the reader leaves."""
        log = self._logs[int(scope["path_params"]["log"])]
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        reader = Reader(log, send)
        log.readers.add(reader)
        reader.push({})
        while (await receive())["type"] != "http.disconnect":
            pass
        log.readers.discard(reader)


def application() -> Starlette:
    """POST /runs starts a producer; GET /memory/N and /starlette/N follow it; GET /healthz is the trivial GET."""
    logs: list[Log] = []
    producers: set[asyncio.Task[None]] = set()

    async def start(request: Request) -> Response:
        logs.append(Log())
        producers.add(asyncio.create_task(logs[-1].produce(json.loads(await request.body()))))
        return JSONResponse({"log": len(logs) - 1})

    async def follow(request: Request) -> Response:
        log = logs[int(request.path_params["log"])]
        headers = {name.decode(): value.decode() for name, value in HEADERS}
        return StreamingResponse(log.followed(), headers=headers)

    async def health(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    return Starlette(
        routes=[
            Route("/runs", start, methods=["POST"]),
            Route("/memory/{log:int}", Memory(logs)),
            Route("/starlette/{log:int}", follow),
            Route("/healthz", health),
        ]
    )


def main() -> None:
    """Serve on a port of the loopback."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port: int = parser.parse_args().port
    uvicorn.run(
        application(),
        port=port,
        http="httptools",
        loop="uvloop",
        access_log=False,
        log_level="warning",
        backlog=BACKLOG,
    )


if __name__ == "__main__":
    main()
