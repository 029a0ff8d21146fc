"""Identifiers and cursors: round trips, order by time, and what is refused."""

from typing import Final
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reattach.domain.errors import InvalidCursor
from reattach.domain.identifiers import (
    CURSOR_LENGTH_MAX,
    Cursor,
    RunId,
    identifier,
    is_identifier,
    message_id,
    parse_seq,
    uuid_of,
)

from .log import RUN, SESSION

PREFIXES: Final = st.sampled_from(["ses", "job", "run"])
CURSORS: Final = st.builds(
    Cursor,
    st.uuids().map(lambda uuid: RunId(identifier("run", uuid))),
    st.integers(0, 999_999),
    st.integers(0, 999_999),
    st.integers(0, 10**15 - 1),
)
NOT_IDENTIFIERS: Final = [
    "",
    "run",
    "run_",
    RUN[:-1],
    RUN + "0",
    RUN.upper(),
    RUN.replace("run", "ses", 1) + " ",
    " " + RUN,
    RUN + "\n",
    "tok_" + RUN[4:],
    "run_8" + RUN[5:],  # 130 bits
    *(RUN[:-1] + letter for letter in "ilou-\u0663\x00"),
]


@given(prefix=PREFIXES, uuid=st.uuids())
def test_an_identifier_carries_its_uuid(prefix: str, uuid: UUID) -> None:
    text = identifier(prefix, uuid)
    assert uuid_of(text) == uuid
    assert [is_identifier(other, text) for other in ("ses", "job", "run")].count(True) == 1
    assert is_identifier(prefix, text)
    assert len(text) == 30
    assert text.isascii()
    assert "." not in text


@given(prefix=PREFIXES, one=st.uuids(), other=st.uuids())
def test_identifiers_sort_as_their_uuids(prefix: str, one: UUID, other: UUID) -> None:
    assert (identifier(prefix, one) < identifier(prefix, other)) == (one < other)


@given(earlier=st.integers(0, 2**48 - 2), gap=st.integers(1, 10**6), tails=st.tuples(*[st.integers(0, 2**74 - 1)] * 2))
def test_identifiers_sort_by_time_of_creation(earlier: int, gap: int, tails: tuple[int, int]) -> None:
    def made_at(milliseconds: int, tail: int) -> UUID:
        return UUID(int=milliseconds << 80 | 7 << 76 | (tail >> 62) << 64 | 2 << 62 | tail & (1 << 62) - 1)

    later = min(earlier + gap, 2**48 - 1)
    assert identifier("run", made_at(earlier, tails[0])) < identifier("run", made_at(later, tails[1]))


@pytest.mark.parametrize("text", NOT_IDENTIFIERS)
def test_what_is_no_identifier(text: str) -> None:
    assert not is_identifier("run", text)
    if not text.strip().startswith("ses"):
        with pytest.raises(ValueError, match="not an identifier"):
            uuid_of(text)


@given(text=st.text())
def test_any_other_text_is_no_identifier(text: str) -> None:
    assert not is_identifier("run", text)


@given(cursor=CURSORS)
def test_a_cursor_survives_the_wire(cursor: Cursor) -> None:
    text = str(cursor)
    assert Cursor.parse(text) == cursor
    assert len(text.encode()) <= CURSOR_LENGTH_MAX
    assert all(33 <= ord(character) <= 126 for character in text)


def test_the_longest_cursor_fits() -> None:
    longest = Cursor(RUN, 999_999, 999_999, 999_999_999_999_999)
    assert len(str(longest)) == 60 <= CURSOR_LENGTH_MAX
    assert Cursor.parse(str(longest)) == longest


HOSTILE: Final = [
    "",
    " ",
    "words",
    "-1",
    "5",
    "null",
    RUN,
    f"{RUN}.1.1",
    f"{RUN}.1.1.1.1",
    f"{RUN}.1.1.",
    f"{RUN}.1.1.-1",
    f"{RUN}.-1.1.1",
    f"{RUN}.1.1.1e3",
    f"{RUN}.1.1.0x1",
    f"{RUN}.1.1.1_000",
    f"{RUN}.1.1.+1",
    f"{RUN}.1.1.1.5",
    f"{RUN}.1.1.01",
    f"{RUN}.01.1.1",
    f"{RUN}.1.00.1",
    f"{RUN}.1.1.\u0661",
    f"{RUN}.1.1.\u00b2",
    f"{RUN}.\uff11.1.1",
    f"{RUN}.1.1.1\n",
    f"{RUN}.1.1.1\x00",
    f"{RUN}.1.1.1 ",
    f" {RUN}.1.1.1",
    f"{RUN}.1. 1.1",
    f"{RUN}.1.1.1\r\nx: y",
    f"{SESSION}.1.1.1",
    f"{RUN.upper()}.1.1.1",
    f"run_{'z' * 26}.1.1.1",
    f"run_{'i' * 26}.1.1.1",
    f"{RUN}.1000000.1.1",
    f"{RUN}.1.1000000.1",
    f"{RUN}.1.1.1000000000000000",
    f"{RUN}.1.1.{'9' * 10_000}",
    "x" * 10_000,
    "\x00\x01\x02",
    "\ud800",
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[-24:]))
def test_what_is_no_cursor(text: str) -> None:
    with pytest.raises(InvalidCursor) as refusal:
        Cursor.parse(text)
    assert len(refusal.value.fields["cursor"]) <= CURSOR_LENGTH_MAX
    assert "run_id.generation.epoch.seq" in refusal.value.detail


@given(
    text=st.text() | st.text("0123456789.run_abc", max_size=64) | CURSORS.map(str).flatmap(st.permutations).map("".join)
)
def test_what_is_read_is_what_is_written(text: str) -> None:
    try:
        cursor = Cursor.parse(text)
    except InvalidCursor:
        return
    assert str(cursor) == text
    assert uuid_of(cursor.run_id)


@given(seq=st.integers(0, 10**15 - 1))
def test_a_bare_seq(seq: int) -> None:
    assert parse_seq(str(seq)) == seq


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", " 1", "1 ", "1\n", "1.0", "1e3", "0x1", "\u0661", "\u00b2", "1" * 16, "9" * 10_000]
)
def test_what_is_no_bare_seq(text: str) -> None:
    assert parse_seq(text) is None


def test_message_ids_name_session_run_and_place() -> None:
    assert message_id(SESSION, RUN, 3) == f"{SESSION}:{RUN}:3"
