"""The outline: which sequences of output frames are grammatical, and what is open after them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reattach.domain import frames as f
from reattach.domain.errors import InvalidFrames
from reattach.domain.frames import Frame
from reattach.domain.outline import OPEN_PARTS_MAX, Outline
from reattach.domain.wire import decode

from .log import START
from .strategies import OUTPUTS
from .test_scribe import written

OPEN = [f.StepStart(step=1), f.MessageStart(message_id="s:r:1", role="assistant")]
TEXT = f.TextStart(part="1.1.1", message_id="s:r:1")
CALL = f.ToolCallStart(part="1.1.1", tool_call_id="c", name="pay")
READY = f.ToolCallReady(part="1.1.1", tool_call_id="c", name="pay", arguments={})
CLOSE: list[Frame] = [f.MessageEnd(message_id="s:r:1", role="assistant"), f.StepEnd(step=1, checkpoint=None)]


def test_a_whole_step() -> None:
    frames: list[Frame] = [
        *OPEN,
        TEXT,
        f.TextDelta(part="1.1.1", text="a"),
        f.TextEnd(part="1.1.1"),
        f.ReasoningStart(part="1.1.2", message_id="s:r:1"),
        f.ReasoningDelta(part="1.1.2", text="b"),
        f.ToolCallStart(part="1.1.3", tool_call_id="c", name="pay"),
        f.ToolCallDelta(part="1.1.3", text="{}"),
        f.ReasoningEnd(part="1.1.2"),
        READY.model_copy(update={"part": "1.1.3"}),
        f.ToolResult(tool_call_id="c", output=1),
        f.Data(name="n", value=1),
        f.Source(url="u", title=None),
        f.File(name="n", media_type="m", url="u"),
    ]
    assert Outline().after(frames) == Outline(message="s:r:1", step=1, messages=1, part_count=3)
    assert Outline().after([*frames, *CLOSE]) == Outline(messages=1, part_count=3)


def test_what_is_open_is_named() -> None:
    outline = Outline().after([*OPEN, TEXT, f.ToolCallStart(part="1.1.2", tool_call_id="c", name="pay")])
    assert outline.parts == {"1.1.1": "text", "1.1.2": "tool"}
    assert outline.closed() == Outline(messages=1, part_count=2)


MALFORMED: dict[str, list[Frame]] = {
    "text without a message": [f.StepStart(step=1), TEXT],
    "text of another message": [*OPEN, TEXT.model_copy(update={"message_id": "s:r:2"})],
    "call without a message": [CALL],
    "delta without a part": [*OPEN, f.TextDelta(part="1.1.1", text="a")],
    "delta of another kind": [*OPEN, TEXT, f.ReasoningDelta(part="1.1.1", text="a")],
    "tool delta in a text": [*OPEN, TEXT, f.ToolCallDelta(part="1.1.1", text="a")],
    "end of another kind": [*OPEN, TEXT, f.ReasoningEnd(part="1.1.1")],
    "ready in a text": [*OPEN, TEXT, READY],
    "text end of a call": [*OPEN, CALL, f.TextEnd(part="1.1.1")],
    "end without a part": [*OPEN, f.TextEnd(part="1.1.1")],
    "part ends twice": [*OPEN, TEXT, f.TextEnd(part="1.1.1"), f.TextEnd(part="1.1.1")],
    "delta after the end": [*OPEN, TEXT, f.TextEnd(part="1.1.1"), f.TextDelta(part="1.1.1", text="a")],
    "part starts twice": [*OPEN, TEXT, TEXT],
    "part starts again after its end": [*OPEN, TEXT, f.TextEnd(part="1.1.1"), TEXT],
    "part number left out": [*OPEN, TEXT.model_copy(update={"part": "1.1.2"})],
    "part without a number": [*OPEN, TEXT.model_copy(update={"part": "p"})],
    "message in a message": [*OPEN, f.MessageStart(message_id="s:r:2", role="assistant")],
    "message again": [*OPEN, CLOSE[0], OPEN[1]],
    "message number left out": [f.MessageStart(message_id="s:r:2", role="assistant")],
    "message number zero": [f.MessageStart(message_id="s:r:0", role="assistant")],
    "message without a number": [f.MessageStart(message_id="hello", role="assistant")],
    "message ends with an open part": [*OPEN, TEXT, CLOSE[0]],
    "message ends twice": [*OPEN, CLOSE[0], CLOSE[0]],
    "another message ends": [*OPEN, f.MessageEnd(message_id="s:r:2", role="assistant")],
    "step in a step": [f.StepStart(step=1), f.StepStart(step=2)],
    "step in a message": [OPEN[1], f.StepStart(step=1)],
    "step ends in a message": [*OPEN, CLOSE[1]],
    "step ends without a start": [CLOSE[1]],
    "another step ends": [f.StepStart(step=2), CLOSE[1]],
    "result without a message": [f.ToolResult(tool_call_id="c", output=1)],
    "data without a message": [f.Data(name="n", value=1)],
    "source without a message": [f.Source(url="u", title=None)],
    "file without a message": [f.File(name="n", media_type="m", url="u")],
    "a fact": [*OPEN, f.RunClaimed(run_id="r", at=START, epoch=1, worker="w")],
    "a terminal fact": [f.RunCancelled(run_id="r", at=START, reason="", by="", closes=())],
    "an unknown type": [*OPEN, decode(b'{"type":"hologram","seq":1}')],
}


@pytest.mark.parametrize("frames", MALFORMED.values(), ids=MALFORMED)
def test_what_is_malformed_is_refused(frames: list[Frame]) -> None:
    before = Outline().after(frames[:-1])
    with pytest.raises(InvalidFrames, match=frames[-1].type):
        before.after(frames[-1:])


def test_the_limit_of_open_parts() -> None:
    calls = [f.ToolCallStart(part=f"1.1.{n}", tool_call_id=f"c{n}", name="x") for n in range(1, OPEN_PARTS_MAX + 2)]
    full = Outline().after([*OPEN, *calls[:-1]])
    with pytest.raises(InvalidFrames, match=str(OPEN_PARTS_MAX)):
        full.after(calls[-1:])


@given(outputs=st.lists(OUTPUTS, max_size=12), data=st.data())
def test_a_frame_lost_or_doubled_is_noticed(outputs: list[Any], data: st.DataObject) -> None:
    """Of a grammatical sequence, every frame that opens or closes something is needed, and once."""
    frames = [decode(line) for line in written(outputs)]
    needed = [place for place, frame in enumerate(frames) if frame.type.endswith((".start", ".end", ".ready"))]
    if needed:
        place = data.draw(st.sampled_from(needed))
        with pytest.raises(InvalidFrames):
            Outline().after([*frames[:place], frames[place], *frames[place:]])
        without = [*frames[:place], *frames[place + 1 :]]
        if place + 1 < len(frames):
            assert differs(without, Outline().after(frames))


def differs(frames: list[Frame], whole: Outline) -> bool:
    """Whether these frames are refused, or leave something else open."""
    try:
        return Outline().after(frames) != whole
    except InvalidFrames:
        return True
