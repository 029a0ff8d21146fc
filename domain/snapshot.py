"""Snapshot: a run's frames folded to what a client needs to show it. Bounded by the state, not by the frames.

The law: the snapshot at seq k, folded on with the frames after k, equals the fold of all frames, for every k.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

from .messages import Fields, Messages
from .request_config import RequestConfig

_CREATED: Final = ("run_id", "session_id", "job_id", "turn", "attempt", "agent", "prompt")
_STATUS: Final[Mapping[str, str]] = {
    "run.created": "pending",
    "run.claimed": "running",
    "run.released": "pending",
    "run.suspended": "waiting_for_approval",
    "run.resumed": "pending",
    "run.completed": "completed",
    "run.failed": "failed",
    "run.cancelled": "cancelled",
}
_OUTCOME: Final = ("epoch", "stop_reason", "usage", "error", "reason")
_APPROVAL: Final = ("approval_id", "tool_call_id", "tool", "arguments", "digest", "expires_at")


class Snapshot:
    """The fold over plain frames. `seq` is the last frame folded in."""

    def __init__(self, run: Fields, messages: Messages, approvals: Iterable[Fields] = ()) -> None:
        self.run = run
        self.messages = messages
        self.pending_approvals: list[Fields] = list(approvals)

    @classmethod
    def empty(cls) -> Self:
        """Before the first frame."""
        return cls({}, Messages(""))

    @classmethod
    def load(cls, state: Mapping[str, Any], seq: int) -> Self:
        """Go on from a `stream.snapshot` frame's `state` and `seq`."""
        run = dict(state["run"])
        prefix = f"{run.get('session_id', '')}:{run.get('run_id', '')}"
        return cls(run, Messages.from_json(prefix, state["messages"], seq), state["pending_approvals"])

    @property
    def seq(self) -> int:
        """The last frame folded in; 0 before the first."""
        return self.messages.seq

    def apply(self, frame: Mapping[str, Any]) -> None:
        """Fold one frame."""
        kind: str = frame["type"]
        if kind == "run.created":
            self.run = {name: frame[name] for name in _CREATED}
            self.messages.prefix = f"{frame['session_id']}:{frame['run_id']}"
        if kind in _STATUS:
            self.run["status"] = _STATUS[kind]
            self.run |= {name: frame[name] for name in _OUTCOME if name in frame}
        elif kind == "approval.requested":
            self.pending_approvals.append({name: frame[name] for name in _APPROVAL})
        elif kind == "approval.decided":
            decided = frame["approval_id"]
            self.pending_approvals = [a for a in self.pending_approvals if a["approval_id"] != decided]
        self.messages.apply(frame)

    def state(self, config: RequestConfig | None = None) -> Fields:
        """The wire form, as this request_config shows it."""
        messages = self.messages.as_json()
        if config is not None and not config.shows_everything:
            messages = [_shown(message, config) for message in messages]
        return {"run": dict(self.run), "messages": messages, "pending_approvals": list(self.pending_approvals)}


def _shown(message: Fields, config: RequestConfig) -> Fields:
    if message["role"] == "user":
        return message
    parts: list[Fields] = []
    for part in message["parts"]:
        kind: Any = "tool" if part["kind"] == "tool_result" else part["kind"]
        if kind == "event" or config.shows(kind):
            hidden = config.tool_output == "omit" and "output" in part
            parts.append(part | {"output": None, "omitted": True} if hidden else part)
    return message | {"parts": parts}
