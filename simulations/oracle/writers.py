"""Who may write to a session: what was asked with which epoch, what was answered, and whether that was right."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from ...domain.errors import ReattachError, SessionEpochRequired, SessionOwned, StaleSession, StaleToken, SummaryNotDue
from ...domain.identifiers import SessionId
from ...domain.memory import Memory
from ...domain.requests import Idempotency
from ...domain.session_facts import Handoff
from ...domain.sessions import Resumed
from ...domain.summaries import SummaryWork
from ...infrastructure.eventstore.writer import Result
from ..violation import Violation
from .sessions import Sessions

_MARKS: Final[Mapping[type[Exception], str]] = {
    SessionOwned: "resume-refused",
    SessionEpochRequired: "stranger-refused",
    StaleSession: "stale-session-refused",
    StaleToken: "stale-token-refused",
    SummaryNotDue: "summary-not-due",
}


class Writers:
    """Judges the works that ask something of a session, against what `sessions` has just learned."""

    def __init__(self, sessions: Sessions, now: Callable[[], datetime], mark: Callable[[str], None]) -> None:
        self._sessions = sessions
        self._now = now
        self._mark = mark

    def judge(self, asked: Mapping[str, Any], result: Result) -> SessionId | None:
        """Raises a Violation. The session whose owner's lease may be another now."""
        key = asked.get("idempotency")
        if isinstance(key, Idempotency) and key.replayed:
            return None
        value = result.value
        if isinstance(value, Resumed):
            self._resumed(asked, value)
            return value.session_id
        session_id, tenant = asked.get("session_id"), asked.get("tenant")
        if not isinstance(session_id, str) or not isinstance(tenant, str) or "run_id" in asked:
            if isinstance(result.error, SessionOwned):
                self._refused(result.error)
            return None
        named = SessionId(session_id)
        if result.error is not None:
            if isinstance(result.error, ReattachError):
                self._refused(result.error)
            if isinstance(result.error, StaleSession):
                self._owner_refused(named, asked.get("epoch"))
            return None
        told_again = isinstance(value, Handoff) and value.epoch == asked.get("epoch")  # `ready` whose answer was lost
        if "epoch" in asked and not told_again:
            self._wrote(named, asked["epoch"])
        if isinstance(value, Memory):
            self._remembered(named, value)
        elif isinstance(value, SummaryWork):
            self._claimed(named, value)
        return named

    def _wrote(self, session_id: SessionId, epoch: int | None) -> None:
        """Raises session-zombie or stranger-wrote."""
        moments = self._sessions.moments(session_id)
        if epoch is None and all(owner is not None for owner, _ in moments):
            detail = f"Somebody wrote to {session_id} without its epoch; {moments} own it."
            raise Violation("stranger-wrote", detail, session_id=session_id)
        if epoch is not None and not any(owner is not None and held == epoch for owner, held in moments):
            detail = f"Somebody wrote to {session_id} under epoch {epoch}; {moments} own it."
            raise Violation("session-zombie", detail, session_id=session_id, epoch=epoch)

    def _owner_refused(self, session_id: SessionId, epoch: int | None) -> None:
        """Raises owner-refused."""
        moments = self._sessions.moments(session_id)
        if epoch is not None and moments and all(owner is not None and held == epoch for owner, held in moments):
            detail = f"Epoch {epoch} of {session_id} was refused as stale; it is the owner's."
            raise Violation("owner-refused", detail, session_id=session_id, epoch=epoch)

    def _refused(self, error: ReattachError) -> None:
        """Raises lease-boundary: at the instant of its end a lease is over, for everybody."""
        mark = _MARKS.get(type(error))
        if mark is not None:
            self._mark(mark)
        until = error.fields.get("lease_expires_at") or error.fields.get("due_at")
        if mark is not None and isinstance(until, datetime) and until <= self._now():
            detail = f"Refused at {self._now()} because of what was over at {until}: {error}"
            raise Violation("lease-boundary", detail, until=until.isoformat())

    def _resumed(self, asked: Mapping[str, Any], value: Resumed) -> None:
        """Raises epoch-not-given, or owner-ousted by a takeover that nobody asked for."""
        client = asked.get("client")
        log = self._sessions.logs.get(value.session_id)
        if log is None or log.owners.get(value.epoch) != client or value.continuity.count > len(log.hashes):
            detail = f"{client} is told that it owns {value.session_id} under {value.epoch}; the facts say otherwise."
            raise Violation("epoch-not-given", detail, session_id=value.session_id, epoch=value.epoch)
        if log.epoch == value.epoch and log.how == "taken_over" and not asked.get("takeover"):
            detail = f"{client} takes {value.session_id} over from a live owner, and has not asked for that."
            raise Violation("owner-ousted", detail, session_id=value.session_id, epoch=value.epoch)

    def _remembered(self, session_id: SessionId, value: Memory) -> None:
        """Raises memory-lost."""
        log = self._sessions.logs.get(session_id)
        if log is None or log.hashes[value.sequence - 1 : value.sequence] != [value.hash]:
            detail = f"Memory {value.sequence} of {session_id} was acknowledged; the sequence does not hold it."
            raise Violation("memory-lost", detail, session_id=session_id, sequence=value.sequence)

    def _claimed(self, session_id: SessionId, value: SummaryWork) -> None:
        """Raises staged-dropped."""
        claim = self._sessions.logs[session_id].claim
        if claim is not None and claim.token == value.token and claim.staged and not value.is_staged:
            detail = f"A summary of {session_id} up to {value.through} was staged, and its next claimer is not told."
            raise Violation("staged-dropped", detail, session_id=session_id)
