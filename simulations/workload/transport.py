"""httpx over the simulated network: the Python client's requests become exchanges, its time-outs virtual seconds."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from typing import Final
from uuid import UUID
from zlib import crc32

import httpx

from ...adapters.client import Patience
from ..exchange import ConnectionLost, Request
from ..tape import Tape
from .client import Client
from .place import Exchanging

UNAVAILABLE: Final = 503

RETRY_AFTER: Final = "1"
"""Seconds after which whoever got a 503 may come again: longer than the service itself asks for."""

PROXY_P: Final = 0.2
"""Part of the streams that are refused by what stands before the service."""

BARRED_P: Final = 0.3
"""Part of what a client asks beside its streams that is refused there, until it gives the question up."""

ATTEMPTS: Final = Patience().attempts_max
"""How often a client asks before it gives a question up."""

_SOURCES: Final = (1 << 30) - 1
_EVENTS = "/events"


class Wire(httpx.AsyncBaseTransport):
    """One program's way to the service. `asks` and `over` are told of each request for a stream, and of its end.

    `asked_s` is how long the server has told it to stay away after a break (`retry:`, or for once `Retry-After`),
    `heard_at` when it last sent a byte of a stream.
    """

    def __init__(
        self, client: Client, asks: Callable[[Request], None], over: Callable[[], None], vanishes: Callable[[], bool]
    ) -> None:
        self._retry_s = 0.0
        self._once_s: float | None = None
        self._bars = 0
        self.heard_at = 0.0
        self.client = client
        self._asks = asks
        self.over = over
        self.vanishes = vanishes

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it somewhere, and wait for the head of the answer. Raises what httpx raises of a broken connection."""
        asked = _asked(request)
        streams = asked.path.endswith(_EVENTS)
        if streams:
            self._asks(asked)
            self._once_s = None
        if streams and self._refused():
            self.over()
            return httpx.Response(UNAVAILABLE, headers={"Retry-After": RETRY_AFTER})
        if asked.method == "GET" and not streams and self._barred():
            return httpx.Response(UNAVAILABLE)
        read_s = request.extensions["timeout"]["read"]
        body = _Body(self, None, read_s, streams=streams)
        try:
            body.exchange = self.client.open(asked)
            async with _within(read_s):
                head = await body.exchange.head()
        except BaseException as error:
            await body.aclose()
            if isinstance(error, ConnectionLost):
                raise _broken(error) from error
            if isinstance(error, TimeoutError):
                raise httpx.ReadTimeout("no answer") from error
            raise
        return httpx.Response(head.status, headers=head.headers, stream=body)

    def _refused(self) -> bool:
        """Whether what stands before the service answers in its place, while the network makes trouble."""
        refused = self._intercepted("proxy", PROXY_P)
        if refused:
            self._once_s = float(RETRY_AFTER)
        return refused

    def _barred(self) -> bool:
        """Whether it does so with a question, as often as that is repeated."""
        if not self._bars and self._intercepted("barred", BARRED_P):
            self._bars = ATTEMPTS
        barred = self._bars > 0
        self._bars -= barred
        return barred

    def _intercepted(self, what: str, p: float) -> bool:
        world = self.client.world
        troubled = world.network.conditions.reset_p > 0
        return world.tape.chance(f"net.{what}:{self.client.name}", p if troubled else 0.0)

    def begin(self) -> None:
        """Another call of `follow` begins, which knows nothing of the one before."""
        self._retry_s, self._once_s = 0.0, None
        self.heard_at = self.client.world.loop.time()

    @property
    def asked_s(self) -> float:
        """Seconds."""
        return self._retry_s if self._once_s is None else self._once_s

    def heard(self, data: bytes) -> None:
        """A piece of a stream has arrived."""
        self.heard_at = self.client.world.loop.time()
        if data.startswith(b"retry: "):
            self._retry_s = int(data[7 : data.index(b"\n")]) / 1000


class _Body(httpx.AsyncByteStream):
    """What is read of one exchange until it is closed, whoever closes it."""

    def __init__(self, wire: Wire, exchange: Exchanging | None, read_s: float | None, *, streams: bool) -> None:
        self.exchange = exchange
        self._wire = wire
        self._read_s = read_s
        self._streams = streams

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.exchange is not None:
            try:
                async with _within(self._read_s):
                    data = await self.exchange.read()
            except ConnectionLost as lost:
                raise _broken(lost) from lost
            except TimeoutError as silent:
                raise httpx.ReadTimeout("silence") from silent
            if not data:
                return
            if self._streams:
                self._wire.heard(data)
            yield data

    async def aclose(self) -> None:
        """Leave, with or without a word."""
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            if self._streams and self._wire.vanishes():
                exchange.vanish()
            else:
                exchange.close()
        if self._streams:
            self._streams = False
            self._wire.over()


class TapeIds:
    """Ids of a client, no other's. Their tails, of which it makes its jitter, are drawn: 0 is to wait no longer than
    asked."""

    def __init__(self, tape: Tape, name: str) -> None:
        self._tape = tape
        self._name = name
        self._serial = 0
        self._source = (crc32(name.encode()) & _SOURCES) << 32

    def uuid(self) -> UUID:
        """Another one."""
        self._serial += 1
        tail = self._tape.draw(f"program.jitter:{self._name}", 16) << 28
        return UUID(int=self._serial << 80 | 0x7 << 76 | 0b10 << 62 | self._source | tail)


def _asked(request: httpx.Request) -> Request:
    url = request.url
    headers = tuple((name.decode(), value.decode("latin-1")) for name, value in request.headers.raw)
    return Request(
        request.method, url.path, url.query.decode(), headers, request.content if request.method == "POST" else b""
    )


def _within(seconds: float | None) -> asyncio.Timeout:
    return asyncio.timeout(None if seconds is None or math.isinf(seconds) else seconds)


def _broken(lost: ConnectionLost) -> httpx.RequestError:
    if lost.why in ("refused", "nobody listens"):
        return httpx.ConnectError(lost.why)
    return httpx.ReadError(lost.why)
