"""Output of remote workers: frames checked as strictly as the scribe writes them, then put into one batch."""

import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field, JsonValue, ValidationError

from ...domain.application import Application
from ...domain.errors import AppendConflict, InvalidFrames, NotFound, RunClosed, StaleEpoch
from ...domain.frames import (
    OUTPUT,
    MessageStart,
    OutputFrame,
    ReasoningDelta,
    ReasoningStart,
    StepEnd,
    TextDelta,
    TextStart,
    ToolCallDelta,
    ToolCallStart,
    ToolResult,
)
from ...domain.identifiers import RunId, message_id
from ...domain.outline import Outline
from ...domain.ports import Head, Transaction
from ...domain.run import Run
from ...domain.scribe import Batch, Checkpointed, encode_state
from ...domain.transitions import Status
from ...domain.wire import encode, encode_delta, within_limit
from .body import Body

OUTPUT_FRAMES_MAX: Final = 1000
"""Frames of one request."""

HEADS_MAX: Final = 1024
"""Runs whose head is remembered between two requests; the others are read from the store."""

SEQ_MAX: Final = 10**15
"""The last seq a cursor can name."""


_PART: Final = re.compile(r"[0-9.]+", re.ASCII)


class SavedState(Body):
    """A checkpoint: it belongs to the step.end frame of this output that names its step."""

    step: Annotated[int, Field(ge=1, le=2**31 - 1)]
    state: JsonValue


class Output(Body):
    """The body of output. Frames come without `seq`, or with the one they will get."""

    first_seq: Annotated[int, Field(ge=1, le=SEQ_MAX)]
    frames: Annotated[list[dict[str, JsonValue]], Field(min_length=1, max_length=OUTPUT_FRAMES_MAX)]
    checkpoint: SavedState | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """A run in the hands of its worker, and where its log ends."""

    run: Run
    head: Head


class Heads:
    """The runs that remote workers write to. What is remembered wrongly costs a refused append, never a wrong one: the
    store lets nothing land that does not follow its own head under its own epoch."""

    def __init__(self, application: Application) -> None:
        self._store = application.store
        self._held: OrderedDict[RunId, Held] = OrderedDict()

    async def held(self, run_id: RunId, epoch: int, first_seq: int) -> Held:
        """The run, for output of the worker at `epoch` that begins at `first_seq`.

        Raises NotFound, StaleEpoch, RunClosed, or AppendConflict for output beyond the log's end.
        """
        held = self._held.get(run_id)
        if held is not None and (held.run.epoch, held.head.seq + 1) == (epoch, first_seq):
            return held
        run, head = await self._store.transact(lambda tx: _head(tx, run_id))
        if run.epoch != epoch:
            detail = f"The worker holds epoch {epoch}, the run is at {run.epoch}."
            raise StaleEpoch(detail, run_id=run_id, epoch=run.epoch)
        if first_seq > head.seq and run.status is not Status.RUNNING:
            raise RunClosed(f"The run is {run.status}.", run_id=run_id, status=run.status)
        if first_seq > head.seq + 1:
            raise AppendConflict(f"The log ends at {head.seq}.", run_id=run_id, head_seq=head.seq)
        return Held(run, head)

    def remember(self, run: Run, batch: Batch) -> None:
        """The batch is now the end of the run's log."""
        head = Head(batch.first_seq + len(batch.data) - 1, run.epoch, batch.outline)
        self._held[run.run_id] = Held(run, head)
        self._held.move_to_end(run.run_id)
        if len(self._held) > HEADS_MAX:
            self._held.popitem(last=False)


def _head(tx: Transaction, run_id: RunId) -> tuple[Run, Head]:
    run = tx.run(run_id)
    if run is None:
        raise NotFound(f"There is no run {run_id!r:.80}.", run_id=run_id)
    return run, tx.head(run_id)


def batch_of(held: Held, output: Output) -> Batch:
    """The output as one batch. Raises InvalidFrames naming the frame.

    Output that begins before the head can only be a repeat: the store compares its bytes, so grammar does not matter.
    """
    frames = [_frame(fields, output.first_seq + n) for n, fields in enumerate(output.frames)]
    outline = held.head.outline
    if output.first_seq == held.head.seq + 1:
        for frame in frames:
            _check_ids(held.run, outline, frame)
            outline = outline.after((frame,))
    data = tuple(_encode(frame, output.first_seq + n) for n, frame in enumerate(frames))
    return Batch(output.first_seq, data, outline, _checkpoint(frames, output))


def _encode(frame: OutputFrame, seq: int) -> bytes:
    if isinstance(frame, TextDelta | ReasoningDelta | ToolCallDelta) and _PART.fullmatch(frame.part):
        return within_limit(encode_delta(frame.type, seq, frame.part, frame.text), frame.type)
    return encode(frame, seq)


def _frame(fields: dict[str, JsonValue], seq: int) -> OutputFrame:
    try:
        frame = OUTPUT.validate_python(fields, strict=True)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(str(step) for step in fault["loc"])
        raise InvalidFrames(f"Frame {seq}: {place} {fault['msg']}."[:300], field="frames", seq=seq) from None
    unknown = [name for name in fields if name not in type(frame).model_fields]
    if unknown:
        raise InvalidFrames(f"Frame {seq}: a {frame.type} has no {unknown[0]!r:.80}.", field="frames", seq=seq)
    if "seq" in fields and frame.seq != seq:
        raise InvalidFrames(f"Frame {seq} says it is {frame.seq}.", field="frames", seq=seq)
    if isinstance(frame, ToolResult) and frame.error is not None and frame.output is not None:
        raise InvalidFrames(f"Frame {seq}: a tool gives an output or an error, not both.", field="frames", seq=seq)
    return frame


def _check_ids(run: Run, outline: Outline, frame: OutputFrame) -> None:
    """Ids are counted, so that none is given twice: `session:run:ordinal` and `turn.attempt.number`."""
    match frame:
        case MessageStart():
            given, due = frame.message_id, message_id(run.session_id, run.run_id, outline.messages + 1)
        case TextStart() | ReasoningStart() | ToolCallStart():
            given, due = frame.part, f"{run.turn}.{run.attempt}.{outline.part_count + 1}"
        case _:
            return
    if given != due:
        raise InvalidFrames(f"The {frame.type} names {given!r:.100}; the next is {due}.", field="frames", expected=due)


def _checkpoint(frames: Sequence[OutputFrame], output: Output) -> Checkpointed | None:
    named: list[tuple[int, int]] = [
        (output.first_seq + n, frame.checkpoint)
        for n, frame in enumerate(frames)
        if isinstance(frame, StepEnd) and frame.checkpoint is not None
    ]
    given = output.checkpoint
    if (given.step if given else None) != (named[-1][1] if named else None):
        detail = "The checkpoint is the one that the last step.end with a checkpoint names, and comes with it."
        raise InvalidFrames(detail, field="checkpoint")
    return Checkpointed(given.step, named[-1][0], encode_state(given.state)) if given else None
