"""A client that speaks plain HTTP over the simulated network: it retries, and judges every answer."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import from_json, to_json

from ..exchange import Answer, ConnectionLost, Request
from ..violation import Violation
from .place import Exchanging, Place

ANSWER_S: Final = 4.0
"""Seconds a client waits for an answer before it takes the connection for dead."""

RETRY_S: Final = 0.3
"""Seconds between two tries."""

TRIES_MAX: Final = 200
"""Tries of one request before the client says that the service does not come back."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer in full, and between which instants it was given."""

    status: int
    body: Any
    headers: Mapping[str, str]
    called: float
    returned: float

    @property
    def code(self) -> str | None:
        """The code of a problem document."""
        problem: Any = self.body
        return problem.get("code") if isinstance(self.body, dict) and self.status >= 400 else None


class Client:
    """One person or program. `name` is its place on the tape and in the trace."""

    def __init__(self, world: Place, name: str) -> None:
        self.world = world
        self.name = name
        self._keys = 0

    def new_key(self) -> str:
        """A fresh Idempotency-Key."""
        self._keys += 1
        return f"{self.name}-{self._keys}"

    def act(self, does: str, **fields: Any) -> None:
        """Tell the trace what this client decides to do."""
        self.world.trace.emit("act", proc=self.name, does=does, **fields)

    def node(self) -> str | None:
        """The node the next request goes to: any that takes requests."""
        nodes = sorted(self.world.network.nodes)
        if not nodes:
            return None
        return nodes[self.world.tape.draw(f"client.route:{self.name}", len(nodes))] if len(nodes) > 1 else nodes[0]

    def open(self, request: Request) -> Exchanging:
        """Send a request somewhere. Raises ConnectionLost."""
        node = self.node()
        if node is None:
            raise ConnectionLost("nobody listens")
        return self.world.network.open(self.name, node, request)

    @asynccontextmanager
    async def exchange(self, request: Request) -> AsyncGenerator[Exchanging]:
        """A request and its answer, as far as it comes in time. Raises ConnectionLost: the outcome is unknown then."""
        exchange = self.open(request)
        try:
            async with asyncio.timeout(ANSWER_S):
                yield exchange
        except TimeoutError:
            raise ConnectionLost("no answer") from None
        finally:
            exchange.close()

    async def once(self, request: Request) -> Reply:
        """One try. Raises ConnectionLost."""
        loop = self.world.loop
        called = loop.time()
        async with self.exchange(request) as exchange:
            head = await exchange.head()
            body = await whole(exchange)
        reply = Reply(head.status, from_json(body) if body else None, head.headers, called, loop.time())
        self.judge(request, reply)
        return reply

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: tuple[tuple[str, str], ...] = (),
        unknown: Callable[[], None] = lambda: None,
    ) -> Reply:
        """Try until there is an answer other than 503. `unknown` is called after a try whose outcome is not known.

        A repeat is safe by the service's own promises: an Idempotency-Key, or an answer with the actual state.
        """
        request = asking(method, path, body, key, headers)
        for _ in range(TRIES_MAX):
            try:
                reply = await self.once(request)
            except ConnectionLost as lost:
                if lost.why != "refused":
                    unknown()
            else:
                if reply.status != 503:
                    return reply
                unknown()
            await asyncio.sleep(RETRY_S)
        raise Violation("not-answered", f"{self.name}: {method} {path} got no answer in {TRIES_MAX} tries.")

    def judge(self, request: Request, reply: Reply) -> None:
        """What every answer has to be."""
        what = f"{self.name}: {request.method} {request.path} was answered {reply.status}"
        mismatch = reply.code == "idempotency_mismatch"  # a client that tries it on purpose looks at that itself
        if (reply.status in (500, 405, 422) and not mismatch) or (reply.status >= 400 and reply.code is None):
            raise Violation("answer-wrong", f"{what}: {reply.body}", status=reply.status)


def asking(
    method: str, path: str, body: Any = None, key: str | None = None, headers: tuple[tuple[str, str], ...] = ()
) -> Request:
    """A request with a JSON body."""
    path, _, query = path.partition("?")
    if method == "POST":
        headers = (("Content-Type", "application/json"), *headers)
    if key is not None:
        headers = (*headers, ("Idempotency-Key", key))
    return Request(method, path, query, headers, b"" if body is None else to_json(body))


async def whole(exchange: Exchanging) -> bytes:
    """The rest of an answer's body. Raises ConnectionLost."""
    pieces: list[bytes] = []
    while piece := await exchange.read():
        pieces.append(piece)
    return b"".join(pieces)


__all__ = ["Answer", "Client", "Place", "Reply", "asking", "whole"]
