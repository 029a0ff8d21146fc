"""Runs' logs as a server would stream them, made by hand so that a test can bend them."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from reattach.adapters.client import Frame

SESSION = "ses_01h455vb4pex5vsknk084sn02q"
JOB = "job_01h455vb4pex5vsknk084sn02q"
RUN = "run_01h455vb4pex5vsknk084sn02q"
OTHER = "run_01h455vb4pex5vsknk084sn02r"
AT = "2026-11-21T10:40:00Z"
RUN_AS_IT_IS = {
    "run_id": RUN,
    "session_id": SESSION,
    "job_id": JOB,
    "agent": "demo",
    "status": "running",
    "turn": 1,
    "attempt": 1,
    "head_seq": 3,
    "created_at": AT,
}


@dataclass(frozen=True)
class Line:
    """A frame of a log with its cursor."""

    id: str
    data: dict[str, Any]

    @property
    def block(self) -> bytes:
        return event(self.data, self.id)

    def as_frame(self) -> Frame:
        return Frame(self.data["type"], self.data["seq"], self.id, self.data)


def event(data: dict[str, Any], cursor: str | None = None) -> bytes:
    """A frame as it stands on the wire."""
    name = f"id: {cursor}\n" if cursor is not None else ""
    return f"event: {data['type']}\n{name}data: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def log(
    *words: str, run_id: str = RUN, turn: int = 1, end: str | None = "completed", epoch: int = 1, generation: int = 0
) -> list[Line]:
    """A run that says these words."""
    fact = {"run_id": run_id, "at": AT}
    message = f"{SESSION}:{run_id}:1"
    place = {"session_id": SESSION, "job_id": JOB, "turn": turn, "attempt": 1, "agent": "demo"}
    created = {"type": "run.created", **fact, **place, "message_id": f"{SESSION}:{run_id}:0", "prompt": "go"}
    part = f"{turn}.1.1"
    frames: list[dict[str, Any]] = [
        created,
        {"type": "run.claimed", **fact, "epoch": epoch, "worker": "w"},
        {"type": "message.start", "message_id": message, "role": "assistant"},
        {"type": "text.start", "part": part, "message_id": message},
        *({"type": "text.delta", "part": part, "text": word} for word in words),
        {"type": "text.end", "part": part},
        {"type": "message.end", "message_id": message, "role": "assistant"},
    ]
    if end == "completed":
        frames.append({"type": "run.completed", **fact, "stop_reason": "end_turn", "usage": None})
    elif end == "failed":
        error = {"type": "llm_timeout", "message": "no answer", "retryable": True}
        frames.append({"type": "run.failed", **fact, "error": error, "closes": []})
    elif end == "cancelled":
        frames.append({"type": "run.cancelled", **fact, "reason": "enough", "by": "default", "closes": []})
    return numbered(frames, run_id=run_id, epoch=epoch, generation=generation)


def numbered(
    frames: Iterable[dict[str, Any]], *, run_id: str = RUN, epoch: int = 1, generation: int = 0, first: int = 1
) -> list[Line]:
    """Frames with their seqs and cursors."""
    return [
        Line(f"{run_id}.{generation}.{epoch}.{seq}", {"type": frame["type"], "seq": seq, **frame})
        for seq, frame in enumerate(frames, first)
    ]


def body(lines: Sequence[Line], *, retry_ms: int | None = 1) -> bytes:
    """A stream's body: `retry:` goes in front of the first block."""
    head = f"retry: {retry_ms}\n".encode() if retry_ms is not None else b""
    return head + b"".join(line.block for line in lines)


def after(lines: Sequence[Line], cursor: str | None) -> Sequence[Line]:
    """What a server sends to a reader that comes with this cursor."""
    ids = [line.id for line in lines]
    return lines[ids.index(cursor) + 1 :] if cursor is not None else lines
