"""The script agent: deterministic, driven by its input. Tests, benchmarks and demos run on it.

Its place is a path: the step's index, and inside a repeat the iteration and the index there, and so on. A checkpoint
says from which place to go on; the state of a suspension says at which place the approvals stand. Tool calls are
named after their place, so that a step run again after a take-over makes the same calls.
"""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from pydantic import JsonValue

from ...domain.agent import (
    AgentFailure,
    ApprovalRequest,
    Approvals,
    Checkpoint,
    Context,
    Data,
    Output,
    TakeOver,
    ToolCall,
    ToolResult,
)
from .script_steps import (
    ApprovalsStep,
    CrashStep,
    DataStep,
    FailStep,
    Leaf,
    ReasoningStep,
    RepeatStep,
    Step,
    TextStep,
    ToolStep,
    WaitStep,
    parse,
)

Place = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Burst:
    """A repeat that takes no time: these outputs, so many times."""

    outputs: Sequence[Output]
    times: int


class ScriptAgent:
    """Runs the script that is its input; the language stands in `script_steps.py`."""

    @property
    def name(self) -> str:
        """`script`."""
        return "script"

    @property
    def on_take_over(self) -> TakeOver:
        """It goes on from its checkpoint."""
        return "continue"

    def validate(self, input: JsonValue) -> None:  # noqa: A002  - the wire's word
        """Raise Invalid if this is no script, naming the path of what is wrong."""
        parse(input)

    def prompt(self, input: JsonValue) -> str | None:  # noqa: A002  - the wire's word
        """The script's `prompt`."""
        return parse(input).prompt

    async def run(self, context: Context) -> AsyncGenerator[Output, None]:
        """Give the script's outputs, from the checkpoint's place on. A script without delays never waits."""
        script = parse(context.input)
        state = cast("dict[str, list[int]]", context.checkpoint or {})
        decided = tuple(state.get("decided", ()))
        for place, step in walk(script.steps, decided or tuple(state.get("next", ()))):
            match step:
                case Burst():
                    for _ in range(step.times):
                        for output in step.outputs:
                            yield output
                case TextStep() | ReasoningStep():
                    for output in step.outputs():
                        yield output
                        if step.delay_ms:
                            await asyncio.sleep(step.delay_ms / 1000)
                case None:
                    yield Checkpoint({"next": list(place)})
                case ApprovalsStep() if place != decided:
                    for output in asked(step, place, context):
                        yield output
                    return
                case ApprovalsStep():
                    for output in answered(step, place, context):
                        yield output
                case ToolStep():
                    call_id = call_id_of(place, context)
                    yield ToolCall(call_id, step.tool.name, step.tool.arguments)
                    if step.tool.delay_ms:
                        await asyncio.sleep(step.tool.delay_ms / 1000)
                    yield ToolResult(call_id, step.tool.result, step.tool.error)
                case DataStep():
                    yield Data(step.data.name, step.data.value)
                case WaitStep():
                    if step.wait_ms:
                        await asyncio.sleep(step.wait_ms / 1000)
                case FailStep():
                    raise AgentFailure(step.fail.type, step.fail.message, retryable=step.fail.retryable)
                case CrashStep():
                    message = "the script asked for a crash"
                    raise RuntimeError(message)


def walk(steps: Sequence[Step], start: Place) -> Iterator[tuple[Place, Leaf | Burst | None]]:
    """The steps to run from `start` on, each with its place; None stands where a checkpoint is due.

    That is after each outermost step, and after each iteration of an outermost repeat. The place of a checkpoint is
    the place to go on from.
    """
    for index, rest in _from(start, len(steps)):
        step = steps[index]
        if not isinstance(step, RepeatStep):
            yield (index,), step
            yield (index + 1,), None
            continue
        times = step.repeat.times
        for iteration, inner in _from(rest, times):
            yield from _inside(step.repeat.steps, (index, iteration), inner)
            yield ((index + 1,) if iteration + 1 == times else (index, iteration + 1)), None


def asked(step: ApprovalsStep, place: Place, context: Context) -> Iterator[Output]:
    """The calls people are asked about, and the end of the segment."""
    requests: list[ApprovalRequest] = []
    for number, call in enumerate(step.approvals):
        call_id = call_id_of((*place, number), context)
        yield ToolCall(call_id, call.tool, call.arguments)
        requests.append(ApprovalRequest(call_id, call.tool, call.arguments, step.timeout_s))
    yield Approvals(requests, {"decided": list(place)})


def answered(step: ApprovalsStep, place: Place, context: Context) -> Iterator[Output]:
    """What the calls gave once people decided: the result with the approved arguments, or that it was denied."""
    decisions = {decision.tool_call_id: decision for decision in context.decisions}
    for number, call in enumerate(step.approvals):
        call_id = call_id_of((*place, number), context)
        decision = decisions[call_id]
        if decision.outcome == "approve":
            yield ToolResult(call_id, {"result": call.result, "arguments": decision.decided_arguments})
        else:
            yield ToolResult(call_id, error=f"denied: {decision.reason}" if decision.reason else "denied")


def call_id_of(place: Place, context: Context) -> str:
    """Unique in the session and the same on every attempt at this place, as part ids are: `turn.attempt.c<place>`."""
    return f"{context.turn}.{context.attempt}.c{'.'.join(map(str, place))}"


def _inside(steps: Sequence[Step], prefix: Place, start: Place) -> Iterator[tuple[Place, Leaf | Burst]]:
    """The steps of one iteration. No checkpoint is due in there."""
    for index, rest in _from(start, len(steps)):
        step = steps[index]
        place = (*prefix, index)
        if not isinstance(step, RepeatStep):
            yield place, step
        elif (outputs := step.repeat.burst) is not None:
            yield place, Burst(outputs, step.repeat.times)
        else:
            for iteration, inner in _from(rest, step.repeat.times):
                yield from _inside(step.repeat.steps, (*place, iteration), inner)


def _from(start: Place, count: int) -> Iterator[tuple[int, Place]]:
    """The numbers from the head of `start` up to `count`, the first one with the rest of `start`."""
    head = start[0] if start else 0
    if head < count:
        yield head, start[1:]
    for number in range(head + 1, count):
        yield number, ()
