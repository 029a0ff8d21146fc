"""What clients need of the world they live in: simulated, or made of real processes and sockets."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, Protocol

from ...adapters.client import Frame, Patience
from ..exchange import Answer, Request
from ..network import Conditions
from ..oracle.delivery import Asked, Seen
from ..oracle.log import Log
from ..tape import Tape


class Exchanging(Protocol):
    """A request and its answer, as the client has them: simulated, or over a real socket."""

    async def head(self) -> Answer:
        """The status and the headers. Raises ConnectionLost."""
        ...

    async def read(self) -> bytes:
        """The next bytes of the body; none at its end. Raises ConnectionLost."""
        ...

    def close(self) -> None:
        """Leave."""
        ...

    def vanish(self) -> None:
        """Leave without a word."""
        ...


class Ways(Protocol):
    """The network, as clients have it."""

    @property
    def nodes(self) -> Iterable[str]:
        """Whom one may ask."""
        ...

    @property
    def conditions(self) -> Conditions:
        """What it does to packets by itself."""
        ...

    def open(self, client: str, node: str, request: Request) -> Exchanging:
        """Send a request. Raises ConnectionLost."""
        ...


class Emits(Protocol):
    """Where clients tell what they do."""

    def emit(self, kind: str, /, *, proc: str | None = None, **fields: Any) -> None:
        """Record an event."""
        ...


class Timed(Protocol):
    """The loop, as clients have it: seconds since the world began."""

    def time(self) -> float:
        """Now."""
        ...

    def call_later(self, delay: float, callback: Callable[[], object], /) -> object:
        """Call it after a while."""
        ...


class Delivering(Protocol):
    """Who takes what a connection brings."""

    def feed(self, data: bytes) -> list[Seen]:
        """Take bytes; the whole blocks in them."""
        ...

    def nothing_more(self) -> None:
        """204."""
        ...

    def ended(self) -> None:
        """The body came to its clean end."""
        ...


class Follows(Protocol):
    """Who takes what the Python client does and hands on."""

    def comes(self, cursor: str | None, seq: int, now: float, wait_s: float, patience: Patience) -> None:
        """It asks for the stream."""
        ...

    def breaks(self, now: float) -> None:
        """A connection of it is over."""
        ...

    def take(self, frame: Frame) -> None:
        """The next frame that whoever iterates gets."""
        ...

    def ended(self) -> None:
        """Nothing more comes."""
        ...

    def raised(self, error: Exception) -> NoReturn:
        """It gave up."""
        ...


class Place(Protocol):
    """What clients need of their world."""

    tape: Tape
    log: Log

    @property
    def loop(self) -> Timed: ...
    @property
    def trace(self) -> Emits: ...
    @property
    def network(self) -> Ways: ...
    @property
    def watchdog(self) -> bool: ...

    @property
    def healed(self) -> bool:
        """Whether the faults are over."""
        ...

    def delivery(self, asked: Asked, who: str) -> Delivering:
        """Who judges a connection's stream, at once or later."""
        ...

    def following(self, asked: Asked, who: str) -> Follows:
        """Who judges what the Python client makes of its connections."""
        ...

    def mark(self, name: str) -> None:
        """Something interesting was reached."""
        ...

    def spawn(self, name: str, work: Any) -> asyncio.Task[None]:
        """Another task of a client. What it raises ends the world."""
        ...
