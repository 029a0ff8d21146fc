"""Frames: their stored bytes are composed once, read back alike for ever, and tolerate what is newer than we are."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from reattach.domain import frames as f
from reattach.domain.errors import InvalidFrames, UnwritableOutput
from reattach.domain.frames import Frame
from reattach.domain.wire import FRAME_BYTES_MAX, decode, decode_fields, encode, encode_delta, type_of

from .log import START
from .strategies import FRAMES, JSON, NUMBERS, TEXTS, frame_types

ANY_TEXT = st.text() | st.text(st.characters(categories=["Cc", "Cf", "So", "Zl", "Zp", "Po"]))
"""Also control characters, joiners, emoji, line separators, quotes."""


@given(frame=FRAMES, seq=NUMBERS)
def test_reading_gives_back_what_was_written(frame: Frame, seq: int) -> None:
    data = encode(frame, seq)
    again = decode(data)
    assert again == frame.model_copy(update={"seq": seq})
    assert encode(again, seq) == data
    assert decode_fields([data, data]) == [from_json(data)] * 2


@given(frame=FRAMES, seq=NUMBERS)
def test_type_and_seq_come_first(frame: Frame, seq: int) -> None:
    data = encode(frame, seq)
    assert data.startswith(f'{{"type":"{frame.type}","seq":{seq}'.encode())
    assert type_of(data) == frame.type
    assert b"\n" not in data


@given(kind=st.sampled_from(["text", "reasoning", "tool.call"]), seq=NUMBERS, text=ANY_TEXT)
def test_the_fast_way_writes_the_same_bytes(kind: str, seq: int, text: str) -> None:
    model = {"text": f.TextDelta, "reasoning": f.ReasoningDelta, "tool.call": f.ToolCallDelta}[kind]
    assert encode_delta(f"{kind}.delta", seq, "1.1.7", text) == encode(model(part="1.1.7", text=text), seq)


@pytest.mark.parametrize("text", ["", '"', "\\", "\x00\x1f\x7f", "\r\n", "\u2028\u2029", "é", "👩‍👩‍👧", "\ufeff"])
def test_awkward_texts(text: str) -> None:
    data = encode_delta("text.delta", 1, "1.1.1", text)
    assert data == encode(f.TextDelta(part="1.1.1", text=text), 1)
    assert from_json(data)["text"] == text


def test_every_type_has_a_strategy_and_a_place() -> None:
    names = {str(model.model_fields["type"].default) for model in frame_types()}
    assert names == f.KNOWN_TYPES
    assert f.FACT_TYPES.isdisjoint(f.OUTPUT_TYPES)
    assert set(f.TERMINAL_TYPES) < f.FACT_TYPES
    assert set(f.PART_END_TYPES) < f.OUTPUT_TYPES
    assert {type(decode(encode(frame, 1))) for frame in map(_smallest, frame_types())} == set(frame_types())


def _smallest(model: type[Frame]) -> Frame:
    values: dict[str, Any] = {
        "at": START,
        "expires_at": START,
        "error": f.RunError(type="e", message="", retryable=True),
    }
    values |= dict.fromkeys(("turn", "attempt", "epoch", "step", "to_seq", "checkpoint"), 1)
    values |= dict.fromkeys(("closes", "approvals"), ()) | {"outcome": "deny", "role": "event", "usage": None}
    wanted = {name: values.get(name, "x") for name in model.model_fields if name not in ("type", "seq")}
    if model is f.ToolResult:
        wanted = {"tool_call_id": "x", "output": 1}
    return model.model_validate(wanted)


@pytest.mark.parametrize("model", frame_types(), ids=lambda model: str(model.model_fields["type"].default))
def test_facts_say_whose_and_when(model: type[Frame]) -> None:
    stored = from_json(encode(_smallest(model), 1))
    assert ({"run_id", "at"} <= stored.keys()) == model.fact == (stored["type"] in f.FACT_TYPES)


def test_a_result_is_an_output_or_an_error() -> None:
    output = encode(f.ToolResult(tool_call_id="c", output=None), 1)
    error = encode(f.ToolResult(tool_call_id="c", error=""), 1)
    assert output == b'{"type":"tool.result","seq":1,"tool_call_id":"c","output":null}'
    assert error == b'{"type":"tool.result","seq":1,"tool_call_id":"c","error":""}'


@given(fields=st.dictionaries(st.sampled_from(["a", "b", "part", "text", "run_id"]), JSON), seq=NUMBERS)
def test_unknown_types_are_kept_as_they_are(fields: dict[str, Any], seq: int) -> None:
    data = to_json({"type": "hologram.start", "seq": seq, **fields})
    frame = decode(data)
    assert isinstance(frame, f.UnknownFrame)
    assert encode(frame, seq) == data


def test_new_fields_of_known_types_do_not_hurt() -> None:
    frame = decode(b'{"type":"text.end","seq":4,"part":"1.1.1","mood":"good"}')
    assert frame == f.TextEnd(seq=4, part="1.1.1")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"7",
        b'"text.end"',
        b"{}",
        b'{"type":null}',
        b'{"type":[]}',
        b'{"type":"text.end"}',
        b'{"type":"text.end","seq":"x","part":"p"}',
        b'{"type":"run.claimed","seq":1,"run_id":"r","at":"yesterday","epoch":1,"worker":"w"}',
        b'{"type":"run.claimed","seq":1,"run_id":"r","at":"2026-01-01T00:00:00","epoch":1,"worker":"w"}',
        b'{"type":"text.end","seq":1,"part":"\xff"}',
    ],
)
def test_what_is_unreadable_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  - pydantic's and json's own kinds of it
        decode(data)


def test_one_broken_line_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="expected"):
        decode_fields([b'{"type":"text.end","seq":1,"part":"p"}', b"torn"])


def test_a_frame_of_the_limit_passes_and_one_byte_more_does_not() -> None:
    room = FRAME_BYTES_MAX - len(encode(f.Data(name="n", value=""), 1))
    assert len(encode(f.Data(name="n", value="x" * room), 1)) == FRAME_BYTES_MAX
    with pytest.raises(UnwritableOutput) as refusal:
        encode(f.Data(name="n", value="x" * (room + 1)), 1)
    assert refusal.value.fields["limit"] == FRAME_BYTES_MAX


@pytest.mark.parametrize("value", ["\ud800", {"a": "\udfff"}, ["a", "\ud83d"]])
def test_a_lone_surrogate_is_refused_in_values(value: Any) -> None:
    with pytest.raises(UnwritableOutput):
        encode(f.Data(name="n", value=value), 1)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_are_null(number: float) -> None:
    assert encode(f.Data(name="n", value=[number]), 1).endswith(b'"value":[null]}')


def nested(depth: int) -> Any:
    value: Any = 1
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


def test_what_is_written_can_be_read_also_inside_a_snapshot() -> None:
    accepted = 0
    for depth in range(1, 254):
        try:
            data = encode(f.Data(name="n", value=nested(depth)), 1)
        except InvalidFrames:
            continue
        accepted = depth
        wrapped = to_json({"state": {"messages": [{"parts": [from_json(data)]}]}})
        assert decode_fields([wrapped])
    assert 100 < accepted < 200


def test_many_brackets_are_not_depth() -> None:
    frame = f.Data(seq=1, name="n", value=from_json(b"[[]" + b",[]" * 999 + b"]"))
    assert decode(encode(frame, 1)) == frame


@given(message=st.text(st.characters(categories=["Cs", "L"])))
def test_an_error_can_always_be_written(message: str) -> None:
    error = f.RunError(type="internal_error", message=message, retryable=False)
    assert encode(f.RunFailed(run_id="r", at=START, error=error, closes=()), 1)


@given(text=TEXTS)
def test_times_are_rfc_3339_in_utc(text: str) -> None:
    frame = from_json(encode(f.RunResumed(run_id=text, at=START, epoch=1), 1))
    assert frame["at"] == "2026-01-02T03:04:05Z"
