"""What the oracle knows of runs and sessions, folded from the frames alone."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from ...domain.identifiers import JobId, RunId, SessionId
from ..fold import Fold
from .approvals import Approvals
from .grammar import Grammar
from .log import RunLog

PENDING: Final = "pending"
RUNNING: Final = "running"
WAITING: Final = "waiting_for_approval"
FINAL: Final = frozenset({"completed", "failed", "cancelled"})


class Moment(NamedTuple):
    """What a run was from this seq on."""

    seq: int
    status: str
    epoch: int
    worker: str | None


@dataclass(slots=True)
class SessionState:
    """A session as its runs' frames tell it. `created` counts its runs' turns, `turns` those that have begun; `parts`
    are all part ids ever given in it.
    """

    session_id: SessionId
    active: RunId | None = None
    turns: int = 0
    created: int = 0
    attempt: int = 0
    parts: set[bytes] = field(default_factory=set[bytes])


@dataclass(slots=True)
class RunState:
    """A run as its frames tell it. `moments` are its transitions; `saved` is the last checkpoint that came with an
    append: its seq and its state. `look_at` is the seq from which on its snapshot is looked at again, `fold` is what
    the whole log was folded to then.

    `lease` is what the store had granted when the last commit that could change it was done.
    """

    log: RunLog
    session: SessionState
    job_id: JobId
    turn: int
    attempt: int
    grammar: Grammar
    approvals: Approvals
    moments: list[Moment]
    takeovers: int = 0
    waits: int = 0
    lease: datetime | None = None
    saved: tuple[int, bytes] | None = None
    look_at: int = 0
    fold: Fold = field(default_factory=Fold)

    @property
    def run_id(self) -> RunId:
        return self.log.run_id

    @property
    def now(self) -> Moment:
        """What it is."""
        return self.moments[-1]

    def at(self, seq: int) -> Moment | None:
        """What it was when its log ended at `seq`."""
        return next((moment for moment in reversed(self.moments) if moment.seq <= seq), None)

    def since(self, seq: int) -> list[Moment]:
        """Everything it was from the moment its log ended at `seq` until now."""
        first = next((n for n in range(len(self.moments) - 1, -1, -1) if self.moments[n].seq <= seq), 0)
        return self.moments[first:]
