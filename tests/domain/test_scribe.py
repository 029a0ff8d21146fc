"""The scribe: whatever an agent yields becomes frames that the grammar accepts, or is refused whole."""

from collections.abc import Sequence
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from pydantic_core import from_json, to_json

from reattach.domain import agent as a
from reattach.domain.errors import InvalidFrames, UnwritableOutput
from reattach.domain.outline import OPEN_PARTS_MAX, Outline
from reattach.domain.run import Run
from reattach.domain.scribe import CHECKPOINT_BYTES_MAX, TEXT_CHARS_MAX, Batch, Scribe, encode_state
from reattach.domain.wire import FRAME_BYTES_MAX, decode, type_of

from .log import RUN, SESSION
from .strategies import JSON, OUTPUTS

RUNNING: Final = Run(run_id=RUN, session_id=SESSION, turn=3, attempt=2)
BAD: Final = st.sampled_from(
    [
        a.ToolCallDelta("unknown", "{"),
        a.ToolResult("c", object()),  # pyright: ignore[reportArgumentType]  - what an agent without types may do
        a.ToolCall("bad1", "\ud800", {}),
        a.ToolCallStart("bad2", "\ud800"),
        a.ToolCall("bad4", "pay", "\udfff"),
        a.Data("n", (1, 2)),  # pyright: ignore[reportArgumentType]  - as above
        a.Source("\ud800"),
        a.Checkpoint("\ud800"),
        a.Checkpoint(object()),  # pyright: ignore[reportArgumentType]  - as above
    ]
)


def scribe(outline: Outline | None = None, next_seq: int = 1, step: int = 0) -> Scribe:
    return Scribe(RUNNING, outline or Outline(), next_seq, step)


def written(outputs: Sequence[a.Output]) -> tuple[bytes, ...]:
    """The frames of a segment with these outputs; those that are refused are left out."""
    writer = scribe()
    for output in outputs:
        try:
            writer.write(output)
        except InvalidFrames:
            continue
    return writer.take().data


def kinds(batch: Batch) -> list[str]:
    return [type_of(line) for line in batch.data]


