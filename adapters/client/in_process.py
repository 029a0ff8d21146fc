"""A server in this process instead of behind a socket: the same requests, the same answers, and streams that stream.

    async with Client("http://here", transport=InProcess(service.app)) as client: ...

httpx's own ASGITransport hands an answer on when it is complete, which a stream never is.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final

import httpx

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

PIECES_MAX: Final = 16
"""Pieces of an answer that wait for their reader; then the application waits, as it does for a full socket."""


class InProcess(httpx.AsyncBaseTransport):
    """Requests to an ASGI application on this event loop. Its lifespan is its owner's business."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Call the application; the answer as soon as it has begun."""
        exchange = _Exchange(await request.aread(), request.extensions.get("timeout", {}).get("read"))
        exchange.begin(self._app, _scope(request))
        try:
            status, headers = await exchange.head()
        except BaseException:
            await exchange.aclose()
            raise
        return httpx.Response(status, headers=headers, stream=exchange, request=request)


class _Exchange(httpx.AsyncByteStream):
    """One request and its answer, piece by piece. `read_s` is how long the next piece may take."""

    def __init__(self, body: bytes, read_s: float | None) -> None:
        self._body: bytes | None = body
        self._read_s = read_s
        self._head: asyncio.Future[tuple[int, list[tuple[bytes, bytes]]]] = asyncio.get_running_loop().create_future()
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(PIECES_MAX)
        self._left = asyncio.Event()
        self._complete = False
        self._task: asyncio.Task[None] | None = None

    def begin(self, app: App, scope: Message) -> None:
        """Let the application answer."""
        self._task = asyncio.get_running_loop().create_task(self._answer(app, scope))

    async def head(self) -> tuple[int, list[tuple[bytes, bytes]]]:
        """Status and headers. Raises what the application raised, or httpx's ReadTimeout."""
        async with _limited(self._read_s):
            return await self._head

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            async with _limited(self._read_s):
                piece = await self._pieces.get()
            if piece is None:
                break
            yield piece
        if not self._complete:
            message = "the application broke off"
            raise httpx.RemoteProtocolError(message)

    async def aclose(self) -> None:
        """Leave: the application is told as it would be by a closed socket."""
        self._left.set()
        while not self._pieces.empty():
            self._pieces.get_nowait()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([self._task])

    async def _answer(self, app: App, scope: Message) -> None:
        try:
            await app(scope, self._receive, self._send)
        except Exception as error:  # noqa: BLE001  - whatever it is, the caller's request has failed with it
            if not self._head.done():
                self._head.set_exception(error)
        if not self._head.done():
            self._head.set_exception(httpx.RemoteProtocolError("the application did not answer"))
        if not self._complete:
            await self._pieces.put(None)

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if self._left.is_set():
            why = "the client has left"
            raise OSError(why)  # as ASGI 2.4 has it
        if message["type"] == "http.response.start":
            self._head.set_result((message["status"], list(message.get("headers", ()))))
            return
        if message.get("body"):
            await self._pieces.put(bytes(message["body"]))
        if not message.get("more_body"):
            self._complete = True
            await self._pieces.put(None)


@contextlib.asynccontextmanager
async def _limited(read_s: float | None) -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(read_s):
            yield
    except TimeoutError as error:
        message = "the application fell silent"
        raise httpx.ReadTimeout(message) from error


def _scope(request: httpx.Request) -> Message:
    url = request.url
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": url.raw_path.partition(b"?")[0],
        "query_string": url.query,
        "root_path": "",
        "server": (url.host, url.port),
        "client": None,
    }
