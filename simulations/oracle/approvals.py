"""The approvals of one run, judged from its frames: asked for, decided once, all of them before the run goes on."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from pydantic_core import to_json

from ...domain.identifiers import RunId
from ..violation import Violation

Fields = Mapping[str, Any]

SYSTEM: Final = "reattach"
"""Who decides when nobody does: by expiry, by cancel, by failure."""


@dataclass(slots=True)
class Asked:
    """One approval: what was asked, and what was said (`outcome` None: nothing yet). `arguments` are what may run."""

    asked: Fields
    expires_at: datetime
    outcome: str | None = None
    reason: str | None = None
    arguments: Any = None
    by: str | None = None


class Approvals:
    """All approvals of one run. `pending` are the ids nobody has decided, `last` those of its last wait."""

    __slots__ = ("_run_id", "known", "last", "pending")

    def __init__(self, run_id: RunId) -> None:
        self._run_id = run_id
        self.known: dict[str, Asked] = {}
        self.pending: list[str] = []
        self.last: list[str] = []

    def request(self, frames: Sequence[Fields], suspended: Fields) -> None:
        """A wait begins. Raises approval-reused, approval-unbound or approval-unlisted."""
        for frame in frames:
            approval_id = frame["approval_id"]
            if approval_id in self.known:
                raise self._broken("approval-reused", frame, "was asked for before")
            digest = hashlib.sha256(to_json([frame["tool"], frame["arguments"]], inf_nan_mode="null")).hexdigest()
            if frame["digest"] != digest:
                raise self._broken("approval-unbound", frame, "shows other arguments than its digest binds")
            self.known[approval_id] = Asked(frame, datetime.fromisoformat(frame["expires_at"]))
            self.pending.append(approval_id)
        self.last = list(self.pending)
        if list(suspended["approvals"]) != self.pending:
            detail = f"run.suspended names {suspended['approvals']}, asked for are {self.pending} ({self._run_id})."
            raise Violation("approval-unlisted", detail, run_id=self._run_id, seq=suspended["seq"])

    def decide(self, frames: Sequence[Fields], now: datetime, *, resumes: bool) -> None:
        """Decisions that leave the run alive. Raises what `_take` does, expired-early, decided-late, resume-wrong."""
        for frame in frames:
            asked = self._take(frame)
            expired = frame["by"] == SYSTEM and frame["reason"] == "expired"
            if expired and (now < asked.expires_at or frame["outcome"] != "deny"):
                raise self._broken("expired-early", frame, f"is said to be expired before {asked.expires_at}")
            if not expired and now >= asked.expires_at:
                raise self._broken("decided-late", frame, f"was decided after its deadline {asked.expires_at}")
        if resumes == bool(self.pending):
            detail = f"{self._run_id} {'goes on' if resumes else 'still waits'}, undecided are {self.pending}."
            raise Violation("resume-wrong", detail, run_id=self._run_id, pending=list(self.pending))

    def close(self, frames: Sequence[Fields], reason: str, now: datetime) -> None:
        """The run ends. Raises what `_take` does, or approval-left-open unless all are denied for this reason.

        What was past its deadline had been denied for that, recorded or not.
        """
        for frame in frames:
            asked = self._take(frame)
            due = "expired" if now >= asked.expires_at else reason
            if (frame["outcome"], frame["reason"], frame["by"]) != ("deny", due, SYSTEM):
                raise self._broken("approval-left-open", frame, f"is not closed as denied ({due})")
        if self.pending:
            detail = f"{self._run_id} has ended, and nobody ever decided {', '.join(self.pending)}."
            raise Violation("approval-left-open", detail, run_id=self._run_id, pending=list(self.pending))

    def _take(self, frame: Fields) -> Asked:
        """Record the decision. Raises approval-unknown or decided-twice."""
        asked = self.known.get(frame["approval_id"])
        if asked is None:
            raise self._broken("approval-unknown", frame, "was never asked for")
        if asked.outcome is not None:
            raise self._broken("decided-twice", frame, f"was decided before ({asked.outcome} by {asked.by})")
        self.pending.remove(frame["approval_id"])
        asked.outcome, asked.reason, asked.by = frame["outcome"], frame["reason"], frame["by"]
        if asked.outcome == "approve":
            asked.arguments = asked.asked["arguments"] if frame["arguments"] is None else frame["arguments"]
        return asked

    def _broken(self, name: str, frame: Fields, what: str) -> Violation:
        detail = f"The approval {frame['approval_id']} of {self._run_id} {what} (seq {frame['seq']})."
        return Violation(name, detail, run_id=self._run_id, approval_id=frame["approval_id"], seq=frame["seq"])
