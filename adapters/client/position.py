"""Where a reader is in its stream, and whether the next frame continues it. No I/O: the judgement alone.

The server must never repeat, skip or splice; the client believes it only as far as it can check. A repeated frame
is dropped, a frame of another history raises StreamSpliced, a gap is for the caller to judge (a run's request_config
may hide frames).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, Final

from ...domain.errors import InvalidCursor
from ...domain.frames import TERMINAL_TYPES
from ...domain.identifiers import Cursor
from .errors import StreamSpliced, UnexpectedAnswer
from .frame import RESET, SNAPSHOT, UNREADABLE, Frame

SESSION_NEWS: Final = ("session.superseded", "session.warning")
"""Said again at each reconnect, for as long as they hold; a reader hears each of them once."""


class Verdict(Enum):
    """What a frame is to this reader."""

    NEXT = auto()
    SEEN = auto()
    GAP = auto()


@dataclass(frozen=True, slots=True)
class Place:
    """The last frame taken. None: not known. `running` says that a frame of this run must follow before another's."""

    run_id: str
    seq: int
    generation: int | None = None
    epoch: int | None = None
    turn: tuple[int, int] | None = None
    running: bool = False


class Position:
    """A reader's place. `run_id` is the run of a run's stream, None on a session's; `cursor` what to resume with."""

    def __init__(self, run_id: str | None, after: str | int | None) -> None:
        self.run_id = run_id
        self.cursor: str | None = after if isinstance(after, str) else None
        self.bare_seq = after if isinstance(after, int) else None
        self._place = _given(run_id, after)
        self._repeated: str | None = None
        self._told: list[Mapping[str, Any]] = []

    def judge(self, frame: Frame) -> Verdict:
        """Whether `frame` comes next. Raises StreamSpliced, or UnexpectedAnswer for a malformed id."""
        if frame.id is None:
            return Verdict.SEEN if frame.data in self._told else Verdict.NEXT
        cursor, first = _cursor(frame)
        if self.run_id is not None and cursor.run_id != self.run_id:
            raise StreamSpliced("A frame of another run came.", expected=self.run_id, cursor=frame.id)
        place = self._place
        if place is None or place.run_id != cursor.run_id:
            return self._judge_beginning(frame, cursor, first, place)
        _check_lineage(place, cursor)
        if cursor.seq <= place.seq:
            return Verdict.SEEN
        return Verdict.NEXT if first <= place.seq + 1 else Verdict.GAP

    def take(self, frame: Frame) -> None:
        """Move on to this frame, which is about to be delivered."""
        if frame.id is not None:
            cursor, _ = _cursor(frame)
            self.cursor = frame.id
            running = frame.type not in TERMINAL_TYPES and frame.type != UNREADABLE
            before = self._place
            place = before if before is not None and before.run_id == cursor.run_id else Place(cursor.run_id, 0)
            turn = _turn(frame) or place.turn
            self._place = Place(cursor.run_id, cursor.seq, cursor.generation, cursor.epoch, turn, running)
        elif frame.type in SESSION_NEWS:
            self._told.append(frame.data)
        elif frame.type == RESET:
            self._place = None
            self._repeated = None
        elif frame.type == SNAPSHOT:
            run_id = frame.data["state"]["run"].get("run_id", self.run_id)
            self._place = Place(run_id, frame.data["seq"]) if run_id is not None else None

    def _judge_beginning(self, frame: Frame, cursor: Cursor, first: int, place: Place | None) -> Verdict:
        """The stream's first frame, or another run's in a session: a run begins at 1, after the one before it."""
        turn = _turn(frame)
        if place is not None and turn is not None and place.turn is not None and turn <= place.turn:
            self._repeated = cursor.run_id
        if cursor.run_id == self._repeated:
            return Verdict.SEEN
        if first != 1:
            raise StreamSpliced("A run's frames began in the middle, and no reset said so.", cursor=frame.id)
        if place is not None and place.running:
            raise StreamSpliced("Another run began before this one had ended.", run_id=place.run_id, cursor=frame.id)
        return Verdict.NEXT


def _given(run_id: str | None, after: str | int | None) -> Place | None:
    """The place that `after` names. A cursor that can't be read here is the server's to judge."""
    if isinstance(after, int) and run_id is not None:
        return Place(run_id, after)
    if not isinstance(after, str):
        return None
    try:
        cursor = Cursor.parse(after)
    except InvalidCursor:
        return None
    if run_id is not None and cursor.run_id != run_id:
        return None  # the server will answer with a reset
    place = Place(cursor.run_id, cursor.seq, cursor.generation, cursor.epoch)
    return place if cursor.seq else replace(place, epoch=None)  # no record stands at seq 0


def _cursor(frame: Frame) -> tuple[Cursor, int]:
    """A frame's cursor and the first seq it stands for."""
    try:
        cursor = Cursor.parse(frame.id or "")
    except InvalidCursor as error:
        raise UnexpectedAnswer("A frame's id is no cursor.", cursor=frame.id) from error
    first = frame.first_seq
    if frame.seq != cursor.seq or first is None:
        raise StreamSpliced("A frame contradicts its own id.", seq=frame.seq, cursor=frame.id)
    return cursor, first


def _turn(frame: Frame) -> tuple[int, int] | None:
    turn, attempt = frame.data.get("turn"), frame.data.get("attempt")
    if frame.type == "run.created" and isinstance(turn, int) and isinstance(attempt, int):
        return turn, attempt
    return None


def _check_lineage(place: Place, cursor: Cursor) -> None:
    """Generations never mix; epochs only rise along a log. Whatever breaks this is another history of the run."""
    rising = True
    if place.epoch is not None:
        step, rise = cursor.seq - place.seq, cursor.epoch - place.epoch
        rising = step * rise >= 0 if step else not rise
    if place.generation not in (None, cursor.generation) or not rising:
        raise StreamSpliced("The frames belong to another history of this run.", seq=place.seq, cursor=str(cursor))
