"""Agents driven without a server: segment after segment, through the real scribe and the real folds."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

from pydantic import JsonValue
from pydantic_core import from_json

from reattach.domain.agent import (
    Agent,
    ApprovalRequest,
    Approvals,
    Checkpoint,
    Context,
    Finish,
    Output,
)
from reattach.domain.frames import LOG
from reattach.domain.identifiers import JobId, RunId, SessionId
from reattach.domain.messages import Fields, Messages
from reattach.domain.outline import Outline
from reattach.domain.run import Run
from reattach.domain.run_facts import Approval, Outcome, digest_of
from reattach.domain.scribe import Scribe, encode_state
from reattach.domain.wire import decode_fields

SESSION, JOB, RUN = SessionId("ses_1"), JobId("job_1"), RunId("run_1")
SEGMENTS_MAX = 1000
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Answer:
    """What a person says to one request."""

    outcome: Outcome = "approve"
    reason: str | None = None
    arguments: JsonValue = None


Decide = Callable[[ApprovalRequest], Answer]


def approve(_: ApprovalRequest) -> Answer:
    return Answer()


def context_of(input: Any, **changes: Any) -> Context:  # noqa: A002  - the wire's word
    """The context of a run's first segment."""
    first = Context(session_id=SESSION, job_id=JOB, run_id=RUN, turn=1, attempt=1, epoch=1, input=input)
    return replace(first, **changes)


class Mark(NamedTuple):
    """Where the frames stood at some moment."""

    lines: int = 0
    outline: Outline = Outline()
    step: int = 0


@dataclass
class Driven:
    """All that a run gave: outputs, frames, and how it ended."""

    outputs: list[Output] = field(default_factory=list[Output])
    lines: list[bytes] = field(default_factory=list[bytes])
    outline: Outline = field(default_factory=Outline)
    asked: list[Approvals] = field(default_factory=list[Approvals])
    restarts: list[tuple[int, Context]] = field(default_factory=list[tuple[int, Context]])
    """From where another worker could go on: how many outputs there were, and the context it would get."""
    step: int = 0
    end: Finish | None = None
    marks: list[Mark] = field(default_factory=lambda: [Mark()])
    """Where the frames stood before the first output and after each."""

    def frames(self) -> list[Fields]:
        return decode_fields(self.lines)

    def messages(self) -> list[Fields]:
        """The frames folded. The folds see the end of a segment as the run's `run.suspended` would make them see it."""
        fold = Messages(f"{SESSION}:{RUN}")
        for frame in self.frames():
            fold.apply(frame)
        return fold.as_json()

    def parts(self) -> list[Fields]:
        return [part for message in self.messages() for part in message["parts"]]

    def said(self) -> list[tuple[Any, ...]]:
        """What the parts say, without ids and states of ours."""
        return [brief(part) for part in self.parts()]

    def checkpoints(self) -> list[Checkpoint]:
        return [output for output in self.outputs if isinstance(output, Checkpoint)]


async def run_segment(agent: Agent, context: Context, driven: Driven) -> Approvals | None:
    """One segment into `driven`; the approvals it ended with, or None at the run's end."""
    begin = len(driven.lines)
    run = Run(session_id=SESSION, run_id=RUN, turn=context.turn, attempt=context.attempt)
    scribe = Scribe(run, driven.outline, begin + 1, driven.step)
    outputs = agent.run(context)
    end: Approvals | Finish = Finish()
    try:
        async with aclosing(outputs):
            async for output in outputs:
                driven.outputs.append(output)
                if isinstance(output, Checkpoint):
                    context = replace(context, checkpoint=from_json(encode_state(output.state)))
                    driven.restarts.append((len(driven.outputs), context))
                if isinstance(output, Approvals | Finish):
                    end = output
                    break
                scribe.write(output)
                driven.marks.append(Mark(begin + scribe.pending, scribe.outline(), scribe.step))
        scribe.finish()
        if len(driven.marks) <= len(driven.outputs):  # it ended with an output of its own
            driven.marks.append(Mark(begin + scribe.pending, scribe.outline(), scribe.step))
    finally:
        batch = scribe.take()
        driven.lines += batch.data
        driven.outline = batch.outline
        driven.step = scribe.step
    if isinstance(end, Finish):
        driven.end = end
        return None
    driven.asked.append(end)
    return end


async def drive(agent: Agent, context: Context, decide: Decide = approve, into: Driven | None = None) -> Driven:
    """Segments until the run ends. State, arguments and decisions pass through JSON, as they would through a store."""
    driven = into or Driven()
    driven.restarts.append((0, context))
    for _ in range(SEGMENTS_MAX):
        end = await run_segment(agent, context, driven)
        if end is None:
            return driven
        context = resumed(context, end, decide)
        driven.restarts.append((len(driven.outputs), context))
    message = f"no end after {SEGMENTS_MAX} segments"
    raise AssertionError(message)


def resumed(context: Context, end: Approvals, decide: Decide) -> Context:
    """The next segment's context, once all is decided."""
    decisions = tuple(_decided(number, request, decide(request)) for number, request in enumerate(end.requests, 1))
    state = from_json(encode_state(end.state))
    return replace(context, epoch=context.epoch + 1, checkpoint=state, decisions=decisions)


def _decided(number: int, request: ApprovalRequest, answer: Answer) -> Approval:
    arguments = None
    if answer.outcome == "approve":
        arguments = request.arguments if answer.arguments is None else answer.arguments
    return Approval(
        approval_id=f"1.1.a{number}",
        tool_call_id=request.tool_call_id,
        tool=request.tool,
        arguments=request.arguments,
        digest=digest_of(request.tool, request.arguments),
        expires_at=NOW,
        outcome=answer.outcome,
        reason=answer.reason,
        decided_arguments=arguments,
        by="somebody",
    )


def grammatical(lines: Sequence[bytes]) -> Outline:
    """The outline after these frames, judged by the domain. Raises InvalidFrames where the grammar is broken."""
    frames = [LOG.validate_python(fields, strict=False) for fields in decode_fields(lines)]
    assert [frame.seq for frame in frames] == list(range(1, len(frames) + 1))
    return Outline().after(frames)


def brief(part: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a part says, without ids and states of ours."""
    match part["kind"]:
        case "text" | "reasoning":
            return (part["kind"], part["text"])
        case "tool":
            return ("tool", part["tool_call_id"], part["name"], part["arguments"])
        case "tool_result":
            return ("result", part["tool_call_id"], part.get("output"), part.get("error"))
        case kind:
            return (kind, {name: value for name, value in part.items() if name != "kind"})
