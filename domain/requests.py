"""What use cases are asked with and answer with, and the limits they go by."""

import hashlib
from dataclasses import dataclass
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, JsonValue
from pydantic_core import to_json

from .job import Job
from .outline import Outline
from .request_config import EVERYTHING, RequestConfig
from .run import Run
from .scribe import Checkpointed

OnBusy = Literal["reject", "enqueue", "interrupt"]
"""What a new input does to a session that is busy: it is refused, it waits its turn, or it cancels the run and then
waits its turn. An interrupt overtakes no input that was accepted before it."""

APPROVALS_MAX: Final = 64
"""Approvals one segment may ask for."""

APPROVAL_TIMEOUT_S_MAX: Final = 31_536_000.0
"""Seconds (a year) an approval may be left open."""

HANDOFF_TIMEOUT_S_MAX: Final = 86_400.0
"""Seconds (a day) a handoff may be asked to wait for its target."""


class Limits(BaseModel):
    """The times the use cases go by; `infrastructure/settings.py` has the defaults' reasons.

    `abandon_s`: a lease that nobody took over for so long ends the run (no worker here knows its agent).
    """

    model_config = ConfigDict(frozen=True)
    lease_s: float = 15.0
    abandon_s: float = 150.0
    approval_timeout_s: float = 86_400.0
    idempotency_retention_s: float = 86_400.0
    session_lease_s: float = 60.0
    session_grace_s: float = 30.0
    handoff_timeout_s: float = 60.0
    summary_lease_s: float = 300.0


class StartRun(BaseModel):
    """The body of a new run."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    agent: str
    input: JsonValue = None
    request_config: RequestConfig = EVERYTHING
    on_busy: OnBusy = "reject"


@dataclass(slots=True)
class Idempotency:
    """A client's Idempotency-Key with a digest of what it sent. A use case sets `replayed`: it did not happen again."""

    key: str
    fingerprint: str
    replayed: bool = False

    @classmethod
    def of(cls, key: str, route: str, payload: JsonValue) -> "Idempotency":
        """Two requests are the same if route and payload are."""
        return cls(key, hashlib.sha256(to_json([route, payload])).hexdigest())


@dataclass(frozen=True, slots=True)
class Assignment:
    """A claimed run: all that a worker needs to go on with it."""

    run: Run
    job: Job
    outline: Outline
    next_seq: int
    checkpoint: Checkpointed | None
