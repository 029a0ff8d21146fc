"""A frame as the client hands it on, and the fold of a run's frames to what there is to show."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import from_json

from ...domain.snapshot import Snapshot
from .errors import UnexpectedAnswer
from .sse import Event

RESET: Final = "stream.reset"
SNAPSHOT: Final = "stream.snapshot"
RECONNECT: Final = "stream.reconnect"
UNREADABLE: Final = "stream.error"

_EXCERPT_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Frame:
    """One message of a stream. `data` is the whole frame as it was sent, `type` and `seq` included.

    `id` is the cursor: come back with it as `after`. Frames that are not in the log (stream.reset, stream.snapshot,
    session.superseded, ...) have none. `seq` is None where a frame has no place in a run.
    """

    type: str
    seq: int | None
    id: str | None
    data: Mapping[str, Any]

    @classmethod
    def of(cls, event: Event) -> "Frame":
        """Read one message. Raises UnexpectedAnswer if it is no frame."""
        try:
            data = from_json(event.data)
            kind = data["type"]
            first, seq = (
                (data["first_seq"], data["last_seq"]) if kind == UNREADABLE else (data.get("seq"), data.get("seq"))
            )
            whole = kind != SNAPSHOT or (isinstance(data["state"]["run"], dict) and seq is not None)
        except (ValueError, TypeError, KeyError) as error:
            raise UnexpectedAnswer("The stream holds something that is no frame.", data=_excerpt(event)) from error
        if not (whole and isinstance(kind, str) and isinstance(first, int | None) and isinstance(seq, int | None)):
            raise UnexpectedAnswer("A frame is malformed.", data=_excerpt(event))
        return cls(kind, seq, event.id or None, data)

    @property
    def first_seq(self) -> int | None:
        """The first seq it stands for: its own, except for a stream.error, which stands for a range."""
        first: int | None = self.data["first_seq"] if self.type == UNREADABLE else self.seq
        return first


def fold(frames: Iterable[Frame], snapshot: Snapshot | None = None) -> Snapshot:
    """What one run's frames amount to: status, messages, pending approvals. `snapshot` is what to go on from.

    It is the server's own fold, so the result equals what a `stream.snapshot` at the same seq would say.
    """
    state = Snapshot.empty() if snapshot is None else snapshot
    for frame in frames:
        if frame.type == RESET:
            state = Snapshot.empty()
        elif frame.type == SNAPSHOT:
            state = Snapshot.load(frame.data["state"], frame.data["seq"])
        elif frame.id is not None and frame.type != UNREADABLE:
            state.apply(frame.data)
    return state


def _excerpt(event: Event) -> str:
    return event.data[:_EXCERPT_CHARS]
