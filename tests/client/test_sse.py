"""The parser against the standard's own rules, and against every way of cutting the same bytes."""

from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reattach.adapters.client import sse
from reattach.adapters.client.sse import Event, EventTooLarge, Parser

PIECES = [
    "data",
    "data: x",
    "data:x",
    "data:  x ",
    "event: e",
    "id: 1",
    "id",
    "id: a\0b",
    "retry: 7",
    ": comment",
    "unknown: y",
    "\ufeff",
    "é🌍\u2028\x85\x0b",
    " ",
    ":",
]
ENDS = ["\n", "\r", "\r\n", ""]


def parse(pieces: Iterable[bytes]) -> tuple[list[Event], int | None]:
    parser = Parser()
    return [event for piece in pieces for event in parser.feed(piece)], parser.retry_ms


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("data: a\n\n", [Event("message", "a", None)]),
        ("event: e\nid: 1\ndata: a\ndata: b\n\n", [Event("e", "a\nb", "1")]),
        ("data: a\r\rdata: b\r\n\r\n", [Event("message", "a", None), Event("message", "b", None)]),
        ("data\n\n", [Event("message", "", None)]),
        ("data:a\ndata:  b\n\n", [Event("message", "a\n b", None)]),
        (": keepalive\n\n", []),
        ("event: e\n\ndata: a\n\n", [Event("message", "a", None)]),
        ("id: 1\n\ndata: a\n\n", [Event("message", "a", None)]),
        ("id: 1\ndata: a\n\ndata: b\n\n", [Event("message", "a", "1"), Event("message", "b", None)]),
        ("id: 1\nid: 2\0\ndata: a\n\n", [Event("message", "a", "1")]),
        ("id: 1\nid:\ndata: a\n\n", [Event("message", "a", "")]),
        ("data: a\n\nid: 2\ndata: cut", [Event("message", "a", None)]),
        ("data: a\n\nid: 2\ndata: cut\n", [Event("message", "a", None)]),
        ("\ufeffdata: a\n\n", [Event("message", "a", None)]),
        ("\ufeff\ufeffdata: a\n\n", []),
        ("data: a\u2028b\x85c\x0bd\x0ce\n\n", [Event("message", "a\u2028b\x85c\x0bd\x0ce", None)]),
        ("Data: a\n DATA: b\ndata : c\n\n", []),
    ],
)
def test_the_standards_rules(text: str, events: list[Event]) -> None:
    assert parse([text.encode()])[0] == events


@pytest.mark.parametrize(
    ("line", "retry_ms"),
    [
        ("retry: 10", 10),
        ("retry:10", 10),
        ("retry: 0", 0),
        ("retry: 10x", None),
        ("retry: -5", None),
        ("retry: 1e3", None),
        ("retry", None),
        ("retry: \u0661", None),
        ("retry: " + "9" * 5000, None),
    ],
)
def test_retry_takes_digits_only(line: str, retry_ms: int | None) -> None:
    assert parse([f"{line}\ndata: a\n\n".encode()]) == ([Event("message", "a", None)], retry_ms)


def test_bad_utf8_is_replaced() -> None:
    assert parse([b"data: a\xff\xe2\x82b\n\n"])[0] == [Event("message", "a\ufffd\ufffdb", None)]


streams = st.lists(st.tuples(st.sampled_from(PIECES), st.sampled_from(ENDS)).map("".join), max_size=30).map("".join)


@given(
    st.one_of(streams.map(str.encode), st.binary(max_size=60)),
    st.lists(st.integers(0, 200), max_size=12),
)
@example(b"data: a\r\n\r\n", [8])
@example(b"data: a\r\n\r\n", [8, 9, 10])
@example("data: 🌍\n\n".encode(), [7, 8, 9])
@example("\ufeffdata: a\n\n".encode(), [1, 2, 3])
def test_any_cutting_gives_the_same_events(data: bytes, cuts: list[int]) -> None:
    at = sorted(min(cut, len(data)) for cut in cuts)
    pieces = [data[a:b] for a, b in zip([0, *at], [*at, len(data)], strict=True)]
    assert parse(pieces) == parse([data])


@given(streams.map(str.encode))
def test_byte_by_byte_gives_the_same_events(data: bytes) -> None:
    assert parse(bytes([byte]) for byte in data) == parse([data])


def test_an_endless_event_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENT_CHARS_MAX", 1000)
    for line in (b"data: " + b"x" * 90, b"data: " + b"x" * 90 + b"\n"):
        with pytest.raises(EventTooLarge):
            parse([line] * 12)


def test_many_small_events_are_no_large_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENT_CHARS_MAX", 50)
    assert len(parse([b"data: twenty characters\n\n"] * 100)[0]) == 100
