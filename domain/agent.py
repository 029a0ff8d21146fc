"""What a user implements: an agent is an async generator that yields outputs and may save a checkpoint at any step.

    async def my_agent(context):
        async for word in model(context.input):
            yield Text(word)
        yield Checkpoint({"done": 1})

The scribe turns outputs into frames, so an agent can't break the grammar of a stream. Returning ends the run as
completed; raising ends it as failed; yielding Approvals ends the segment, and the agent is called again with the
decisions. After a take-over it is called again with its last checkpoint.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from pydantic import JsonValue

from .identifiers import JobId, RunId, SessionId
from .run_facts import Approval

TakeOver = Literal["continue", "fail"]
"""What another worker does with the run of a dead one: go on (from the last checkpoint, or the start), or fail it."""


@dataclass(frozen=True, slots=True)
class Text:
    """More text of the answer. Consecutive pieces form one part."""

    text: str


@dataclass(frozen=True, slots=True)
class Reasoning:
    """More of the model's reasoning. Consecutive pieces form one part."""

    text: str


@dataclass(frozen=True, slots=True)
class EndPart:
    """Close the open text or reasoning part, so that the next piece begins a new one."""


@dataclass(frozen=True, slots=True)
class ToolCallStart:
    """A tool call begins to arrive. Optional before ToolCall; needed before ToolCallDelta."""

    tool_call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """More of a call's arguments, as the model writes them."""

    tool_call_id: str
    text: str


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A complete tool call."""

    tool_call_id: str
    name: str
    arguments: JsonValue


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call gave: `output`, or `error` if it failed or was denied."""

    tool_call_id: str
    output: JsonValue = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Data:
    """A named value for programs that read the stream."""

    name: str
    value: JsonValue


@dataclass(frozen=True, slots=True)
class Source:
    """A source the answer rests on."""

    url: str
    title: str | None = None


@dataclass(frozen=True, slots=True)
class File:
    """A file the agent made, by reference."""

    name: str
    media_type: str
    url: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything the agent needs to go on from here, on any worker. Closes the message and ends the step."""

    state: JsonValue


@dataclass(frozen=True, slots=True)
class ApprovalRequest:
    """A tool call that must not run before a person agrees. `timeout_s` None: the service's default."""

    tool_call_id: str
    tool: str
    arguments: JsonValue
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Approvals:
    """Wait for people. Ends the segment: nothing may be yielded after it. `state` is the checkpoint to go on from."""

    requests: Sequence[ApprovalRequest]
    state: JsonValue


@dataclass(frozen=True, slots=True)
class Finish:
    """How the run ended, if it is not a plain `end_turn` without usage. Nothing may be yielded after it."""

    stop_reason: str = "end_turn"
    usage: Mapping[str, JsonValue] | None = None


Output = (
    Text
    | Reasoning
    | EndPart
    | ToolCallStart
    | ToolCallDelta
    | ToolCall
    | ToolResult
    | Data
    | Source
    | File
    | Checkpoint
    | Approvals
    | Finish
)


class AgentFailure(Exception):
    """Raise this to end the run as failed with a stable type (llm_timeout, llm_rate_limit, ...)."""

    def __init__(self, type: str, message: str, *, retryable: bool = False) -> None:  # noqa: A002  - the wire's word
        self.type = type
        self.message = message
        self.retryable = retryable
        super().__init__(f"{type}: {message}")


@dataclass(frozen=True, slots=True)
class Context:
    """What an agent gets. `checkpoint` is its own last saved state (None: begin), `decisions` the approvals of the
    segment that ended, all decided; `history` the session's earlier messages, oldest first."""

    session_id: SessionId
    job_id: JobId
    run_id: RunId
    turn: int
    attempt: int
    epoch: int
    input: JsonValue
    history: Sequence[Mapping[str, JsonValue]] = ()
    checkpoint: JsonValue = None
    decisions: Sequence[Approval] = field(default=())

    @property
    def fence(self) -> str:
        """`run_id:epoch`: pass it to tools as a fencing token, so that they can refuse a stale worker's call."""
        return f"{self.run_id}:{self.epoch}"


class Agent(Protocol):
    """An agent as the worker sees it. `adapters/agents/loading.py` makes one of a plain async generator function."""

    @property
    def name(self) -> str:
        """The name runs ask for."""
        ...

    @property
    def on_take_over(self) -> TakeOver:
        """Whether the agent can be started again after its worker died."""
        ...

    def validate(self, input: JsonValue) -> None:  # noqa: A002  - the wire's word
        """Raise Invalid if this input can't be run. Called before anything is recorded."""
        ...

    def prompt(self, input: JsonValue) -> str | None:  # noqa: A002  - the wire's word
        """The part of the input that people read as the user's message, if there is one."""
        ...

    def run(self, context: Context) -> AsyncGenerator[Output, None]:
        """Produce the run's outputs."""
        ...
