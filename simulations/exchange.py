"""One request and its answer: an ASGI call on the node's side, a response that is read on the client's.

A direction of a connection is first in, first out whatever the schedule does. Either side may go with or without a
word, and a client that does not read stops the node's `send` after a window.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from starlette.types import ASGIApp, Message

from .asgi import Request, scope_of
from .process import ASKED
from .violation import Violation

if TYPE_CHECKING:
    from .network import Network

__all__ = ["Answer", "ConnectionLost", "Exchange", "Request"]

GONE_S: Final = 20.0
"""Seconds after which a node learns that a client has vanished: retransmissions are given up."""


ROUNDING_S: Final = 1e-9
"""Seconds by which a timer may be early."""


class ConnectionLost(Exception):
    """The client's end of a connection broke, or never came to be. `why` is one word."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(why)


@dataclass(slots=True)
class Answer:
    """The head of what comes back."""

    status: int
    headers: dict[str, str] = field(default_factory=dict[str, str])


class Exchange:
    """One request and its answer. `head`, `read`, `close`, `vanish` are the client's; `receive` and `send` ASGI's."""

    def __init__(self, network: "Network", number: int, client: str, node: str, request: Request) -> None:
        self.number = number
        self.client = client
        self.node = node
        self.request = request
        self.link = f"{client}>{node}"
        self._network = network
        self._loop = network.loop
        self._sent: deque[tuple[float, str, Any]] = deque()
        self._arrives_at = 0.0
        self._arrived: deque[tuple[str, Any]] = deque()
        self._unread_bytes = 0
        self._lost: str | None = None
        self._wants: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._room_at: float | None = None
        self._gone: asyncio.Future[None] | None = None
        self._client_gone = False
        self._vanished = False
        self._body_taken = False
        self._ended = False
        self._complete = False
        self.transport = self

    # The client's side.

    async def head(self) -> Answer:
        """The status and the headers. Raises ConnectionLost."""
        kind, value = await self._next()
        if kind != "head":
            raise ConnectionLost("ended")
        answer: Answer = value
        return answer

    async def read(self) -> bytes:
        """The next bytes of the body; b"" at its clean end. Raises ConnectionLost."""
        kind, value = await self._next()
        if kind == "end":
            self._network.live.pop(self.number, None)
            return b""
        body: bytes = value
        self._unread_bytes -= len(body)
        if self._room is not None and self._unread_bytes <= self._network.conditions.window_bytes:
            self._network.loop.call_world(self._network.delay(self.link), self._make_room)
        return body

    async def _next(self) -> tuple[str, Any]:
        while not self._arrived:
            if self._lost is not None:
                raise ConnectionLost(self._lost)
            self._wants = self._loop.create_future()
            await self._wants
        return self._arrived.popleft()

    def close(self) -> None:
        """The client is done with this connection, and says so."""
        if self.number in self._network.live and not self._client_gone:
            self._network.trace.emit("leave", proc=self.client, x=self.number, how="close")
            self._loop.call_world(self._network.delay(self.link), self._leave)
        self._client_gone = True
        self.lose("closed")

    def vanish(self) -> None:
        """The client is gone without a word: half-open until the node's packets come back."""
        if self.number in self._network.live and not self._client_gone:
            self._network.trace.emit("leave", proc=self.client, x=self.number, how="vanish")
            self._vanished = True
            self._loop.call_world(GONE_S, self._leave)

    def mend(self) -> None:
        """The network works again: who waits for room gets it, who has vanished is missed."""
        self._make_room()
        if self._vanished:
            self._leave()

    def lose(self, why: str) -> None:
        """The client's end is broken from now on."""
        if self._lost is None:
            self._lost = why
        if self._client_gone or why != "closed":
            self._arrived.clear()
        self._wake_client()

    def node_died(self, *, silent: bool) -> None:
        """The other end died: the client learns of it by a reset, or not at all."""
        self._ended = True
        self._network.live.pop(self.number, None)
        if not silent:
            self._loop.call_world(self._network.delay(self.link), self._reset, "node died")

    def _reset(self, why: str) -> None:
        if self._lost is None and not (self._arrived and self._arrived[-1][0] == "end"):
            self._network.trace.emit("reset", proc=self.client, x=self.number, why=why)
            self._lost = "reset"
            self._wake_client()

    def _wake_client(self) -> None:
        if self._wants is not None and not self._wants.done():
            self._wants.set_result(None)

    # On the way.

    def arrive_at_node(self) -> None:
        """The request is there: the node's application is called, in the node's own process."""
        held = self._network.held_for(self)
        if held > 0:
            self._loop.call_world(held, self.arrive_at_node)
            return
        serving = self._network.serving(self.node)
        if serving is None:
            self._network.live.pop(self.number, None)
            self._reset("node is down")
            return
        process, app = serving
        self._network.trace.emit("arrive", proc=process.label, x=self.number)
        process.spawn(self._call(app), name=f"{process.label}/x{self.number}")

    def _push(self, kind: str, value: Any) -> None:
        network = self._network
        if self._vanished or self._ended:
            return
        if network.tape.chance(f"net.reset:{self.link}", network.conditions.reset_p):
            self._abort("reset on the way")
            return
        now = self._loop.time()
        self._arrives_at = at = max(self._arrives_at, now + network.delay(self.link))
        if not self._sent or self._sent[-1][0] != at:  # what is sent at once arrives at once
            self._loop.call_world(at - now, self._arrive)
        self._sent.append((at, kind, value))

    def _arrive(self) -> None:
        held = self._network.held_for(self)
        if held > 0:
            self._loop.call_world(held, self._arrive)
            return
        now = self._loop.time() + ROUNDING_S
        while self._sent and self._sent[0][0] <= now:
            _, kind, value = self._sent.popleft()
            if self._lost is None and not self._client_gone:
                if kind == "body":
                    self._network.trace.emit("deliver", proc=self.client, x=self.number, bytes=len(value))
                self._arrived.append((kind, value))
                self._wake_client()

    def _abort(self, why: str) -> None:
        self._ended = True
        self._network.live.pop(self.number, None)
        self._sent.clear()
        self._reset(why)
        self._leave()

    def _leave(self) -> None:
        """The node learns that the client has gone."""
        self._client_gone = True
        self._network.live.pop(self.number, None)
        self._make_room()
        self._tell_node()

    def _tell_node(self) -> None:
        """`receive` has something to say: the exchange is over."""
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)

    def _make_room(self) -> None:
        if self._room_at is not None:
            self._room_at = self._loop.time()
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    @property
    def free_since(self) -> float | None:
        """Since when the node could send more of an answer that it has begun; None if it can't, or need not."""
        full = self._room is not None and not self._room.done()
        return None if full or self._ended or self._client_gone or self._vanished else self._room_at

    # The node's side: ASGI.

    async def _call(self, app: ASGIApp) -> None:
        """Serve the request. An application that raises or returns early has broken the connection, as in a server."""
        raises = self._network.conditions.send_raises
        ASKED.set(f"{self.request.method} {self.request.path}")
        try:
            await app(scope_of(self.request, self.client, self.node, raises=raises), self.receive, self.send)
        except OSError:
            if not self._client_gone:
                raise
        finally:
            if not self._ended:
                self._abort("the application left")

    async def receive(self) -> Message:
        """The body first, then nothing until the client has gone."""
        if not self._body_taken:
            self._body_taken = True
            return {"type": "http.request", "body": self.request.body, "more_body": False}
        if not self._client_gone and not self._ended:
            if self._gone is None or self._gone.done():
                self._gone = self._loop.create_future()
            await self._gone
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Hand a piece of the answer to the network; waits while the client is a window behind."""
        network = self._network
        if self._unread_bytes > network.conditions.window_bytes and not self._client_gone:
            if self._room is None or self._room.done():
                self._room = self._loop.create_future()
            await self._room  # several sends may wait: a piece and a keepalive
        if self._complete and not self._client_gone:
            self._loop.abort(Violation("sent-after-the-end", f"{self.node} sent on {self.request.path} after its end."))
        if self._client_gone or self._ended:
            if network.conditions.send_raises and not self._ended:
                raise OSError("the client has gone")
            return
        if message["type"] == "http.response.start":
            self._start(message)
        else:
            self._body(message)

    def _start(self, message: Message) -> None:
        self._room_at = self._loop.time()
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in message["headers"]}
        self._network.trace.emit("answer", x=self.number, status=message["status"])
        if self._network.tape.chance(f"net.answer-lost:{self.link}", self._network.conditions.answer_lost_p):
            self._abort("answer lost")
            return
        self._push("head", Answer(message["status"], headers))

    def _body(self, message: Message) -> None:
        body = message.get("body", b"")
        if body:
            self._unread_bytes += len(body)
            self._network.trace.emit("send", x=self.number, bytes=len(body))
            self._push("body", body)
        if not message.get("more_body", False):
            self._complete = True
            self._push("end", None)
            self._network.trace.emit("end", x=self.number)
            self._ended = True
            self._tell_node()

    def abort(self) -> None:
        """What a server's transport offers: drop the connection without waiting for anything."""
        self._abort("aborted by the node")
