"""What the tools answer, where that is not a resource of the API as it stands."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel, Field, JsonValue

from ...domain.snapshot import Snapshot
from ...domain.transitions import FINAL
from ..client import PendingApproval, Session

TEXT_CHARS_MAX: Final = 20_000
"""Characters of a run's text in one answer: the newest. The whole is in the session's tail and history."""


class RunState(BaseModel):
    """A run as far as it is. Final are completed, failed and cancelled; otherwise call await_run again."""

    run_id: str
    session_id: str
    status: str = Field(description="pending, running, waiting_for_approval, completed, failed or cancelled")
    final: bool = Field(description="nothing follows any more")
    text: str = Field(description="what the agent has said so far, steps that were voided left out")
    text_is_cut: bool = Field(description="the beginning of a longer text was left out")
    pending_approvals: tuple[PendingApproval, ...] = Field(description="tool calls that wait for decide")
    stop_reason: str | None = None
    error: Mapping[str, JsonValue] | None = None

    @classmethod
    def of(cls, snapshot: Snapshot) -> "RunState":
        """The state of a run's frames."""
        run, state = snapshot.run, snapshot.state()
        text = "\n\n".join(filter(None, map(_text, state["messages"])))
        final = run["status"] in FINAL
        return cls(
            run_id=run["run_id"],
            session_id=run["session_id"],
            status=run["status"],
            final=final,
            text=text[-TEXT_CHARS_MAX:],
            text_is_cut=len(text) > TEXT_CHARS_MAX,
            pending_approvals=() if final else state["pending_approvals"],
            stop_reason=run.get("stop_reason"),
            error=run.get("error"),
        )


class SessionList(BaseModel):
    """Sessions, newest first. Ask again with `cursor=next_cursor` until that is null."""

    items: tuple[Session, ...]
    next_cursor: str | None = None


def _text(message: Mapping[str, Any]) -> str:
    if message["role"] == "user" or message["status"] == "abandoned":
        return ""
    return "".join(part.get("text", "") for part in message["parts"] if part["kind"] == "text")
