"""Output of remote workers: frames checked as strictly as the scribe writes them, then put into one batch."""

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
    ReasoningStart,
    StepEnd,
    TextStart,
    ToolCallStart,
    ToolResult,
    encode,
)
from ...domain.identifiers import RunId, message_id
from ...domain.outline import Outline
from ...domain.ports import Head, Transaction
from ...domain.run import Run
from ...domain.scribe import Batch, Checkpointed, encode_state
from ...domain.transitions import Status
from .body import Body

OUTPUT_FRAMES_MAX: Final = 1000
"""Frames of one request."""

HEADS_MAX: Final = 1024
"""Runs whose head is remembered between two requests; the others are read from the store."""

SEQ_MAX: Final = 10**15
"""The last seq a cursor can name."""


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
class Place:
    """Where a run's log ends, as its worker sees it: the next frame is `next_seq`."""

    run: Run
    epoch: int
    next_seq: int
    outline: Outline


class Heads:
    """The places of the runs that remote workers write to. A wrong memory costs a refused append, never a wrong one:
    the store lets nothing land that does not follow its own head under its own epoch."""

    def __init__(self, application: Application) -> None:
        self._store = application.store
        self._places: OrderedDict[RunId, Place] = OrderedDict()

    async def place(self, run_id: RunId, epoch: int, first_seq: int) -> Place:
        """Where output of this worker that begins at `first_seq` would land.

        Raises NotFound, StaleEpoch, RunClosed, or AppendConflict for output beyond the log's end.
        """
        place = self._places.get(run_id)
        if place is not None and (place.epoch, place.next_seq) == (epoch, first_seq):
            return place
        run, head = await self._store.transact(lambda tx: _head(tx, run_id))
        if run.epoch != epoch:
            detail = f"The worker holds epoch {epoch}, the run is at {run.epoch}."
            raise StaleEpoch(detail, run_id=run_id, epoch=run.epoch)
        if first_seq > head.seq and run.status is not Status.RUNNING:
            raise RunClosed(f"The run is {run.status}.", run_id=run_id, status=run.status)
        if first_seq > head.seq + 1:
            raise AppendConflict(f"The log ends at {head.seq}.", run_id=run_id, head_seq=head.seq)
        return Place(run, epoch, head.seq + 1, head.outline)

    def remember(self, place: Place, batch: Batch) -> None:
        """The batch has landed behind this place."""
        self._places[place.run.run_id] = Place(place.run, place.epoch, batch.first_seq + len(batch.data), batch.outline)
        self._places.move_to_end(place.run.run_id)
        if len(self._places) > HEADS_MAX:
            self._places.popitem(last=False)

    def forget(self, run_id: RunId) -> None:
        """The run is no longer as remembered."""
        self._places.pop(run_id, None)


def _head(tx: Transaction, run_id: RunId) -> tuple[Run, Head]:
    run = tx.run(run_id)
    if run is None:
        raise NotFound(f"There is no run {run_id!r:.80}.", run_id=run_id)
    return run, tx.head(run_id)


def batch_of(place: Place, output: Output) -> Batch:
    """The output as one batch. Raises InvalidFrames naming the frame.

    Output that begins before the head can only be a repeat: the store compares its bytes, so grammar does not matter.
    """
    frames = [_frame(fields, output.first_seq + n) for n, fields in enumerate(output.frames)]
    outline = place.outline
    if output.first_seq == place.next_seq:
        for frame in frames:
            _check_ids(place.run, outline, frame)
            outline = outline.after((frame,))
    data = tuple(encode(frame, output.first_seq + n) for n, frame in enumerate(frames))
    return Batch(output.first_seq, data, outline, _checkpoint(frames, output))


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
