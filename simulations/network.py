"""The network: who listens where, and how badly packets between clients and nodes are treated.

Packets are late, held by a partition, cut off in the middle; what a connection makes of that is in `exchange.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.types import ASGIApp

from .exchange import ConnectionLost, Exchange, Request
from .loop import SimLoop
from .process import Process
from .tape import Tape
from .trace import Trace

WINDOW_BYTES: Final = 65_536
"""Bytes a server may be ahead of what its client has read: uvicorn's high-water mark."""

LATE_STEPS: Final = 16
"""Steps of lateness a packet may draw; one step is `Conditions.late_s` seconds."""


@dataclass(slots=True)
class Conditions:
    """How the network treats packets. The defaults are a network without trouble."""

    base_s: float = 0.001
    late_s: float = 0.0
    late_density: float = 0.3
    reset_p: float = 0.0
    request_lost_p: float = 0.0
    answer_lost_p: float = 0.0
    silent_p: float = 0.0
    window_bytes: int = WINDOW_BYTES
    send_raises: bool = False
    """What `send` does after the client has gone: nothing (uvicorn), or raise OSError (ASGI 2.4)."""


class Network:
    """Every connection of the world. Nodes `serve`, clients `open`."""

    def __init__(self, loop: SimLoop, tape: Tape, trace: Trace, conditions: Conditions) -> None:
        self.loop = loop
        self.tape = tape
        self.trace = trace
        self.conditions = conditions
        self.exchanges = 0
        self.live: dict[int, Exchange] = {}
        self._serving: dict[str, tuple[Process, ASGIApp]] = {}
        self._cut_until: dict[tuple[str, str], float] = {}

    def serve(self, process: Process, app: ASGIApp) -> None:
        """The process takes requests from now on, until it is down or withdraws."""
        self._serving[process.name] = (process, app)

    def withdraw(self, process: Process) -> None:
        """The process takes no more requests; those under way go on."""
        self._serving.pop(process.name, None)

    def down(self, process: Process) -> None:
        """The process is dead: its ends of connections are gone. Some clients are told, some are not."""
        self.withdraw(process)
        for exchange in list(self.live.values()):
            if exchange.node == process.name:
                exchange.node_died(silent=self.tape.chance(f"net.silent:{exchange.link}", self.conditions.silent_p))

    @property
    def nodes(self) -> list[str]:
        """Who takes requests now."""
        return list(self._serving)

    def cut(self, client: str, node: str, seconds: float) -> None:
        """Nothing passes between the two for so long; what was sent arrives afterwards."""
        self._cut_until[client, node] = self.loop.time() + seconds
        self.trace.emit("cut", a=client, b=node, s=round(seconds, 3), how="hold")

    def mend(self) -> None:
        """All trouble ends now; what servers do after a client has gone stays as it is."""
        self._cut_until.clear()
        self.conditions = Conditions(send_raises=self.conditions.send_raises)
        for exchange in list(self.live.values()):
            exchange.mend()

    def open(self, client: str, node: str, request: Request) -> Exchange:
        """Send a request. Raises ConnectionLost if nobody listens there."""
        self.exchanges += 1
        number = self.exchanges
        shown = {"method": request.method, "path": request.path + (f"?{request.query}" if request.query else "")}
        self.trace.emit("request", proc=client, x=number, to=node, **shown)
        exchange = Exchange(self, number, client, node, request)
        if node not in self._serving:
            self.trace.emit("refused", proc=client, x=number, why="down")
            raise ConnectionLost("refused")
        self.live[number] = exchange
        if self.tape.chance(f"net.request-lost:{exchange.link}", self.conditions.request_lost_p):
            self.trace.emit("reset", proc=client, x=number, why="request lost")
            exchange.lose("reset")
        else:
            self._after(exchange.link, exchange.arrive_at_node)
        return exchange

    def serving(self, node: str) -> tuple[Process, ASGIApp] | None:
        """The process and its application, if the node takes requests."""
        return self._serving.get(node)

    def delay(self, link: str) -> float:
        """Seconds the next packet of this link is under way."""
        conditions = self.conditions
        if conditions.late_s <= 0:
            return conditions.base_s
        late = self.tape.sparse(f"net.late:{link}", LATE_STEPS, conditions.late_density)
        return conditions.base_s + late * conditions.late_s

    def held_for(self, exchange: "Exchange") -> float:
        """Seconds until a partition lets this connection's packets pass; 0 if there is none."""
        until = self._cut_until.get((exchange.client, exchange.node))
        return 0.0 if until is None else max(0.0, until - self.loop.time())

    def _after(self, link: str, callback: Callable[[], None]) -> None:
        self.loop.call_world(self.delay(link), callback)
