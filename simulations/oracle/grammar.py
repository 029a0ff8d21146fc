"""The grammar of one run's output as its readers rely on it: messages, parts and steps open and close in order.

Written from the stream's point of view, on stored lines, beside `domain.outline` (which is under test). The frame a
run consists of, a delta, is judged without parsing it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic_core import from_json

from ..violation import Violation
from .log import RunLog

Fields = Mapping[str, Any]

DELTAS: Final = {"text.delta": "text", "reasoning.delta": "reasoning", "tool.call.delta": "tool"}
_STARTS: Final = {"text.start": "text", "reasoning.start": "reasoning", "tool.call.start": "tool"}
_ENDS: Final = {"text.end": "text", "reasoning.end": "reasoning", "tool.call.ready": "tool"}
_WHOLE: Final = frozenset({"tool.result", "data", "source", "file"})
OUTPUT: Final = (
    frozenset({"message.start", "message.end", "step.start", "step.end"}) | {*DELTAS, *_STARTS, *_ENDS} | _WHOLE
)
"""The types of frames that a worker may append."""

_PART: Final = b',"part":"'
_PART_WITHIN: Final = 80
"""Bytes of a line within which a delta's part is named."""


class Grammar:
    """What is open in one run, and how far its counters have come.

    `step` is the last step that counts: the one that ended, or the checkpoint's after a change of hands.
    `checkpoint` is (step, seq) of the latest one that the frames name.
    """

    __slots__ = ("_log", "_seen", "checkpoint", "message", "messages", "parts", "step", "step_open")

    def __init__(self, log: RunLog, seen: set[bytes]) -> None:
        self._log = log
        self._seen = seen
        self.message: str | None = None
        self.messages = 0
        self.parts: dict[bytes, str] = {}
        self.step = 0
        self.step_open = False
        self.checkpoint: tuple[int, int] | None = None

    def output(self, kinds: Sequence[str], lines: Sequence[bytes], first_seq: int) -> None:
        """Fold output. Raises part-closed, part-reused, message-order, message-id, step-order, frame-unknown."""
        for seq, kind, line in zip(range(first_seq, first_seq + len(lines)), kinds, lines, strict=True):
            if kind in DELTAS:
                self._require_part(_part_of(line), DELTAS[kind], seq, kind)
            elif kind not in OUTPUT:
                raise self._broken("frame-unknown", seq, f"No worker may append a {kind} frame")
            else:
                self._frame(kind, from_json(line), seq)

    def cut(self, kind: str, closes: Sequence[str], seq: int) -> int:
        """A frame cuts the run short; how many parts it closes. Raises closes-wrong."""
        opened, named = sorted(part.decode() for part in self.parts), sorted(closes)
        if opened != named:
            raise self._broken("closes-wrong", seq, f"The {kind} frame closes {named}, open are {opened}")
        self.message = None
        self.parts = {}
        self.step_open = False
        return len(named)

    def rewind(self) -> None:
        """Another hand goes on from the checkpoint: so do the steps. The messages and parts count on."""
        self.step = self.checkpoint[0] if self.checkpoint else 0

    def require_closed(self, kind: str, seq: int) -> None:
        """Raises left-open: this frame may only come when nothing is open."""
        if self.message is not None or self.parts or self.step_open:
            what = self.message or (f"step {self.step + 1}" if self.step_open else sorted(self.parts))
            raise self._broken("left-open", seq, f"A {kind} frame comes while {what} is open")

    def _frame(self, kind: str, fields: Fields, seq: int) -> None:
        if kind in _STARTS:
            self._start(_STARTS[kind], fields, seq)
        elif kind in _ENDS:
            self._require_part(fields["part"].encode(), _ENDS[kind], seq, kind)
            del self.parts[fields["part"].encode()]
        elif kind in _WHOLE:
            if self.message is None:
                raise self._broken("message-order", seq, f"A {kind} frame stands outside of any message")
        elif kind == "message.start":
            self._start_message(fields["message_id"], seq)
        elif kind == "message.end":
            if fields["message_id"] != self.message or self.parts:
                detail = f"{fields['message_id']} ends; open are {self.message} and the parts {sorted(self.parts)}"
                raise self._broken("message-order", seq, detail)
            self.message = None
        else:
            self._step(kind, fields, seq)

    def _start(self, kind: str, fields: Fields, seq: int) -> None:
        part = fields["part"].encode()
        if self.message is None or fields.get("message_id", self.message) != self.message:
            raise self._broken("message-order", seq, f"Part {fields['part']} begins outside of its message")
        if part in self._seen:
            raise self._broken("part-reused", seq, f"The part id {fields['part']} was given before in this session")
        self._seen.add(part)
        self.parts[part] = kind

    def _start_message(self, message_id: str, seq: int) -> None:
        if self.message is not None:
            raise self._broken("message-order", seq, f"{message_id} begins inside of {self.message}")
        expected = f"{self._log.session_id}:{self._log.run_id}:{self.messages + 1}"
        if message_id != expected:
            raise self._broken("message-id", seq, f"A message is called {message_id}; the next one is {expected}")
        self.message = message_id
        self.messages += 1

    def _step(self, kind: str, fields: Fields, seq: int) -> None:
        step = fields["step"]
        starts = kind == "step.start"
        if step != self.step + 1 or starts == self.step_open or self.message is not None:
            state = f"step {self.step + 1} {'open' if self.step_open else 'to come'}, message {self.message}"
            raise self._broken("step-order", seq, f"A {kind} frame of step {step} is out of place: {state}")
        self.step_open = starts
        if starts:
            return
        self.step = step
        named = fields["checkpoint"]
        if named is not None:
            if named != step:
                raise self._broken("step-order", seq, f"Step {step} names the checkpoint of step {named}")
            self.checkpoint = (step, seq)

    def _require_part(self, part: bytes, kind: str, seq: int, what: str) -> None:
        if self.parts.get(part) != kind:
            raise self._broken("part-closed", seq, f"A {what} frame is for the part {part.decode()}, which is not open")

    def _broken(self, name: str, seq: int, detail: str) -> Violation:
        return Violation(name, f"{detail} ({self._log.run_id}, seq {seq}).", run_id=self._log.run_id, seq=seq)


def _part_of(line: bytes) -> bytes:
    begin = line.find(_PART, 0, _PART_WITHIN)
    if begin < 0:  # stored by somebody who orders the fields otherwise
        return str(from_json(line).get("part")).encode()
    begin += len(_PART)
    return line[begin : line.index(b'"', begin)]
