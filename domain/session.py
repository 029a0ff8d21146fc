"""Session: a conversation. At most one of its runs is active; its turns are counted.

The table is SESSION_TABLE in `transitions.py`.
"""

from typing import Any, ClassVar, Final

from pydantic import AwareDatetime, JsonValue

from .aggregate import Aggregate, Fact
from .errors import IllegalTransition, SessionBusy, SessionFinalized
from .identifiers import JobId, RunId, SessionId
from .transitions import SessionStatus


class SessionFact(Fact):
    """A fact of a session."""


class SessionCreated(SessionFact):
    topic: ClassVar = "session.created"
    command: ClassVar = "create"
    session_id: SessionId
    tenant: str
    metadata: dict[str, JsonValue]


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


class Finalized(SessionFact):
    topic: ClassVar = "session.finalized"
    command: ClassVar = "finalize"


class Deleted(SessionFact):
    topic: ClassVar = "session.deleted"
    command: ClassVar = "delete"


SESSION_FACTS: Final[tuple[type[SessionFact], ...]] = (
    SessionCreated,
    TurnStarted,
    TurnEnded,
    Finalized,
    Deleted,
)


class Session(Aggregate):
    """A conversation and who may write to it. `epoch` fences owners; without an owner anyone authorized writes."""

    machine: ClassVar = "session"

    session_id: SessionId = SessionId("")
    tenant: str = ""
    status: SessionStatus | None = None
    owner: str | None = None
    epoch: int = 0
    active_run_id: RunId | None = None
    turns: int = 0
    metadata: dict[str, JsonValue] = {}
    created_at: AwareDatetime | None = None

    @property
    def state(self) -> str | None:
        return self.status

    def allow(self, fact: SessionFact) -> None:
        """The table, then the one active run. Raises SessionFinalized, SessionBusy or IllegalTransition."""
        if isinstance(fact, TurnStarted) and self.status is SessionStatus.FINALIZED:
            raise SessionFinalized(session_id=self.session_id)
        super().allow(fact)
        if isinstance(fact, TurnStarted | Deleted) and self.active_run_id is not None:
            raise SessionBusy(session_id=self.session_id, run_id=self.active_run_id)
        if isinstance(fact, TurnStarted) and fact.turn != self.turns + 1:
            raise IllegalTransition(f"The next turn is {self.turns + 1}, not {fact.turn}.", turns=self.turns)
        if isinstance(fact, TurnEnded) and (fact.run_id, fact.turn) != (self.active_run_id, self.turns):
            raise IllegalTransition(f"{fact.run_id} is not the active run.", run_id=self.active_run_id)

    def target(self, fact: SessionFact) -> str:
        match fact:
            case Finalized():
                return SessionStatus.FINALIZED
            case Deleted():
                return SessionStatus.DELETED
            case TurnEnded():
                return self.status or SessionStatus.OPEN
            case _:
                return SessionStatus.OPEN

    def changes(self, fact: SessionFact) -> dict[str, Any]:
        changed: dict[str, Any] = {"status": SessionStatus(self.target(fact))}
        match fact:
            case SessionCreated():
                names = ("session_id", "tenant", "metadata")
                return changed | {"created_at": fact.at} | {name: getattr(fact, name) for name in names}
            case TurnStarted():
                return changed | {"turns": fact.turn, "active_run_id": fact.run_id}
            case TurnEnded():
                return changed | {"active_run_id": None}
            case _:
                return changed
