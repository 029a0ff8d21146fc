"""Sessions, runs and agents as the API answers them: fields may be added by a newer server, none is renamed."""

from collections.abc import Mapping
from typing import Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue

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


class Session(Resource):
    """A conversation as it was when it was read."""

    session_id: str
    status: str
    active_run_id: str | None = None
    created_at: AwareDatetime
    metadata: Mapping[str, JsonValue] = {}


class Agent(Resource):
    """An agent that runs can ask for."""

    name: str


class Page(Resource, Generic[T]):
    """One page of a list. Ask again with `cursor=next_cursor` until that is None."""

    items: tuple[T, ...]
    next_cursor: str | None = None
