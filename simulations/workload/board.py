"""What the people of a world know of each other, and the histories of what they asked and were answered."""

from dataclasses import dataclass, field
from typing import Any

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
    owners_left: int = 0
    shared: list[SessionId] = field(default_factory=list[SessionId])
    """Sessions that owners fight for."""
    handoffs: dict[SessionId, list[str]] = field(default_factory=dict[SessionId, list[str]])
    """The ids of handoffs somebody has asked for."""
    acknowledged: dict[tuple[SessionId, int], str] = field(default_factory=dict[tuple[SessionId, int], str])
    """Which client was told that it owns a session under an epoch."""
    staged: dict[tuple[SessionId, int], list[Any]] = field(default_factory=dict[tuple[SessionId, int], list[Any]])
    """Summaries that somebody tried to stage, by how far they go."""
    intruded: set[SessionId] = field(default_factory=set[SessionId])
    """Sessions in which somebody else than their author has started a run."""