class ScribeMachine(RuleBasedStateMachine):
    """Any outputs, good and bad, over several segments; batches taken at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.scribe = scribe()
        self.outline = Outline()
        self.seq = 0
        self.step = 0
        self.ids: list[str] = []

    @rule(output=OUTPUTS)
    def write(self, output: a.Output) -> None:
        try:
            self.scribe.write(output)
        except InvalidFrames:
            assert isinstance(output, a.ToolCallDelta | a.Checkpoint)

    @rule(output=BAD)
    def write_badly(self, output: a.Output) -> None:
        with pytest.raises(InvalidFrames):
            self.scribe.write(output)

    @rule()
    def take(self) -> None:
        batch = self.scribe.take()
        frames = [decode(line) for line in batch.data]
        assert self.scribe.pending == 0
        assert batch.first_seq == self.seq + 1
        assert [frame.seq for frame in frames] == list(range(self.seq + 1, self.seq + 1 + len(frames)))
        self.seq += len(frames)
        self.outline = self.outline.after(frames)
        assert batch.outline == self.outline
        ends = [frame.model_dump() for frame in frames if frame.type == "step.end"]
        saved = [frame for frame in ends if frame["checkpoint"] is not None]
        assert all(frame["checkpoint"] == frame["step"] for frame in saved)
        if saved:
            assert batch.checkpoint is not None
            assert (batch.checkpoint.seq, batch.checkpoint.step) == (saved[-1]["seq"], saved[-1]["step"])
            self.step = saved[-1]["step"]
        else:
            assert batch.checkpoint is None
        fields = [from_json(line) for line in batch.data]
        self.ids += [frame.get("part") or frame["message_id"] for frame in fields if frame["type"] in STARTS]

    @rule()
    def finish(self) -> None:
        try:
            self.scribe.finish()
        except InvalidFrames:
            assert "tool" in self.scribe.outline().parts.values()
        else:
            assert self.scribe.outline() == self.scribe.outline().closed()

    @rule()
    def begin_another_segment(self) -> None:
        """As after a take-over: what was open is cut."""
        self.take()
        self.outline = self.outline.closed()
        self.scribe = scribe(self.outline, self.seq + 1, self.step)

    @invariant()
    def ids_are_unique(self) -> None:
        assert len(set(self.ids)) == len(self.ids)


STARTS: Final = ("message.start", "text.start", "reasoning.start", "tool.call.start")
TestScribeMachine = ScribeMachine.TestCase


def test_pieces_of_one_kind_are_one_part() -> None:
    writer = scribe()
    for output in (a.Text("a"), a.Text("b"), a.Reasoning("c"), a.Text("d"), a.EndPart(), a.Text("e")):
        writer.write(output)
    writer.finish()
    assert kinds(writer.take()) == [
        *("step.start", "message.start"),
        *("text.start", "text.delta", "text.delta", "text.end"),
        *("reasoning.start", "reasoning.delta", "reasoning.end"),
        *("text.start", "text.delta", "text.end"),
        *("text.start", "text.delta", "text.end"),
        *("message.end", "step.end"),
    ]


def test_ids_say_turn_attempt_and_place() -> None:
    writer = scribe(Outline(messages=4, part_count=9))
    writer.write(a.Text("a"))
    start, text = (from_json(line) for line in writer.take().data[1:3])
    assert start["message_id"] == text["message_id"] == f"{SESSION}:{RUN}:5"
    assert text["part"] == "3.2.10"


def test_a_checkpoint_is_named_by_its_step_and_the_frame_it_came_with() -> None:
    writer = scribe(next_seq=11, step=6)
    writer.write(a.Text("a"))
    writer.write(a.Checkpoint({"done": 1}))
    batch = writer.take()
    assert batch.checkpoint is not None
    assert (batch.checkpoint.step, batch.checkpoint.seq, batch.checkpoint.state) == (7, 17, b'{"done":1}')
    assert from_json(batch.data[-1]) == {"type": "step.end", "seq": 17, "step": 7, "checkpoint": 7}
    assert writer.take().checkpoint is None


def test_the_last_checkpoint_of_a_batch_counts() -> None:
    writer = scribe()
    writer.write(a.Checkpoint(1))
    writer.write(a.Checkpoint(2))
    batch = writer.take()
    assert batch.checkpoint is not None
    assert (batch.checkpoint.step, batch.checkpoint.state) == (2, b"2")


@pytest.mark.parametrize("length", [0, 1, TEXT_CHARS_MAX, TEXT_CHARS_MAX + 1, 2 * TEXT_CHARS_MAX + 7])
@pytest.mark.parametrize("character", ["a", "\x01", "😀", "\udc00"])
def test_long_texts_are_split_and_nothing_is_lost(length: int, character: str) -> None:
    writer = scribe()
    writer.write(a.Text(character * length))
    deltas = [from_json(line) for line in writer.take().data if type_of(line) == "text.delta"]
    assert len(deltas) == -(-length // TEXT_CHARS_MAX)
    readable = character.encode("utf-8", "replace").decode()
    assert "".join(frame["text"] for frame in deltas) == readable * length


@given(text=st.text(st.characters(categories=["Cs", "Cc", "So", "L"])))
def test_any_text_can_be_written(text: str) -> None:
    deltas = [from_json(line) for line in written([a.Text(text)]) if type_of(line) == "text.delta"]
    assert "".join(frame["text"] for frame in deltas) == text.encode("utf-8", "replace").decode()


def test_what_is_no_output_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="not str"):
        scribe().write("hello")  # pyright: ignore[reportArgumentType]  - what an agent without types may do


def test_a_call_that_never_completes_keeps_the_step_open() -> None:
    writer = scribe()
    writer.write(a.ToolCallStart("c", "pay"))
    for attempt in (lambda: writer.write(a.Checkpoint(1)), writer.finish):
        with pytest.raises(InvalidFrames, match="never completed"):
            attempt()
    assert list(writer.outline().parts.values()) == ["tool"]


def test_too_many_open_calls_are_refused() -> None:
    writer = scribe()
    for number in range(OPEN_PARTS_MAX):
        writer.write(a.ToolCallStart(f"c{number}", "pay"))
    for output in (a.ToolCallStart("one more", "pay"), a.Text("hello")):
        with pytest.raises(InvalidFrames, match=str(OPEN_PARTS_MAX)):
            writer.write(output)
    assert Outline().after(decode(line) for line in writer.take().data) == writer.outline()


@pytest.mark.parametrize("name", ["\ud800", "x" * FRAME_BYTES_MAX])
def test_a_start_that_can_not_be_written_opens_nothing(name: str) -> None:
    writer = scribe()
    with pytest.raises(InvalidFrames):
        writer.write(a.ToolCallStart("c", name))
    assert writer.outline().parts == {}
    assert writer.outline().part_count == 0


@given(state=JSON)
def test_a_checkpoint_comes_back(state: Any) -> None:
    assert to_json(from_json(encode_state(state))) == to_json(state)


@pytest.mark.parametrize("state", ["x" * CHECKPOINT_BYTES_MAX, "\ud800", object()])
def test_what_is_no_checkpoint(state: Any) -> None:
    with pytest.raises(UnwritableOutput) as refusal:
        encode_state(state)
    assert "needs its start" not in refusal.value.detail


@pytest.mark.parametrize(
    "output",
    [
        a.Data("n", object()),  # pyright: ignore[reportArgumentType]  - what an agent without types may do
        a.Data("n", "x" * FRAME_BYTES_MAX),
        a.ToolResult("c", "\ud800"),
        a.ToolCallStart("c", "\ud800"),
        a.Checkpoint(None),
    ],
)
def test_what_cannot_be_written_gets_a_remedy_that_fits(output: a.Output) -> None:
    with pytest.raises(UnwritableOutput) as refusal:
        scribe().write(output)
    assert refusal.value.detail.endswith(UnwritableOutput.remedy)
    assert "needs its start" not in refusal.value.detail


def test_a_checkpoint_that_is_accepted_can_be_read() -> None:
    state: Any = 1
    for _ in range(253):
        state = [state]
        try:
            data = encode_state(state)
        except InvalidFrames:
            return
        assert from_json(data) == state
    pytest.fail("any depth was accepted")
