"""The scribe: outputs in, frames out. It opens and closes messages, parts and steps, and numbers everything.

Pure and synchronous; one scribe per segment of a run. The hot path (one more piece of text) composes bytes directly.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from pydantic import JsonValue, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from . import agent as a
from . import frames as f
from . import wire
from .errors import InvalidFrames, UnwritableOutput
from .identifiers import message_id
from .outline import OPEN_PARTS_MAX, Outline
from .run import Run

TEXT_CHARS_MAX: Final = 65_536
"""Characters of one delta; longer pieces are split, so that no frame comes near FRAME_BYTES_MAX."""

CHECKPOINT_BYTES_MAX: Final = 4_194_304
"""Bytes of one checkpoint."""


@dataclass(frozen=True, slots=True)
class Checkpointed:
    """A checkpoint's row: `step` names it, `seq` is the step.end frame it was committed with."""

    step: int
    seq: int
    state: bytes


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames ready to be appended in one piece, with the outline after them and the last checkpoint among them."""

    first_seq: int
    data: tuple[bytes, ...]
    outline: Outline
    checkpoint: Checkpointed | None


class Scribe:
    """Writes one segment. `next_seq` is the head + 1; `step` the last step that ended with a checkpoint."""

    def __init__(self, run: Run, outline: Outline, next_seq: int, step: int = 0) -> None:
        self._run = run
        self._first_seq = self._seq = next_seq
        self._lines: list[bytes] = []
        self.pending_bytes = 0
        self._step = step
        self._step_open = False
        self._checkpoint: Checkpointed | None = None
        self._messages = outline.messages
        self._part_count = outline.part_count
        self._message: str | None = None
        self._text: tuple[str, str] | None = None
        self._calls: dict[str, str] = {}
        self._write: dict[type, Callable[[Any], object]] = {
            a.Text: lambda output: self._piece("text", output.text),
            a.Reasoning: lambda output: self._piece("reasoning", output.text),
            a.EndPart: lambda _: self._end_text(),
            a.ToolCallStart: self._start_call,
            a.ToolCallDelta: self._call_delta,
            a.ToolCall: self._call,
            a.ToolResult: lambda o: self._whole(
                f.ToolResult(tool_call_id=o.tool_call_id, output=o.output, error=o.error)
            ),
            a.Data: lambda output: self._whole(f.Data(name=output.name, value=output.value)),
            a.Source: lambda output: self._whole(f.Source(url=output.url, title=output.title)),
            a.File: lambda o: self._whole(f.File(name=o.name, media_type=o.media_type, url=o.url)),
            a.Checkpoint: self._save,
        }

    @property
    def pending(self) -> int:
        """Frames written and not yet taken."""
        return len(self._lines)

    @property
    def step(self) -> int:
        """The step that is open, or the last one that ended."""
        return self._step

    def write(self, output: a.Output) -> None:
        """Write one output. Raises InvalidFrames for what can't be written; TypeError for what is no output."""
        write = self._write.get(type(output))
        if write is None:
            message = f"an agent yields outputs (Text, ToolCall, ...), not {type(output).__name__}"
            raise TypeError(message)
        try:
            write(output)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(str(place) for place in (type(output).__name__, *fault["loc"]))
            raise UnwritableOutput(f"{where} can't be written: {fault['msg']}.") from error

    def take(self) -> Batch:
        """Everything written since the last take, as one batch."""
        batch = Batch(self._first_seq, tuple(self._lines), self.outline(), self._checkpoint)
        self._lines = []
        self.pending_bytes = 0
        self._first_seq = self._seq
        self._checkpoint = None
        return batch

    def outline(self) -> Outline:
        """The outline after everything written so far."""
        parts = {self._text[1]: self._text[0]} if self._text else {}
        parts |= dict.fromkeys(self._calls.values(), "tool")
        return Outline(
            message=self._message,
            parts=parts,
            step=self._step if self._step_open else None,
            messages=self._messages,
            part_count=self._part_count,
        )

    def end_step(self, state: JsonValue | None = None) -> None:
        """Close the message and the step; with a `state`, save it as the checkpoint this step.end names."""
        self._start_step()
        self.end_message()
        checkpoint = None if state is None else self._step
        if state is not None:
            self._checkpoint = Checkpointed(self._step, self._seq, encode_state(state))
        self._frame(f.StepEnd(step=self._step, checkpoint=checkpoint))
        self._step_open = False

    def finish(self) -> None:
        """Close what is open at the end of a segment."""
        if self._step_open:
            self.end_step()

    def end_message(self) -> None:
        """Close the open message, if there is one. Raises InvalidFrames while a tool call is still arriving."""
        self._end_text()
        if self._calls:
            raise InvalidFrames(f"The calls {', '.join(self._calls)} were started and never completed.")
        if self._message is not None:
            self._frame(f.MessageEnd(message_id=self._message, role="assistant"))
            self._message = None

    def _frame(self, frame: f.Frame) -> None:
        line = wire.encode(frame, self._seq)
        self._lines.append(line)
        self.pending_bytes += len(line)
        self._seq += 1

    def _start_step(self) -> None:
        if not self._step_open:
            self._step += 1
            self._step_open = True
            self._frame(f.StepStart(step=self._step))

    def _start_message(self) -> str:
        if self._message is None:
            self._start_step()
            self._messages += 1
            self._message = message_id(self._run.session_id, self._run.run_id, self._messages)
            self._frame(f.MessageStart(message_id=self._message, role="assistant"))
        return self._message

    def _next_part(self) -> str:
        """The id of the next part; it counts once its start is written."""
        if len(self._calls) + (self._text is not None) >= OPEN_PARTS_MAX:
            raise InvalidFrames(f"{OPEN_PARTS_MAX} parts are open already.", limit=OPEN_PARTS_MAX)
        return f"{self._run.turn}.{self._run.attempt}.{self._part_count + 1}"

    def _piece(self, kind: str, text: str) -> None:
        if self._text is None or self._text[0] != kind:
            self._end_text()
            message = self._start_message()
            part = self._next_part()
            start = f.TextStart if kind == "text" else f.ReasoningStart
            self._frame(start(part=part, message_id=message))
            self._text = (kind, part)
            self._part_count += 1
        self._delta(kind, self._text[1], text)

    def _delta(self, kind: str, part: str, text: str) -> None:
        for begin in range(0, len(text), TEXT_CHARS_MAX):
            piece = text if len(text) <= TEXT_CHARS_MAX else text[begin : begin + TEXT_CHARS_MAX]
            try:
                line = wire.encode_delta(f"{kind}.delta", self._seq, part, piece)
            except PydanticSerializationError:  # a lone surrogate can't be written as UTF-8
                piece = piece.encode("utf-8", "replace").decode()
                line = wire.encode_delta(f"{kind}.delta", self._seq, part, piece)
            self._lines.append(line)
            self.pending_bytes += len(line)
            self._seq += 1

    def _end_text(self) -> None:
        if self._text is not None:
            kind, part = self._text
            self._text = None
            self._frame(f.TextEnd(part=part) if kind == "text" else f.ReasoningEnd(part=part))

    def _start_call(self, output: a.ToolCallStart | a.ToolCall) -> str:
        part = self._calls.get(output.tool_call_id)
        if part is None:
            self._end_text()
            self._start_message()
            part = self._next_part()
            self._frame(f.ToolCallStart(part=part, tool_call_id=output.tool_call_id, name=output.name))
            self._calls[output.tool_call_id] = part
            self._part_count += 1
        return part

    def _call_delta(self, output: a.ToolCallDelta) -> None:
        part = self._calls.get(output.tool_call_id)
        if part is None:
            raise InvalidFrames(f"ToolCallDelta for {output.tool_call_id}, which was not started.")
        self._delta("tool.call", part, output.text)

    def _call(self, output: a.ToolCall) -> None:
        part = self._start_call(output)
        call = output.tool_call_id
        self._frame(f.ToolCallReady(part=part, tool_call_id=call, name=output.name, arguments=output.arguments))
        del self._calls[call]

    def _save(self, output: a.Checkpoint) -> None:
        if output.state is None:
            raise UnwritableOutput("A checkpoint is any JSON but null, which stands for none.")
        self.end_step(output.state)

    def _whole(self, frame: f.Frame) -> None:
        self._end_text()
        self._start_message()
        self._frame(frame)


def encode_state(state: JsonValue) -> bytes:
    """A checkpoint's stored form. Raises UnwritableOutput if it is no JSON or over CHECKPOINT_BYTES_MAX."""
    try:
        data = to_json(state)
    except PydanticSerializationError as error:
        raise UnwritableOutput(f"The checkpoint can't be written as JSON: {error}.") from error
    if wire.too_deep(data):
        raise UnwritableOutput("The checkpoint is nested too deep to be read again.")
    if len(data) > CHECKPOINT_BYTES_MAX:
        detail = f"A checkpoint of {len(data)} bytes is over the limit of {CHECKPOINT_BYTES_MAX}."
        raise UnwritableOutput(detail, limit=CHECKPOINT_BYTES_MAX)
    return data
