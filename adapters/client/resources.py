"""Sessions, runs, tails and agents as the API answers them: fields may be added by a newer server, none is renamed."""

from collections.abc import Mapping
from typing import Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue

from ...domain.memory import Continuity, Memory
from ...domain.session_facts import SessionWarning
from ...domain.summaries import SummaryWork
from ...domain.transitions import FINAL

T = TypeVar("T")


class Resource(BaseModel):
    """Base: immutable, and what this version does not know is kept."""

    model_config = ConfigDict(frozen=True, extra="allow")


class PendingApproval(Resource):
    """A tool call that waits for somebody's decision. `digest` binds the decision to exactly this call."""

    approval_id: str
    tool: str
    arguments: JsonValue = None
    digest: str
    expires_at: AwareDatetime


class Run(Resource):
    """A run as it was when it was read. `head_seq` is the last frame of its log."""

    run_id: str
    session_id: str
    job_id: str
    agent: str
    status: str
    turn: int
    attempt: int
    head_seq: int
    prompt: str | None = None
    request_config: Mapping[str, JsonValue] | None = None
    pending_approvals: tuple[PendingApproval, ...] = ()
    stop_reason: str | None = None
    error: Mapping[str, JsonValue] | None = None
    usage: Mapping[str, JsonValue] | None = None
    created_at: AwareDatetime
    started_at: AwareDatetime | None = None
    ended_at: AwareDatetime | None = None

    @property
    def final(self) -> bool:
        """Whether nothing can follow."""
        return self.status in FINAL

    @property
    def hides_frames(self) -> bool:
        """Whether its request_config leaves gaps in the seqs that readers see."""
        return (self.request_config or {}).get("kinds") is not None


class Handoff(Resource):
    """A planned change of owner. `drained`: what was accepted before it is done, so the owner may say it is ready."""

    handoff_id: str
    status: str
    source: str
    expires_at: AwareDatetime
    drained: bool = False
    target: str | None = None
    reason: str | None = None


class Summary(Resource):
    """The summary of a session's memories up to `watermark`."""

    watermark: int = 0
    result: JsonValue = None


class Session(Resource):
    """A session as it was when it was read. `owner` holds it under `epoch` until `lease_expires_at`; None: nobody."""

    session_id: str
    status: str
    owner: str | None = None
    epoch: int = 0
    lease_expires_at: AwareDatetime | None = None
    active_run_id: str | None = None
    queue: tuple[str, ...] = ()
    turns: int = 0
    continuity: Continuity = Continuity()
    handoff: Handoff | None = None
    summary: Summary = Summary()
    warning: SessionWarning | None = None
    created_at: AwareDatetime
    metadata: Mapping[str, JsonValue] = {}


class Message(Resource):
    """What people read of a run. `message_id` is stable for ever: `session:run:ordinal`, ordinal 0 is the prompt."""

    message_id: str
    role: str
    status: str
    parts: tuple[Mapping[str, JsonValue], ...] = ()

    @property
    def run_id(self) -> str:
        """The run that it belongs to."""
        return self.message_id.split(":")[1]

    @property
    def text(self) -> str:
        """Its text parts, joined."""
        return "".join(str(part.get("text", "")) for part in self.parts if part.get("kind") == "text")


class ActiveRun(Resource):
    """The run a session is busy with, and its prompt, which is the first message of its stream."""

    run_id: str
    status: str
    message_id: str
    prompt: str | None = None
    pending_approvals: tuple[PendingApproval, ...] = ()


class Tail(Resource):
    """All it takes to show a session and to go on: follow it from `cursor`, and nothing is missing or doubled."""

    session: Session
    messages: tuple[Message, ...]
    pending_approvals: tuple[PendingApproval, ...]
    status: str
    active_run: ActiveRun | None = None
    cursor: str


class Resumption(Resource):
    """The answer to a resume: write with `epoch` until `lease_expires_at`. `warning` says why it is a new session."""

    session_id: str
    resumed: bool
    code: str
    epoch: int
    lease_expires_at: AwareDatetime
    warning: SessionWarning | None = None
    continuity: Continuity
    tail: Tail


class Agent(Resource):
    """An agent that runs can ask for."""

    name: str


class Page(Resource, Generic[T]):
    """One page of a list. Ask again with `cursor=next_cursor` until that is None."""

    items: tuple[T, ...]
    next_cursor: str | None = None


__all__ = [
    "ActiveRun",
    "Agent",
    "Continuity",
    "Handoff",
    "Memory",
    "Message",
    "Page",
    "PendingApproval",
    "Resource",
    "Resumption",
    "Run",
    "Session",
    "SessionWarning",
    "Summary",
    "SummaryWork",
    "Tail",
]
