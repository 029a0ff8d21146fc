"""The language of scripts: what a run's input may say to the script agent, and the limits of saying it."""

from collections.abc import Iterator
from functools import cached_property
from itertools import chain
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, Tag, ValidationError

from ...domain.agent import Data, Output, Reasoning, Text
from ...domain.errors import Invalid
from ...domain.requests import APPROVAL_TIMEOUT_S_MAX, APPROVALS_MAX

STEPS_MAX: Final = 10_000
"""Steps written in one script, at all levels together."""

NESTING_MAX: Final = 8
"""Repeats inside each other."""

TIMES_MAX: Final = 10_000_000
"""Iterations of one repeat."""

OUTPUTS_MAX: Final = 100_000_000
"""Outputs of one script with all its repeats written out; a delta, a call, a wait count one each."""

CHUNK_MAX: Final = 65_536
"""Characters of one delta."""

WAIT_MS_MAX: Final = 86_400_000
"""Milliseconds (a day) of one wait or delay."""

BURST_MAX: Final = 1_024
"""Outputs of a repeat's body that are made once and kept, instead of anew in each iteration."""

KINDS: Final = ("text", "reasoning", "tool", "approvals", "data", "wait_ms", "fail", "crash", "repeat")
"""The names of the steps; each step has exactly one of them."""

FREE: Final = ("arguments", "result", "value")
"""Fields that hold any JSON: what is wrong inside of one is named by the field alone."""

Chunk = Annotated[int, Field(ge=1, le=CHUNK_MAX)]
Milliseconds = Annotated[int, Field(ge=0, le=WAIT_MS_MAX)]
Name = Annotated[str, Field(min_length=1)]


class Written(BaseModel):
    """Base of all that stands in a script: exactly these fields, of exactly these types."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class TextStep(Written):
    """Text, a delta every `chunk` characters, `delay_ms` after each."""

    text: str
    chunk: Chunk = 4
    delay_ms: Milliseconds = 0

    def outputs(self) -> Iterator[Text]:
        """The deltas."""
        return map(Text, _cut(self.text, self.chunk))


class ReasoningStep(Written):
    """Reasoning, in deltas as text is."""

    reasoning: str
    chunk: Chunk = 4
    delay_ms: Milliseconds = 0

    def outputs(self) -> Iterator[Reasoning]:
        """The deltas."""
        return map(Reasoning, _cut(self.reasoning, self.chunk))


class Tool(Written):
    """A tool call that gives `result`, or fails with `error`, after `delay_ms`."""

    name: Name
    arguments: JsonValue = Field(default_factory=dict[str, JsonValue])
    result: JsonValue = None
    error: str | None = None
    delay_ms: Milliseconds = 0


class ToolStep(Written):
    tool: Tool


class Guarded(Written):
    """A tool call that waits for a person, and gives `result` if it is approved."""

    tool: Name
    arguments: JsonValue = Field(default_factory=dict[str, JsonValue])
    result: JsonValue = None


class ApprovalsStep(Written):
    """Ends the segment. `timeout_s` None: the service's default."""

    approvals: Annotated[tuple[Guarded, ...], Field(strict=False, min_length=1, max_length=APPROVALS_MAX)]
    timeout_s: Annotated[float, Field(ge=0, le=APPROVAL_TIMEOUT_S_MAX)] | None = None


class NamedValue(Written):
    name: Name
    value: JsonValue


class DataStep(Written):
    data: NamedValue


class WaitStep(Written):
    """Silence."""

    wait_ms: Milliseconds


class Failure(Written):
    type: Name
    message: str = ""
    retryable: bool = False


class FailStep(Written):
    """Ends the run as failed, with this error."""

    fail: Failure


class CrashStep(Written):
    """Raises an ordinary exception, as a bug in an agent would."""

    crash: Literal[True]


class Loop(Written):
    times: Annotated[int, Field(ge=1, le=TIMES_MAX)]
    steps: Annotated[tuple["Step", ...], Field(strict=False, min_length=1)]

    @cached_property
    def burst(self) -> tuple[Output, ...] | None:
        """The outputs of one iteration, if they are few, take no time and are the same in each iteration."""
        if self.outputs_count > BURST_MAX * self.times:
            return None
        parts = [burst_of(step) for step in self.steps]
        return None if None in parts else tuple(chain.from_iterable(part or () for part in parts))

    @cached_property
    def outputs_count(self) -> int:
        """The outputs of all iterations."""
        return self.times * sum(map(outputs_of, self.steps))


class RepeatStep(Written):
    repeat: Loop


Leaf = TextStep | ReasoningStep | ToolStep | ApprovalsStep | DataStep | WaitStep | FailStep | CrashStep
"""All steps but repeats."""


def kind_of(step: object) -> str | None:
    """The name of a step as it stands in JSON, or None if it has none or several."""
    kinds = [kind for kind in KINDS if kind in step] if isinstance(step, dict) else []
    return kinds[0] if len(kinds) == 1 else None


