"""The network as the simulator's clients know it, made of real sockets: one connection a request, as HTTP/1.1 says."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from ..exchange import Answer, ConnectionLost, Request
from ..network import Conditions

PIECE_BYTES: Final = 65_536
"""Most bytes that are taken from a socket at once."""

HEAD_BYTES_MAX: Final = 32_768
"""Bytes of an answer's head."""


class Sockets:
    """Servers by name, each behind a port. `headers` are added to every request, by its path."""

    def __init__(
        self,
        ports: Callable[[], Mapping[str, tuple[str, int]]],
        headers: Callable[[str], tuple[tuple[str, str], ...]] = lambda _: (),
    ) -> None:
        self._ports = ports
        self._headers = headers
        self.conditions = Conditions()
        self.opened = 0

    @property
    def nodes(self) -> Mapping[str, tuple[str, int]]:
        """Whom one may ask."""
        return self._ports()

    def open(self, client: str, node: str, request: Request) -> "Connection":
        """Send a request; it is under way once its answer's head is asked for."""
        self.opened += 1
        return Connection(self._ports()[node], request, self._headers(request.path))


class Connection:
    """One request and its answer. A body that was cut short is no end: it raises ConnectionLost."""

    def __init__(self, where: tuple[str, int], request: Request, headers: tuple[tuple[str, str], ...]) -> None:
        self._where = where
        self._request = request
        self._headers = headers
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._left: int | None = None
        """Bytes of the body or of its chunk that are still to come; None: it comes in chunks, and one begins."""
        self._chunked = False
        self._ended = False
        self._closed = False

    async def head(self) -> Answer:
        """The status and the headers. Raises ConnectionLost."""
        try:
            reader, writer = await asyncio.open_connection(*self._where, limit=HEAD_BYTES_MAX)
        except OSError as error:
            raise ConnectionLost("refused") from error
        self._streams = reader, writer
        if self._closed:
            writer.close()
            raise ConnectionLost("closed")
        try:
            writer.write(self._bytes())
            answer = _parsed(await reader.readuntil(b"\r\n\r\n"))
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            raise ConnectionLost("broken") from error
        length = answer.headers.get("content-length")
        self._chunked = answer.headers.get("transfer-encoding") == "chunked"
        self._left = None if self._chunked else int(length or 0)
        self._ended = answer.status == 204
        return answer

    async def read(self) -> bytes:
        """The next bytes of the body; none at its end. Raises ConnectionLost."""
        if self._streams is None:
            raise ConnectionLost("closed")
        if self._ended or self._left == 0:
            return b""
        reader = self._streams[0]
        try:
            if self._left is None:
                self._left = int(await reader.readuntil(b"\r\n"), 16)
                if self._left == 0:
                    await reader.readexactly(2)
                    self._ended = True
                    return b""
            data = await reader.read(min(self._left, PIECE_BYTES))
            if not data:
                raise ConnectionLost("broken")
            self._left -= len(data)
            if self._left == 0 and self._chunked:
                await reader.readexactly(2)
                self._left = None
        except (OSError, EOFError, asyncio.LimitOverrunError) as error:
            raise ConnectionLost("broken") from error
        return data

    def close(self) -> None:
        """Leave."""
        self._closed = True
        if self._streams is not None:
            self._streams[1].close()

    def vanish(self) -> None:
        """Leave without a word: the other end learns of it when it sends."""
        self._closed = True
        if self._streams is not None:
            self._streams[1].transport.abort()

    def _bytes(self) -> bytes:
        request, target = self._request, self._request.path
        target += f"?{request.query}" if request.query else ""
        given = {"Host": f"{self._where[0]}:{self._where[1]}", "Connection": "close", **dict(self._headers)}
        lines = [f"{request.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
        lines += [f"{name}: {value}" for name, value in request.headers if name.lower() not in _OURS]
        if request.body or request.method == "POST":
            lines.append(f"Content-Length: {len(request.body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + request.body


_OURS: Final = ("host", "connection", "content-length")
"""Headers that this file writes itself, whatever a client wants them to be."""


def _parsed(head: bytes) -> Answer:
    first, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return Answer(int(first.split(" ", 2)[1]), headers)
