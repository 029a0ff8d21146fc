"""What can happen to a session: its facts, and the small values that they carry.

The machine that allows them is in `session.py`; the table they stand for is SESSION_TABLE in `transitions.py`.
"""

from datetime import datetime
from typing import ClassVar, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue

from .aggregate import Fact
from .identifiers import JobId, RunId, SessionId

HandoffStatus = Literal["requested", "ready", "completed", "abandoned"]
HandoffOutcome = Literal["completed", "abandoned"]
AttachHow = Literal["resumed", "taken_over", "handed_over"]


class SessionWarning(BaseModel):
    """Why a session stands in for the one that was asked for. `asked` is the id as it came, cut to a stated length."""

    model_config = ConfigDict(frozen=True)
    code: str
    detail: str
    asked: str


class Handoff(BaseModel):
    """A planned change of owner. Inputs up to turn `barrier` finish under the source; later ones wait for its end."""

    model_config = ConfigDict(frozen=True)
    handoff_id: str
    status: HandoffStatus
    source: str
    epoch: int
    barrier: int
    requested_at: AwareDatetime
    expires_at: AwareDatetime
    target: str | None = None
    reason: str | None = None
    ended_at: AwareDatetime | None = None
    epoch_after: int | None = None

    @property
    def active(self) -> bool:
        """Whether it can still go either way."""
        return self.status in ("requested", "ready")

    def due(self, now: datetime) -> bool:
        """Whether its deadline has passed while it was active: from the very instant of `expires_at` on."""
        return self.active and now >= self.expires_at


class SummaryClaim(BaseModel):
    """The right to summarize the memories up to `through`, until `expires_at`; `staged` is a result to be completed."""

    model_config = ConfigDict(frozen=True)
    token: str
    by: str
    through: int
    expires_at: AwareDatetime
    staged: JsonValue = None
    is_staged: bool = False

    def live(self, now: datetime) -> bool:
        """Whether nobody else may claim: up to, but not at, the instant of `expires_at`."""
        return now < self.expires_at


class SessionFact(Fact):
    """A fact of a session."""


class SessionCreated(SessionFact):
    topic: ClassVar = "session.created"
    command: ClassVar = "create"
    session_id: SessionId
    tenant: str
    metadata: dict[str, JsonValue]


class Warned(SessionFact):
    """The session stands in for another, which its client is told."""

    topic: ClassVar = "session.warned"
    command: ClassVar = "warn"
    warning: SessionWarning


class TurnQueued(SessionFact):
    """An input was accepted; its turn comes when those before it have ended."""

    topic: ClassVar = "session.turn_queued"
    command: ClassVar = "queue_turn"
    turn: int
    run_id: RunId
    job_id: JobId


class TurnWithdrawn(SessionFact):
    """An input that waits was cancelled. Its turn still comes, in its place, and ends as it begins."""

    topic: ClassVar = "session.turn_withdrawn"
    command: ClassVar = "withdraw_turn"
    run_id: RunId


class TurnStarted(SessionFact):
    topic: ClassVar = "session.turn_started"
    command: ClassVar = "start_turn"
    turn: int
    run_id: RunId
    job_id: JobId


class TurnEnded(SessionFact):
    topic: ClassVar = "session.turn_ended"
    command: ClassVar = "end_turn"
    turn: int
    run_id: RunId


class Attached(SessionFact):
    """A client owns the session from now on, under a new epoch. `superseded` is whom it replaced."""

    topic: ClassVar = "session.attached"
    command: ClassVar = "attach"
    owner: str
    epoch: int
    how: AttachHow
    superseded: str | None = None


class Detached(SessionFact):
    """Nobody owns the session any more: the owner left, or somebody wrote after its lease had ended."""

    topic: ClassVar = "session.detached"
    command: ClassVar = "detach"
    owner: str
    epoch: int
    reason: Literal["left", "lapsed"]


class MemoryAppended(SessionFact):
    """One entry of the session's memory, chained to the one before it (see `memory.py`)."""

    topic: ClassVar = "session.memory_appended"
    command: ClassVar = "append_memory"
    sequence: int
    content: JsonValue
    by: str | None
    epoch: int
    hash: str


class HandoffRequested(SessionFact):
    topic: ClassVar = "session.handoff_requested"
    command: ClassVar = "request_handoff"
    handoff_id: str
    source: str
    epoch: int
    barrier: int
    expires_at: AwareDatetime


class HandoffReady(SessionFact):
    """The source has let go: what it had accepted is done, what it had to remember is written."""

    topic: ClassVar = "session.handoff_ready"
    command: ClassVar = "ready_handoff"
    handoff_id: str
    epoch: int


class HandoffEnded(SessionFact):
    """The target has come, or the source goes on."""

    topic: ClassVar = "session.handoff_ended"
    command: ClassVar = "end_handoff"
    handoff_id: str
    outcome: HandoffOutcome
    reason: str | None = None
    target: str | None = None
    epoch: int


class SummaryClaimed(SessionFact):
    topic: ClassVar = "session.summary_claimed"
    command: ClassVar = "claim_summary"
    token: str
    by: str
    through: int
    expires_at: AwareDatetime


class SummaryStaged(SessionFact):
    """The summary is safe; whoever claims next completes it without asking a model again."""

    topic: ClassVar = "session.summary_staged"
    command: ClassVar = "stage_summary"
    token: str
    result: JsonValue


class SummaryCompleted(SessionFact):
    """The memories up to `through` are summarized: that was all of them."""

    topic: ClassVar = "session.summary_completed"
    command: ClassVar = "complete_summary"
    token: str
    through: int


class Finalized(SessionFact):
    topic: ClassVar = "session.finalized"
    command: ClassVar = "finalize"


class Deleted(SessionFact):
    topic: ClassVar = "session.deleted"
    command: ClassVar = "delete"


SESSION_FACTS: Final[tuple[type[SessionFact], ...]] = (
    SessionCreated,
    Warned,
    TurnQueued,
    TurnWithdrawn,
    TurnStarted,
    TurnEnded,
    Attached,
    Detached,
    MemoryAppended,
    HandoffRequested,
    HandoffReady,
    HandoffEnded,
    SummaryClaimed,
    SummaryStaged,
    SummaryCompleted,
    Finalized,
    Deleted,
)
