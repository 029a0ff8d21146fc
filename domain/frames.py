"""Frames: the units of a run's stream, each one self-describing and each one SSE message.

A frame's stored form is compact JSON that begins with `{"type":...,"seq":...`; it is composed once, when it is
written, and never again. Facts' frames also carry `run_id` and `at`.
"""

from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, field_validator


class Frame(BaseModel):
    """Base of all frames of the log. `seq` counts from 1 in each run, without gaps; 0 means: not yet appended."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    fact: ClassVar[bool] = False
    type: Any  # each frame narrows it to its own name
    seq: int = 0


class FactFrame(Frame):
    """A transition of the run, made visible."""

    fact: ClassVar[bool] = True
    run_id: str
    at: AwareDatetime


class RunError(BaseModel):
    """Why a run failed. `type` is one of the stable names (llm_timeout, worker_lost, internal_error, ...)."""

    model_config = ConfigDict(frozen=True)
    type: str
    message: str
    retryable: bool

    @field_validator("message")
    @classmethod
    def _writable(cls, message: str) -> str:
        """Without lone surrogates: an exception that quotes a file name may hold some, and the run must still end."""
        return message.encode("utf-8", "replace").decode()


class RunCreated(FactFrame):
    type: Literal["run.created"] = "run.created"
    session_id: str
    job_id: str
    turn: int
    attempt: int
    agent: str
    message_id: str
    prompt: str | None


class RunClaimed(FactFrame):
    type: Literal["run.claimed"] = "run.claimed"
    epoch: int
    worker: str


class RunReleased(FactFrame):
    type: Literal["run.released"] = "run.released"
    epoch: int
    worker: str


class RunResumed(FactFrame):
    type: Literal["run.resumed"] = "run.resumed"
    epoch: int


class StepReset(FactFrame):
    """Voids the run's output frames after `to_seq` (the checkpoint's frame, 0 if there is none), never facts."""

    type: Literal["step.reset"] = "step.reset"
    to_seq: int
    closes: tuple[str, ...]


class ApprovalRequested(FactFrame):
    type: Literal["approval.requested"] = "approval.requested"
    approval_id: str
    tool_call_id: str
    tool: str
    arguments: JsonValue
    digest: str
    expires_at: AwareDatetime


class ApprovalDecided(FactFrame):
    type: Literal["approval.decided"] = "approval.decided"
    approval_id: str
    outcome: Literal["approve", "deny"]
    reason: str | None
    arguments: JsonValue
    by: str


class RunSuspended(FactFrame):
    type: Literal["run.suspended"] = "run.suspended"
    approvals: tuple[str, ...]
    closes: tuple[str, ...]


class RunCompleted(FactFrame):
    type: Literal["run.completed"] = "run.completed"
    stop_reason: str
    usage: dict[str, JsonValue] | None


class RunFailed(FactFrame):
    type: Literal["run.failed"] = "run.failed"
    error: RunError
    closes: tuple[str, ...]


class RunCancelled(FactFrame):
    type: Literal["run.cancelled"] = "run.cancelled"
    reason: str
    by: str
    closes: tuple[str, ...]


class MessageStart(Frame):
    type: Literal["message.start"] = "message.start"
    message_id: str
    role: Literal["assistant", "event"]


class MessageEnd(Frame):
    type: Literal["message.end"] = "message.end"
    message_id: str
    role: Literal["assistant", "event"]


class TextStart(Frame):
    type: Literal["text.start"] = "text.start"
    part: str
    message_id: str


class TextDelta(Frame):
    type: Literal["text.delta"] = "text.delta"
    part: str
    text: str


class TextEnd(Frame):
    type: Literal["text.end"] = "text.end"
    part: str


class ReasoningStart(Frame):
    type: Literal["reasoning.start"] = "reasoning.start"
    part: str
    message_id: str


class ReasoningDelta(Frame):
    type: Literal["reasoning.delta"] = "reasoning.delta"
    part: str
    text: str


class ReasoningEnd(Frame):
    type: Literal["reasoning.end"] = "reasoning.end"
    part: str


class ToolCallStart(Frame):
    type: Literal["tool.call.start"] = "tool.call.start"
    part: str
    tool_call_id: str
    name: str


class ToolCallDelta(Frame):
    type: Literal["tool.call.delta"] = "tool.call.delta"
    part: str
    text: str


class ToolCallReady(Frame):
    type: Literal["tool.call.ready"] = "tool.call.ready"
    part: str
    tool_call_id: str
    name: str
    arguments: JsonValue


class ToolResult(Frame):
    """The outcome of a call: `output` (any JSON), or `error` (a sentence); never both."""

    type: Literal["tool.result"] = "tool.result"
    tool_call_id: str
    output: JsonValue = None
    error: str | None = None


class Data(Frame):
    type: Literal["data"] = "data"
    name: str
    value: JsonValue


class Source(Frame):
    type: Literal["source"] = "source"
    url: str
    title: str | None


class File(Frame):
    type: Literal["file"] = "file"
    name: str
    media_type: str
    url: str


class StepStart(Frame):
    type: Literal["step.start"] = "step.start"
    step: int


class StepEnd(Frame):
    """The end of a step. `checkpoint` names the checkpoint committed with this frame: its step, or null if none was."""

    type: Literal["step.end"] = "step.end"
    step: int
    checkpoint: int | None


OutputFrame = Annotated[
    MessageStart
    | MessageEnd
    | TextStart
    | TextDelta
    | TextEnd
    | ReasoningStart
    | ReasoningDelta
    | ReasoningEnd
    | ToolCallStart
    | ToolCallDelta
    | ToolCallReady
    | ToolResult
    | Data
    | Source
    | File
    | StepStart
    | StepEnd,
    Field(discriminator="type"),
]
"""What an agent may append; everything else is recorded by commands."""

LogFrame = Annotated[
    OutputFrame
    | RunCreated
    | RunClaimed
    | RunReleased
    | RunResumed
    | StepReset
    | ApprovalRequested
    | ApprovalDecided
    | RunSuspended
    | RunCompleted
    | RunFailed
    | RunCancelled,
    Field(discriminator="type"),
]
"""Everything that can stand in a run's log."""

TERMINAL_TYPES: Final = ("run.completed", "run.failed", "run.cancelled")
"""After one of these nothing follows, and the server closes the stream."""

PART_END_TYPES: Final = ("text.end", "reasoning.end", "tool.call.ready", "tool.result", "message.end", "step.end")

OUTPUT: Final[TypeAdapter[OutputFrame]] = TypeAdapter(OutputFrame)
LOG: Final[TypeAdapter[LogFrame]] = TypeAdapter(LogFrame)


class UnknownFrame(Frame):
    """A frame of a type this version does not know: kept as it is, so that old readers survive new writers."""

    model_config = ConfigDict(frozen=True, extra="allow")
    type: str


def _types(*bases: type[Frame]) -> Iterable[str]:
    for base in bases:
        for model in base.__subclasses__():
            if "type" in model.model_fields and isinstance(model.model_fields["type"].default, str):
                yield model.model_fields["type"].default


FACT_TYPES: Final = frozenset(_types(FactFrame))
OUTPUT_TYPES: Final = frozenset(_types(Frame))
KNOWN_TYPES: Final = FACT_TYPES | OUTPUT_TYPES
