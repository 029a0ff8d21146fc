"""What one record of a run may consist of, from which state, to which: the machine as its readers see it.

It is written beside `domain.transitions` on purpose: that table is under test.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from .state import PENDING, RUNNING, WAITING


class Shape(NamedTuple):
    """A record of facts: from which states, to which; whether it raises the epoch."""

    sources: tuple[str, ...]
    target: str
    claims: bool = False


_ACTIVE: Final = (PENDING, RUNNING, WAITING)
_REQUESTED: Final = "approval.requested"
_DECIDED: Final = "approval.decided"
SHAPES: Final[Mapping[tuple[str, ...], Shape]] = {
    ("run.created",): Shape((), PENDING),
    ("run.claimed",): Shape((PENDING,), RUNNING, claims=True),
    ("run.claimed", "step.reset"): Shape((RUNNING,), RUNNING, claims=True),
    ("run.released",): Shape((RUNNING,), PENDING),
    ("run.released", "step.reset"): Shape((RUNNING,), PENDING),
    (_REQUESTED, "run.suspended"): Shape((RUNNING,), WAITING),
    (_DECIDED,): Shape((WAITING,), WAITING),
    (_DECIDED, "run.resumed"): Shape((WAITING,), PENDING),
    ("run.completed",): Shape((RUNNING,), "completed"),
    ("run.failed",): Shape(_ACTIVE, "failed"),
    (_DECIDED, "run.failed"): Shape((WAITING,), "failed"),
    ("run.cancelled",): Shape(_ACTIVE, "cancelled"),
    (_DECIDED, "run.cancelled"): Shape((WAITING,), "cancelled"),
}
"""What one record may consist of (frames of one type in a row count once), and what it does to the run."""


def squeezed(kinds: Sequence[str]) -> tuple[str, ...]:
    """The types in order; a row of requests or decisions counts once."""
    rows = (_REQUESTED, _DECIDED)
    return tuple(k for n, k in enumerate(kinds) if n == 0 or k != kinds[n - 1] or k not in rows)
