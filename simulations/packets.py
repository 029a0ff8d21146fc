"""The arrows of a timeline: which packet left where, and where it arrived, as far as a trace tells."""

from collections import defaultdict, deque
from typing import Any, Final

from . import words
from .trace import Record

SLANT: Final = 10.0
"""Width of an arrow whose arrival is not on the trace, in units of the picture."""

Packet = dict[str, Any]
"""An arrow: `n`, `exchange`, from lane `a` to lane `b`, from `x0` to `x1`, `label`, `kind`, `bytes`, `lost`."""


class Packets:
    """Matches what was sent with what arrived. Within an exchange, each direction is first in, first out."""

    def __init__(self) -> None:
        self.all: list[Packet] = []
        self._under_way: defaultdict[int, deque[Packet]] = defaultdict(deque)
        self._clients: dict[int, str] = {}

    def request(self, record: Record, place: float, client: str, server: str) -> None:
        """A client asks."""
        self._clients[record["x"]] = client
        path = str(record.get("path")).partition("?")[0].rpartition("/")[2]
        self._leaves(record, place, (client, server), f"{record.get('method')} {path}")

    def reply(self, record: Record, place: float, server: str) -> None:
        """A server sends: the answer's head, a piece of it, or its end. Thus the request has arrived."""
        self.arrive(record, place)
        client = self._clients.get(record["x"])
        if client is None:
            return
        match record["kind"]:
            case "answer":
                label = str(record.get("status"))
            case "send":
                label = words.frames(record["first"], record.get("last")) if record.get("first") else ""
            case _:
                label = "end"
        self._leaves(record, place, (server, client), label)

    def arrive(self, record: Record, place: float) -> None:
        """The request is at the server."""
        queue = self._under_way[record["x"]]
        while queue and queue[0]["kind"] == "request":
            _land(queue.popleft(), place)

    def deliver(self, record: Record, place: float) -> None:
        """A piece is at the client, and whatever was sent before it must be there as well."""
        queue, size = self._under_way[record["x"]], record.get("bytes")
        while queue:
            packet = queue.popleft()
            if size is None or packet["bytes"] == size:
                packet["x1"] = place
                break
            _land(packet, place)

    def lose(self, record: Record, place: float) -> None:
        """The connection is gone, with all that was under way."""
        for packet in self._under_way.pop(record["x"], ()):
            packet["lost"] = True
            _land(packet, place)

    def close(self) -> None:
        """What is still under way is on its way."""
        for queue in self._under_way.values():
            for packet in queue:
                packet["x1"] = packet["x0"] + SLANT

    def _leaves(self, record: Record, place: float, ends: tuple[str, str], label: str) -> None:
        packet = {
            "n": record["n"], "exchange": record["x"], "a": ends[0], "b": ends[1], "x0": place, "x1": None,
            "label": label, "kind": record["kind"], "bytes": record.get("bytes"), "lost": False,
        }  # fmt: skip
        self.all.append(packet)
        self._under_way[record["x"]].append(packet)


def _land(packet: Packet, at_most: float) -> None:
    """It arrived by then, and nobody saw when: a short arrow."""
    packet["x1"] = min(at_most, packet["x0"] + SLANT)
