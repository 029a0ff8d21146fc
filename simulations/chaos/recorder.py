"""What readers saw, kept as it came: it is judged when the whole log is known, by the judges of the simulator."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn

from ...adapters.client import Frame, Patience
from ...domain.identifiers import RunId
from ..oracle.delivery import Asked, Delivery, Seen
from ..oracle.following import Following
from ..oracle.log import Log

Mark = Callable[[str], None]

_EVENT: Final = b"event: "
_ID: Final = b"id: "
_DATA: Final = b"data: "


@dataclass(slots=True)
class RecordedDelivery:
    """One connection's bytes, and how it ended: `left` (broken, or the reader went), `nothing` (204) or `ended`."""

    asked: Asked
    who: str
    pieces: list[bytes] = field(default_factory=list[bytes])
    end: str = "left"
    frames: int = 0
    _rest: bytes = b""

    def feed(self, data: bytes) -> list[Seen]:
        """Take bytes; the whole blocks in them, whatever they are worth."""
        self.pieces.append(data)
        *blocks, self._rest = (self._rest + data).split(b"\n\n")
        seen = [block for raw in blocks if (block := _block(raw)) is not None]
        self.frames += sum(block.cursor is not None for block in seen)
        return seen

    def nothing_more(self) -> None:
        """204."""
        self.end = "nothing"

    def ended(self) -> None:
        """The body came to its clean end."""
        self.end = "ended"

    def judge(self, log: Log, mark: Mark) -> None:
        """Raises a Violation."""
        delivery = Delivery(log, self.asked, self.who, mark)
        for piece in self.pieces:
            delivery.feed(piece)
        if self.end == "nothing":
            delivery.nothing_more()
        elif self.end == "ended":
            delivery.ended()


class RecordedFollowing:
    """What one call of `Client.follow` did and handed on."""

    def __init__(self, asked: Asked, who: str) -> None:
        self.asked = asked
        self.who = who
        self.told: list[str] = []
        """What befell it, in short: cursors it came with, breaks, the frames it was handed."""
        self._calls: list[Callable[[Following], None]] = []
        self.frames = 0

    def comes(self, cursor: str | None, seq: int, now: float, wait_s: float, patience: Patience) -> None:
        """It asks for the stream."""
        self.told.append(f"comes with {cursor or seq}")
        self._calls.append(lambda following: following.comes(cursor, seq, now, wait_s, patience))

    def breaks(self, now: float) -> None:
        """A connection of it is over."""
        self.told.append("breaks")
        self._calls.append(lambda following: following.breaks(now))

    def take(self, frame: Frame) -> None:
        """The next frame that whoever iterates gets."""
        self.frames += frame.id is not None
        self.told.append(f"{frame.type} {frame.id or ''}".rstrip())
        self._calls.append(lambda following: following.take(frame))

    def ended(self) -> None:
        """Nothing more comes."""
        self._calls.append(Following.ended)

    def raised(self, error: Exception) -> NoReturn:
        """It gave up: that is wrong whatever the log says. Raises a Violation."""
        Following(Log(), self.asked, self.who).raised(error)

    def judge(self, log: Log) -> None:
        """Raises a Violation."""
        following = Following(log, self.asked, self.who, late_s=math.inf)
        for call in self._calls:
            call(following)


def _block(raw: bytes) -> Seen | None:
    """A block as a lenient reader takes it; the judge is strict. Comments are nothing."""
    kind, cursor, data = "", None, b""
    for line in raw.split(b"\n"):
        if line.startswith(_EVENT):
            kind = line[len(_EVENT) :].decode()
        elif line.startswith(_ID):
            cursor = line[len(_ID) :].decode()
        elif line.startswith(_DATA):
            data = line[len(_DATA) :]
    if not kind:
        return None
    if cursor is None:
        return Seen(kind, None, 0, None, data)
    seq = cursor.rpartition(".")[2]
    return Seen(kind, RunId(cursor.partition(".")[0]), int(seq) if seq.isdecimal() else 0, cursor, data)
