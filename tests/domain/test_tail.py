"""The tail's cut against a specification that looks at every place where it could have been made (T4)."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from reattach.domain.tail import EXTRA_FACTOR, begins, is_primary, past_orphans

SHAPES = st.integers(0, 24).flatmap(  # a list of any length is a short one
    lambda size: st.lists(
        st.sampled_from(["t", "c", "tc", "cc", "ccc", "r", "r", "rt", "rr", "rc", "crt"]), min_size=size, max_size=size
    )
)


@st.composite
def histories(draw: st.DrawFn) -> list[Any]:
    """Messages in which every result has a call before it, as the grammar of frames has it."""
    open_calls: list[str] = []
    called = 0
    messages: list[Any] = []
    for kinds in draw(SHAPES):
        parts: list[Any] = []
        for kind in kinds:
            if kind == "c":
                called += 1
                open_calls.append(f"c{called}")
                parts.append({"kind": "tool", "tool_call_id": f"c{called}"})
            elif kind == "r" and open_calls:
                parts.append({"kind": "tool_result", "tool_call_id": open_calls.pop(0)})
            else:
                parts.append({"kind": "text", "text": "x"})
        messages.append({"parts": parts})
    return messages


def primary(message: Any) -> bool:
    return [part["kind"] for part in message["parts"]] != ["tool_result"] * len(message["parts"])


def orphaned(messages: list[Any], start: int) -> bool:
    """Whether the head, cut here, has a result whose call was cut away."""
    before = [part.get("tool_call_id") for m in messages[:start] for part in m["parts"] if part["kind"] == "tool"]
    head: list[Any] = messages[start]["parts"] if start < len(messages) else []
    return any(part["kind"] == "tool_result" and part["tool_call_id"] in before for part in head)


def best(messages: list[Any], limit: int) -> int | None:
    """The latest cut with enough primary messages and no orphan at its head."""
    fits = [
        start
        for start in range(len(messages))
        if sum(map(primary, messages[start:])) >= limit and not orphaned(messages, start)
    ]
    return fits[-1] if fits else None


def specified(messages: list[Any], limit: int) -> list[Any]:
    """The tail, from the whole history."""
    oldest = max(0, len(messages) - EXTRA_FACTOR * limit)
    start = best(messages, limit)
    if start is None:
        start = 0
    if start >= oldest:
        return messages[start:]
    while orphaned(messages, oldest):  # the cap cuts harder: what answers calls beyond it goes too
        oldest += 1
    return messages[oldest:]


def cut(messages: list[Any], limit: int) -> list[Any]:
    """The tail as a store takes it: the newest `limit`, and only if they do not tell, the rest up to the cap."""
    window = messages[-limit:]
    if len(window) < limit:
        return window
    start = begins(window, limit)
    if start is None:
        window = messages[-EXTRA_FACTOR * limit :]
        start = begins(window, limit)
    if start is None:
        start = past_orphans(window) if len(messages) > len(window) else 0
    return window[start:]


@settings(max_examples=400)
@given(histories(), st.integers(1, 9))
def test_the_cut_is_the_best_one(messages: list[Any], limit: int) -> None:
    tail = cut(messages, limit)
    assert tail == specified(messages, limit)
    assert len(tail) <= EXTRA_FACTOR * limit
    assert not orphaned(messages, len(messages) - len(tail))


@given(histories(), st.integers(1, 9))
def test_the_newest_messages_are_counted_by_their_kind(messages: list[Any], limit: int) -> None:
    assert [is_primary(message) for message in messages] == [primary(message) for message in messages]
    tail = cut(messages, limit)
    enough = sum(map(primary, tail)) >= limit
    assert enough or len(tail) == len(messages) or len(tail) <= EXTRA_FACTOR * limit


def test_a_message_without_parts_counts() -> None:
    """A run that was cancelled before it said anything has an empty message."""
    assert is_primary({"parts": []})
