"""Job: what was asked for (agent, input, retry policy, deadline, callback). Its attempts are runs.

A session's turn is a job of one attempt. The table is JOB_TABLE in `transitions.py`.
"""

from typing import Any, ClassVar, Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue

from .aggregate import Aggregate, Fact
from .errors import IllegalTransition
from .identifiers import JobId, RunId, SessionId
from .transitions import Status


class Retry(BaseModel):
    """When a failed attempt is tried again. One attempt: never."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    max_attempts: int = 1
    backoff_s: float = 1.0
    max_backoff_s: float = 60.0
    retry_on: tuple[str, ...] = ()


class JobFact(Fact):
    """A fact of a job."""


class JobCreated(JobFact):
    topic: ClassVar = "job.created"
    command: ClassVar = "create"
    job_id: JobId
    tenant: str
    session_id: SessionId
    agent: str
    input: JsonValue
    retry: Retry


class Attempted(JobFact):
    """A run was created for this job."""

    topic: ClassVar = "job.attempted"
    command: ClassVar = "attempt"
    run_id: RunId


class Advanced(JobFact):
    """The job followed its run to another state. `command` names the row of the table."""

    topic: ClassVar = "job.advanced"
    to: Status
    step: str

    @property
    def command(self) -> str:  # type: ignore[override]  # each advance stands for the command that caused it
        return self.step


JOB_FACTS: Final[tuple[type[JobFact], ...]] = (JobCreated, Attempted, Advanced)


class Job(Aggregate):
    """The request and its attempts so far."""

    machine: ClassVar = "job"

    job_id: JobId = JobId("")
    tenant: str = ""
    session_id: SessionId = SessionId("")
    agent: str = ""
    input: JsonValue = None
    retry: Retry = Retry()
    status: Status | None = None
    runs: tuple[RunId, ...] = ()
    created_at: AwareDatetime | None = None

    @property
    def state(self) -> str | None:
        return self.status

    def allow(self, fact: JobFact) -> None:
        """The table. Raises IllegalTransition, also for an advance that poses as one of the facts of their own."""
        super().allow(fact)
        if isinstance(fact, Advanced) and fact.step in (JobCreated.command, Attempted.command):
            raise IllegalTransition(f"A job does not advance by {fact.step}.", status=self.status, command=fact.step)

    def target(self, fact: JobFact) -> str:
        return fact.to if isinstance(fact, Advanced) else Status.PENDING

    def changes(self, fact: JobFact) -> dict[str, Any]:
        changed: dict[str, Any] = {"status": Status(self.target(fact))}
        match fact:
            case JobCreated():
                names = ("job_id", "tenant", "session_id", "agent", "input", "retry")
                return changed | {"created_at": fact.at} | {name: getattr(fact, name) for name in names}
            case Attempted():
                return changed | {"runs": (*self.runs, fact.run_id)}
            case _:
                return changed
