"""A reader: one connection's place in a run's log, and the way to its socket.

The broadcaster drives `send` without a task per reader: a send that completes at once costs a function call; one that
blocks parks the reader until its socket drains. A parked reader holds no queue, only its place.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, MutableMapping
from typing import Any, Final

from .sse import KEEPALIVE

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

SEND_BYTES_MAX: Final = 262_144
"""Bytes handed to a socket at once, about: the bound of what a stalled reader can hold."""


class Reader:
    """`seq` is the last frame handed to the socket; `idle` becomes True again at each keepalive tick.

    `preamble` goes in front of the first block. `successor` is called at a terminal frame; without one the stream ends.
    Some servers raise OSError for a client that has gone: the reader is closed then.
    """

    __slots__ = (
        "_aside",
        "_farewell",
        "_send",
        "closed",
        "idle",
        "parked",
        "preamble",
        "seq",
        "stalled_ticks",
        "successor",
        "task",
    )

    def __init__(self, send: Send, preamble: bytes, successor: Callable[["Reader"], None] | None = None) -> None:
        self._send = send
        self.preamble = preamble
        self.successor = successor
        self.seq = 0
        self.closed = False
        self.idle = False
        self.parked = False
        self.stalled_ticks = 0
        self.task: asyncio.Task[None] | None = None
        self._farewell: bytes | None = None
        self._aside = b""

    def push(self, body: bytes, *, last: bool = False, then: Callable[["Reader"], None]) -> None:
        """Send without waiting. If the socket blocks, the reader is parked and `then(self)` called when it is free."""
        self.idle = False
        if self.preamble and body and body is not KEEPALIVE:
            body, self.preamble = self.preamble + body, b""
        if last:
            self.closed = True
        sending: Any = self._send({"type": "http.response.body", "body": body, "more_body": not last})
        try:
            blocked = sending.send(None)
        except StopIteration:
            return
        except OSError:
            self.close()
            return
        self.parked = True
        self.task = asyncio.get_running_loop().create_task(self._unpark(_Rest(sending, blocked), then))

    async def _unpark(self, rest: "_Rest", then: Callable[["Reader"], None]) -> None:
        try:
            await rest
        except OSError:
            self.close()
            return
        self.parked = False
        self.stalled_ticks = 0
        if self._farewell is not None and not self.closed:
            self.push(self._aside + self._farewell, last=True, then=then)
        elif self._aside and not self.closed:
            block, self._aside = self._aside, b""
            self.push(block, then=then)
            if not self.parked:
                then(self)
        else:
            then(self)

    def interject(self, block: bytes, then: Callable[["Reader"], None]) -> None:
        """Send a block that is not of the log, as soon as the socket takes it."""
        if self.closed:
            return
        if self.parked:
            self._aside += block
        else:
            self.push(block, then=then)

    def finish(self, block: bytes) -> None:
        """End the stream with this block (which brings its own preamble), as soon as the socket takes it."""
        if self.closed:
            return
        self.preamble = b""
        if self.parked:
            self._farewell = block
        else:
            self.push(block, last=True, then=_nothing_more)

    async def write(self, body: bytes, *, last: bool = False) -> None:
        """Send and wait until the socket took it (catch-up). Whatever else is to be sent meanwhile waits, too."""
        if self.parked and self.task is not None:
            await asyncio.wait([self.task])  # a keepalive is still on its way: it must not come after the end
        if self.closed:
            return  # it was told goodbye while the store was asked for this
        self.idle = False
        if self.preamble and body and body is not KEEPALIVE:
            body, self.preamble = self.preamble + body, b""
        if last:
            self.closed = True
        self.parked = True
        try:
            await self._send({"type": "http.response.body", "body": body, "more_body": not last})
        except OSError:
            self.close()
        self.parked = False
        self.stalled_ticks = 0
        if self._farewell is not None and not self.closed:
            self.push(self._aside + self._farewell, last=True, then=_nothing_more)
        elif self._aside and not self.closed:
            block, self._aside = self._aside, b""
            await self.write(block)

    def abort(self) -> None:
        """Give up on a socket that takes nothing: closing it politely would wait for it for ever."""
        self.close()
        transport = getattr(getattr(self._send, "__self__", None), "transport", None)
        if transport is not None:
            transport.abort()

    def close(self) -> None:
        """Stop sending; nothing more reaches the socket from here."""
        self.closed = True
        if self.task is not None:
            self.task.cancel()
            self.task = None


def _nothing_more(_: Reader) -> None:
    """What follows a send that was the last."""


class _Rest:
    """The rest of a coroutine that was started by hand and blocked on `blocked`."""

    __slots__ = ("_blocked", "_sending")

    def __init__(self, sending: Coroutine[Any, Any, None], blocked: Any) -> None:
        self._sending = sending
        self._blocked = blocked

    def __await__(self) -> Generator[Any, Any, None]:
        blocked = self._blocked
        while True:
            try:
                value = yield blocked
            except BaseException as error:  # noqa: BLE001  - a cancellation must reach the coroutine we drive
                try:
                    blocked = self._sending.throw(error)
                except StopIteration:
                    return
            else:
                try:
                    blocked = self._sending.send(value)
                except StopIteration:
                    return
