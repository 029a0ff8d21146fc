"""Messages: folded at once, in pieces with a carry, or with frames missing, people read the same."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from reattach.domain import agent as a
from reattach.domain.messages import Carry, Fields, Messages, Part

from .log import RUN, SESSION, RunLog
from .strategies import RUNS

PREFIX = f"{SESSION}:{RUN}"
START = "message.start"


def folded(frames: list[dict[str, Any]]) -> list[Fields]:
    """The messages, folded in one go."""
    messages = Messages(PREFIX)
    for frame in frames:
        messages.apply(frame)
    return from_json(to_json(messages.as_json()))


class Table:
    """The projection as rows: messages by ordinal, parts by (ordinal, index, chunk), and the carry."""

    def __init__(self) -> None:
        self.carry = Carry(prefix=PREFIX).model_dump_json()
        self.messages: dict[int, Fields] = {}
        self.parts: dict[tuple[int, int, int], str] = {}

    def fold(self, frames: list[dict[str, Any]]) -> None:
        """Fold on and store what is new."""
        fold = Messages.resume(Carry.model_validate_json(self.carry))
        for frame in frames:
            fold.apply(frame)
        if fold.reset_to is not None:
            self.abandon(fold.reset_to)
        for message in fold.items:
            row = message.as_json()
            self.messages[message.ordinal] = row | {"parts": []}
            for part in message.parts:
                key = (message.ordinal, part.index, part.chunk)
                assert key not in self.parts, "a piece is stored once"
                self.parts[key] = json.dumps(part.fields)
        self.carry = fold.carry().model_dump_json()

    def abandon(self, to_seq: int) -> None:
        for ordinal, row in self.messages.items():
            if row["role"] != "user" and row["first_seq"] > to_seq:
                row["status"] = "abandoned"
                self.parts = {key: fields for key, fields in self.parts.items() if key[0] != ordinal}

    def as_json(self) -> list[Fields]:
        """The messages with their parts put together again."""
        for ordinal, row in self.messages.items():
            pieces: dict[int, Part] = {}
            for (owner, index, _), text in sorted(self.parts.items()):
                if owner == ordinal:
                    fields: Mapping[str, Any] = json.loads(text)
                    if index in pieces:
                        pieces[index].merge(fields)
                    else:
                        pieces[index] = Part(index, dict(fields))
            row["parts"] = [piece.fields for _, piece in sorted(pieces.items())]
        return [row for _, row in sorted(self.messages.items())]


@given(log=RUNS, data=st.data())
def test_folding_in_pieces_is_folding_at_once(log: RunLog, data: st.DataObject) -> None:
    frames = log.frames
    cuts = sorted(data.draw(st.lists(st.integers(0, len(frames)), max_size=6), label="cuts"))
    table = Table()
    for begin, end in zip([0, *cuts], [*cuts, len(frames)], strict=True):
        table.fold(frames[begin:end])
    assert table.as_json() == folded(frames)


@given(log=RUNS)
def test_folding_frame_by_frame_is_folding_at_once(log: RunLog) -> None:
    table = Table()
    for frame in log.frames:
        table.fold([frame])
    assert table.as_json() == folded(log.frames)


@given(log=RUNS)
def test_a_message_id_never_changes_and_is_given_once(log: RunLog) -> None:
    known: list[tuple[str, int]] = []
    for end in range(1, len(log.frames) + 1):
        seen = [(message["message_id"], message["first_seq"]) for message in folded(log.frames[:end])]
        assert seen[: len(known)] == known
        assert [message_id for message_id, _ in seen] == [f"{PREFIX}:{place}" for place in range(len(seen))]
        known = seen


@given(log=RUNS, data=st.data())
def test_lost_frames_cost_their_content_and_no_more(log: RunLog, data: st.DataObject) -> None:
    """A damaged record takes frames away; the fold goes on in any pieces, and what is left stays in its place."""
    lost = data.draw(st.sets(st.integers(2, max(2, log.head))), label="lost")
    kept = [frame for frame in log.frames if frame["seq"] not in lost]
    table = Table()
    for frame in kept:
        table.fold([frame])
    messages = folded(kept)
    assert table.as_json() == messages
    assert [message["status"] for message in messages[:-1]].count("open") == 0
    homes = {frame["part"]: frame["message_id"] for frame in log.frames if {"part", "message_id"} <= frame.keys()}
    for message in messages:
        parts = [part["part"] for part in message["parts"] if part.get("part") in homes]
        assert all(homes[part] == message["message_id"] for part in parts)


def test_a_message_whose_end_was_lost_ends_with_the_next() -> None:
    log = RunLog()
    log.create("hi")
    log.claim()
    log.write(a.Text("one"), a.Checkpoint(1), a.Text("two"))
    ends = ("text.end", "message.end", "step.end")
    table = Table()
    for frame in log.frames:
        if frame["type"] not in ends:
            table.fold([frame])
    assert texts(table.as_json())[1:] == [("1", "interrupted", "one"), ("2", "open", "two")]


def test_a_message_whose_start_was_lost_gives_nothing_to_the_one_before() -> None:
    log = RunLog()
    log.create("hi")
    log.claim()
    log.write(a.Text("one"), a.Checkpoint(1), a.Text("two"))
    second = f"{PREFIX}:2"
    kept = [f for f in log.frames if f["type"] != "message.end" and (f["type"], f.get("message_id")) != (START, second)]
    assert texts(folded(kept))[1:] == [("1", "open", "one")]


@pytest.mark.parametrize("kind", ["hologram", "text.shimmer", "hologram.delta", "run.dreamt", "step.pause"])
def test_unknown_frames_change_nothing_but_the_place(kind: str) -> None:
    messages = Messages(PREFIX)
    messages.apply({"type": kind, "seq": 7})
    assert (messages.as_json(), messages.seq) == ([], 7)


def texts(messages: list[Fields]) -> list[tuple[str, str, str]]:
    """Ordinal, status, and all text of each message."""
    return [
        (
            message["message_id"].rpartition(":")[2],
            message["status"],
            "".join(part.get("text", f"<{part['kind']}>") for part in message["parts"]),
        )
        for message in messages
    ]


def test_a_take_over_abandons_exactly_what_came_after_the_checkpoint() -> None:
    log = RunLog()
    log.create("hi")
    log.claim()
    log.write(a.Text("kept"), a.Checkpoint(1), a.Text("void"), a.Data("n", 1), a.EndPart(), a.Text("cut"))
    log.take_over()
    assert texts(folded(log.frames)) == [("0", "complete", "hi"), ("1", "complete", "kept"), ("2", "abandoned", "")]
    log.finish(log.write(a.Text("again")))
    log.complete()
    assert texts(folded(log.frames))[2:] == [("2", "abandoned", ""), ("3", "complete", "again")]


def test_two_resets_in_one_piece_void_what_either_voids() -> None:
    log = RunLog()
    log.create("hi")
    log.claim()
    log.write(a.Text("void"))
    stored_before = log.head
    log.take_over()
    log.write(a.Text("kept"), a.Checkpoint(1), a.Text("void"))
    log.take_over()
    table = Table()
    table.fold(log.frames[:stored_before])
    table.fold(log.frames[stored_before:])
    assert [status for _, status, _ in texts(table.as_json())] == ["complete", "abandoned", "complete", "abandoned"]
    assert table.as_json() == folded(log.frames)


def test_without_a_checkpoint_everything_but_the_prompt_is_voided() -> None:
    log = RunLog()
    log.create("hi")
    log.claim()
    log.write(a.Text("void"))
    log.release()
    log.claim()
    assert texts(folded(log.frames)) == [("0", "complete", "hi"), ("1", "abandoned", "")]


def test_what_came_before_a_wait_is_never_voided() -> None:
    log = RunLog()
    log.create("hi")
    log.claim()
    log.finish(log.write(a.Text("may I?")))
    log.suspend(("pay", 1), timeout_s=0)
    log.expire()
    log.claim()
    log.write(a.Text("void"))
    log.take_over()
    assert texts(folded(log.frames))[1:] == [("1", "complete", "may I?"), ("2", "abandoned", "")]


def test_a_cut_keeps_what_was_said() -> None:
    log = RunLog()
    log.create("hi")
    log.claim()
    log.write(a.Reasoning("hm"), a.Text("I th"), a.ToolCallStart("c", "pay"), a.ToolCallDelta("c", '{"su'))
    log.cancel("enough", "ada")
    *_, answer, outcome = folded(log.frames)
    assert answer["status"] == "interrupted"
    assert [(part["kind"], part["state"], part["text"]) for part in answer["parts"]] == [
        ("reasoning", "done", "hm"),
        ("text", "done", "I th"),
        ("tool", "cut", '{"su'),
    ]
    assert outcome["parts"] == [{"kind": "event", "event": "run.cancelled", "reason": "enough", "by": "ada"}]


def test_a_cancel_before_the_first_step_leaves_prompt_and_outcome() -> None:
    log = RunLog()
    log.create("hi")
    log.cancel()
    assert [(m["role"], m["status"]) for m in folded(log.frames)] == [("user", "complete"), ("event", "complete")]


def test_a_state_once_given_out_does_not_change() -> None:
    log = RunLog()
    log.create("hi")
    log.claim()
    log.write(a.Text("one"))
    messages = Messages(PREFIX)
    for frame in log.frames:
        messages.apply(frame)
    given_out = messages.as_json()
    before = to_json(given_out)
    messages.apply({"type": "text.delta", "seq": log.head + 1, "part": "1.1.1", "text": "two"})
    assert messages.as_json()[1]["parts"][0]["text"] == "onetwo"
    messages.apply({"type": "run.cancelled", "seq": log.head + 2, "reason": "r", "by": "b", "closes": []})
    assert to_json(given_out) == before


def test_a_long_part_is_joined_in_linear_time() -> None:
    """300,000 deltas joined one by one would copy 45 GB; here it must not even be noticed."""
    messages = Messages(PREFIX)
    messages.apply({"type": "message.start", "seq": 1, "message_id": f"{PREFIX}:1", "role": "assistant"})
    messages.apply({"type": "text.start", "seq": 2, "part": "1.1.1", "message_id": f"{PREFIX}:1"})
    delta = {"type": "text.delta", "part": "1.1.1", "seq": 3, "text": "x"}
    for _ in range(300_000):
        messages.apply(delta)
    assert len(messages.as_json()[0]["parts"][0]["text"]) == 300_000
