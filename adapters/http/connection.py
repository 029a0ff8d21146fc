"""A connection within limits: what comes before a body is bounded, and what is no HTTP gets a problem document too.

The server's own protocol keeps a header of any length, and answers what it can't read in plain text. It also sends a
response's head by itself; that of an event stream leaves with its first block.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from ...domain.errors import Malformed
from .problems import HeadTooLarge, problem, status_of

HEAD_BYTES_MAX: Final = 65_536
"""Bytes of a request's URL and headers together, and of what the parser may hold back without a result."""

_EVENT_STREAM: Final = b"\r\ncontent-type: text/event-stream\r\n"
"""Stands in the head of an event stream, and in no other."""


class Connection(HttpToolsProtocol):
    """Pass it to uvicorn as `http=`."""

    _head_bytes = 0
    _unparsed_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Bytes from the client. Every result of the parser shows that it holds nothing back any more."""
        self._unparsed_bytes += len(data)
        super().data_received(data)
        if self._unparsed_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._head_bytes = self._unparsed_bytes
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """A request begins."""
        self._head_bytes = self._unparsed_bytes = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of its URL."""
        self._count(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header, or one trailer."""
        self._count(name + value)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """A request has begun, unless it is an upgrade that is refused."""
        before = self.cycle
        super().on_headers_complete()
        if self.cycle is not before:
            self.cycle.__class__ = _Cycle
            self.cycle.transport = _StreamHead(self.cycle)

    def on_body(self, body: bytes) -> None:
        """A piece of its body, which has a limit of its own."""
        self._unparsed_bytes = 0
        super().on_body(body)

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong and close: what follows can't be told from a request."""
        too_large = self._head_bytes > HEAD_BYTES_MAX
        error = HeadTooLarge(limit=HEAD_BYTES_MAX) if too_large else Malformed(msg)
        response = problem(error)
        lines = [STATUS_LINE[status_of(error)], b"connection: close\r\n"]
        lines += [b"%b: %b\r\n" % header for header in response.raw_headers]
        self.transport.write(b"".join([*lines, b"\r\n", response.body]))
        self.transport.close()

    def _count(self, piece: bytes) -> None:
        self._unparsed_bytes = 0
        self._head_bytes += len(piece)
        if self._head_bytes > HEAD_BYTES_MAX:
            raise HeadTooLarge(limit=HEAD_BYTES_MAX)  # the parser stops, and send_400_response is called


class _Cycle(RequestResponseCycle):
    """A request of ours, which adds nothing to what the server keeps of it."""

    async def send_500_response(self) -> None:
        """The server stops and waits no longer: no answer at all. Whoever asked comes again; after a 500 a browser's
        EventSource would not, and nobody would know that the request may have been carried out."""
        self.response_started = self.response_complete = True
        self.transport.close()


class _StreamHead(asyncio.Transport):
    """A response's transport until its head is sent: a stream's waits for the first block, for a packet less.

    If there is nothing to stream yet, the head leaves at the end of the loop's turn.
    """

    __slots__ = ("_cycle", "_head", "_transport")

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle
        self._transport = cycle.transport
        self._head = b""

    def write(self, data: Any) -> None:
        if not self._head and _EVENT_STREAM in data:
            self._head = data
            asyncio.get_running_loop().call_soon(self._flush)
        else:
            self._cycle.transport = self._transport
            head, self._head = self._head, b""
            self._transport.write(head + data)

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        self._transport.abort()

    def _flush(self) -> None:
        if self._head and not self._transport.is_closing():
            self.write(b"")
