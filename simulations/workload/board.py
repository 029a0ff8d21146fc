"""What the people of a world know of each other, and the histories of what they asked and were answered."""

from dataclasses import dataclass, field

from ...domain.identifiers import RunId, SessionId
from ..oracle.histories import Operation


@dataclass(slots=True)
class Known:
    """A run somebody was told of. `key` is the Idempotency-Key it was started with."""

    run_id: RunId
    session_id: SessionId
    key: str


@dataclass(slots=True)
class Board:
    """What clients know of each other: runs, and the histories of what they asked and were answered."""

    runs: list[Known] = field(default_factory=list[Known])
    decisions: dict[tuple[RunId, str], list[Operation]] = field(
        default_factory=dict[tuple[RunId, str], list[Operation]]
    )
    endings: dict[RunId, list[Operation]] = field(default_factory=dict[RunId, list[Operation]])
    authors_left: int = 0
    intruded: set[SessionId] = field(default_factory=set[SessionId])
    """Sessions in which somebody else than their author has started a run."""
