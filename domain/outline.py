"""The outline of a run's output: what is open at a seq, and how far the run's counters have come.

Each event's row carries the outline after its last frame. A resume, a cancel or a take-over therefore knows what it
cuts short without reading back, and no part or message id is ever given twice.
"""

from collections.abc import Iterable
from typing import Final, Self

from pydantic import BaseModel, ConfigDict

from .errors import InvalidFrames
from .frames import (
    Data,
    File,
    Frame,
    MessageEnd,
    MessageStart,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    Source,
    StepEnd,
    StepStart,
    TextDelta,
    TextEnd,
    TextStart,
    ToolCallDelta,
    ToolCallReady,
    ToolCallStart,
    ToolResult,
)

OPEN_PARTS_MAX: Final = 256
"""Parts open at once in one run."""


class Outline(BaseModel):
    """What is open (`message`, `parts` as id -> kind, `step`), and how many messages and parts there have been."""

    model_config = ConfigDict(frozen=True)
    message: str | None = None
    parts: dict[str, str] = {}
    step: int | None = None
    messages: int = 0
    part_count: int = 0

    def closed(self) -> Self:
        """The outline after a frame that cut the run short: nothing is open, the counters stay."""
        return self.model_copy(update={"message": None, "parts": {}, "step": None})

    def after(self, frames: Iterable[Frame]) -> Self:
        """The outline after these output frames. Raises InvalidFrames where the grammar is broken."""
        outline = self
        for frame in frames:
            outline = outline._after(frame)
        return outline

    def _after(self, frame: Frame) -> Self:
        match frame:
            case MessageStart():
                self._require(self.message is None, frame, f"message {self.message} is still open")
                self._require_number(frame.message_id.rpartition(":")[2], self.messages + 1, frame)
                return self.model_copy(update={"message": frame.message_id, "messages": self.messages + 1})
            case MessageEnd():
                self._require(self.message == frame.message_id, frame, "that message is not open")
                self._require(not self.parts, frame, "it has open parts")
                return self.model_copy(update={"message": None})
            case TextStart() | ReasoningStart():
                self._require(self.message == frame.message_id, frame, "that message is not open")
                return self._opened(frame, frame.part, frame.type.partition(".")[0])
            case ToolCallStart():
                return self._opened(frame, frame.part, "tool")
            case TextDelta() | ReasoningDelta() | ToolCallDelta():
                self._require(self.parts.get(frame.part) == frame.type.partition(".")[0], frame, "its part is not open")
                return self
            case TextEnd() | ReasoningEnd() | ToolCallReady():
                self._require(self.parts.get(frame.part) == frame.type.partition(".")[0], frame, "its part is not open")
                return self.model_copy(update={"parts": {k: v for k, v in self.parts.items() if k != frame.part}})
            case StepStart():
                self._require(self.step is None and self.message is None, frame, "a step or a message is still open")
                return self.model_copy(update={"step": frame.step})
            case StepEnd():
                self._require(self.step == frame.step, frame, "that step is not open")
                self._require(self.message is None, frame, "a message never spans the end of a step")
                return self.model_copy(update={"step": None})
            case ToolResult() | Data() | Source() | File():
                self._require(self.message is not None, frame, "no message is open")
                return self
            case _:
                raise InvalidFrames(f"A {frame.type} frame is no output; it is recorded by a command.")

    def _opened(self, frame: Frame, part: str, kind: str) -> Self:
        self._require(self.message is not None, frame, "no message is open")
        self._require_number(part.rpartition(".")[2], self.part_count + 1, frame)
        self._require(len(self.parts) < OPEN_PARTS_MAX, frame, f"{OPEN_PARTS_MAX} parts are open already")
        return self.model_copy(update={"parts": {**self.parts, part: kind}, "part_count": self.part_count + 1})

    def _require_number(self, text: str, number: int, frame: Frame) -> None:
        """Ids end in the run's own count: that makes them unique without remembering them."""
        self._require(text == str(number), frame, f"its id must end in {number}")

    @staticmethod
    def _require(condition: bool, frame: Frame, why: str) -> None:
        if not condition:
            raise InvalidFrames(f"A {frame.type} frame is out of place: {why}.")
