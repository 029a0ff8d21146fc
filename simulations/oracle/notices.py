"""What a session's stream says beside the log: what becomes of the reader's ownership, and what stands in for what."""

from typing import Any

from ..violation import Violation
from .sessionlog import SessionLog

SUPERSEDED = "session.superseded"
WARNING = "session.warning"


class Notices:
    """One connection's. `held` is the epoch that the reader has said it holds; `fresh`: it reads from the start."""

    def __init__(self, log: SessionLog, who: str, held: int | None, *, fresh: bool) -> None:
        self._log = log
        self._who = who
        self._held = held
        self._wanted = log.warning if fresh else None
        self._over: str | None = None

    def take(self, kind: str, fields: dict[str, Any]) -> None:
        """Raises notice-wrong."""
        code = fields.get("code")
        if kind == WARNING and code == self._wanted:
            self._wanted = None
            return
        if self._held is None or self._over is not None:
            self._violate("notice-wrong", f"{kind} {fields} came after {self._over}; it holds {self._held}")
        if kind == SUPERSEDED:
            given = [(change.owner, change.epoch) for change in self._log.changes]
            if fields["epoch"] <= self._held or (fields["owner"], fields["epoch"]) not in given:
                self._violate("notice-wrong", f"it holds {self._held}, and is superseded by {fields}")
        elif code == "DETACHED":
            if (None, self._held) not in [(change.owner, change.epoch) for change in self._log.changes]:
                self._violate("notice-wrong", f"it is said to be detached from {self._held}, and it is not")
        elif fields.get("handoff_id") not in self._log.handoffs:
            self._violate("notice-wrong", f"{fields} tells of a handoff that nobody asked for")
        if kind == SUPERSEDED or code == "DETACHED":
            self._over = kind

    def first_frame(self) -> None:
        """A frame of the log comes. Raises warning-missing."""
        if self._wanted is not None:
            detail = f"the stream of {self._log.session_id} begins without the warning {self._wanted}"
            self._violate("warning-missing", detail)

    def _violate(self, name: str, detail: str) -> None:
        raise Violation(name, f"{self._who}: {detail}", session_id=self._log.session_id)