Step = Annotated[
    Annotated[TextStep, Tag("text")]
    | Annotated[ReasoningStep, Tag("reasoning")]
    | Annotated[ToolStep, Tag("tool")]
    | Annotated[ApprovalsStep, Tag("approvals")]
    | Annotated[DataStep, Tag("data")]
    | Annotated[WaitStep, Tag("wait_ms")]
    | Annotated[FailStep, Tag("fail")]
    | Annotated[CrashStep, Tag("crash")]
    | Annotated[RepeatStep, Tag("repeat")],
    Discriminator(
        kind_of,
        custom_error_type="unknown_step",
        custom_error_message=f"A step is an object with exactly one of {', '.join(KINDS)}",
    ),
]


class Script(Written):
    """A run's input. `prompt` is what people read as the user's message."""

    prompt: str | None = None
    steps: Annotated[tuple[Step, ...], Field(strict=False)]


def parse(input: JsonValue) -> Script:  # noqa: A002  - the wire's word
    """Read a script. Raises Invalid, its `field` the path of what is wrong."""
    if not isinstance(input, dict):
        raise _invalid("", 'A script is an object: {"steps": [{"text": "hello"}]}')
    _bound(input)
    try:
        script = Script.model_validate(input)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise _invalid(_path(first["loc"]), first["msg"]) from None
    if sum(map(outputs_of, script.steps)) > OUTPUTS_MAX:
        raise _invalid("steps", f"The script gives more than {OUTPUTS_MAX} outputs", limit=OUTPUTS_MAX)
    for index, step in enumerate(script.steps):
        _check_tools(step, f"steps[{index}]")
    return script


def outputs_of(step: Step) -> int:
    """How many outputs a step gives with its repeats written out; a step that gives none counts one."""
    match step:
        case TextStep():
            return 1 + len(step.text) // step.chunk
        case ReasoningStep():
            return 1 + len(step.reasoning) // step.chunk
        case ApprovalsStep():
            return len(step.approvals)
        case RepeatStep():
            return step.repeat.outputs_count
        case _:
            return 1


def burst_of(step: Step) -> tuple[Output, ...] | None:
    """A step's outputs, if they take no time and don't depend on the step's place. At most BURST_MAX are asked for."""
    match step:
        case TextStep(delay_ms=0) | ReasoningStep(delay_ms=0):
            return tuple(step.outputs())
        case DataStep():
            return (Data(step.data.name, step.data.value),)
        case RepeatStep():
            body = step.repeat.burst
            return None if body is None else body * step.repeat.times
        case _:
            return None


def _cut(text: str, chunk: int) -> Iterator[str]:
    return (text[begin : begin + chunk] for begin in range(0, len(text), chunk))


def _bound(input: JsonValue) -> None:  # noqa: A002  - the wire's word
    """Count steps and levels before anything recursive looks at them."""
    count = 0
    lists: list[tuple[str, int, JsonValue]] = [("", 0, input)]
    while lists:
        path, depth, holder = lists.pop()
        steps = holder.get("steps") if isinstance(holder, dict) else None
        if not isinstance(steps, list):
            continue
        count += len(steps)
        if count > STEPS_MAX:
            raise _invalid(f"{path}steps", f"A script has at most {STEPS_MAX} steps", limit=STEPS_MAX)
        for index, step in enumerate(steps):
            if isinstance(step, dict) and "repeat" in step:
                inside = f"{path}steps[{index}].repeat."
                if depth == NESTING_MAX:
                    raise _invalid(inside[:-1], f"Repeats are nested at most {NESTING_MAX} deep", limit=NESTING_MAX)
                lists.append((inside, depth + 1, step["repeat"]))


def _check_tools(step: Step, path: str) -> None:
    match step:
        case ToolStep() if step.tool.error is not None and "result" in step.tool.model_fields_set:
            raise _invalid(f"{path}.tool", "A tool gives a result or an error, never both")
        case RepeatStep():
            for index, inner in enumerate(step.repeat.steps):
                _check_tools(inner, f"{path}.repeat.steps[{index}]")
        case _:
            pass


def _path(location: tuple[int | str, ...]) -> str:
    """`steps[0].repeat.steps[1].chunk`: as it stands in the JSON, without the kinds that pydantic adds."""
    path = ""
    for index, name in enumerate(location):
        if isinstance(name, int):
            path += f"[{name}]"
        elif index < 2 or not (isinstance(location[index - 1], int) and location[index - 2] == "steps"):
            path += f".{name}"
        if name in FREE:
            break
    return path.removeprefix(".")


def _invalid(path: str, problem: str, **fields: int) -> Invalid:
    where = f"{path}: " if path else ""
    return Invalid(f"{where}{problem.removesuffix('.')}.", field=f"input.{path}" if path else "input", **fields)
