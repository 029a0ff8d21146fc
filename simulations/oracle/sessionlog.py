"""What the oracle knows of sessions, folded from their facts: who owned which when, what waits, what was remembered.

Clients judge their answers by it: an answer must have been right at some instant between the call and its return.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from ...domain.identifiers import RunId, SessionId

OPEN = "open"
FINALIZED = "finalized"
DELETED = "deleted"


class Change(NamedTuple):
    """What a session was from this second of the world on."""

    at: float
    owner: str | None
    epoch: int
    active: RunId | None
    status: str
    begun: int
    """Turns that have begun."""


@dataclass(slots=True)
class Handing:
    """A handoff: who lets go, up to which turn, until when. `outcome` is None while it can still go either way."""

    handoff_id: str
    source: str
    barrier: int
    expires_at: datetime
    ready: bool = False
    outcome: str | None = None


@dataclass(slots=True)
class Claim:
    """The right to summarize the memories up to `through`."""

    token: str
    through: int
    expires_at: datetime
    staged: bool = False


@dataclass(slots=True)
class SessionLog:
    """One session. `turns` are its runs in the order in which their turns began, `queue` those that wait for theirs,
    `withdrawn` those of them that were cancelled; `hashes` are its memory's, `owners` who was given which epoch,
    `warning` the code it stands in for another with.

    `lease` is what the store had granted its owner when the last commit was done.
    """

    session_id: SessionId
    status: str = OPEN
    owner: str | None = None
    epoch: int = 0
    lease: datetime | None = None
    active: RunId | None = None
    active_at: datetime | None = None
    how: str = ""
    """How its owner came: resumed, taken_over or handed_over."""
    warning: str | None = None
    watermark: int = 0
    handing: Handing | None = None
    claim: Claim | None = None
    turns: list[RunId] = field(default_factory=list[RunId])
    queue: list[RunId] = field(default_factory=list[RunId])
    withdrawn: list[RunId] = field(default_factory=list[RunId])
    hashes: list[str] = field(default_factory=list[str])
    wishes: dict[str, int] = field(default_factory=dict[str, int])
    owners: dict[int, str] = field(default_factory=dict[int, str])
    handoffs: dict[str, Handing] = field(default_factory=dict[str, Handing])
    changes: list[Change] = field(default_factory=list[Change])

    def note(self, at: float) -> None:
        """Something has changed."""
        self.changes.append(Change(at, self.owner, self.epoch, self.active, self.status, len(self.turns)))

    def during(self, called: float, returned: float) -> list[Change]:
        """Everything it was at some instant between these."""
        within = [change for change in self.changes if called <= change.at <= returned]
        before = [change for change in self.changes if change.at < called]
        return before[-1:] + within

    @property
    def handing_off(self) -> Handing | None:
        """The handoff that is under way."""
        return self.handing if self.handing is not None and self.handing.outcome is None else None
