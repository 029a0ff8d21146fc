"""Torn, altered and missing records are told, with their place; what is whole around them is still read."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from reattach.domain.agent import EndPart, Text
from reattach.domain.errors import RecordDamaged
from reattach.domain.ports import Damaged, Record, Span
from reattach.infrastructure.clock import SystemClock
from reattach.infrastructure.codec import stream_id
from reattach.infrastructure.eventstore import open_store

from .world import TENANT, ManualClock, Segment, World

pytestmark = pytest.mark.anyio

PLACES = [(1, 1), (2, 2), (3, 7), (8, 9), (10, 10)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    clock = ManualClock()
    async with open_store(f"sqlite:///{tmp_path / 'store.db'}", clock) as store:
        yield World(store, clock)


@pytest.fixture
async def segment(world: World) -> Segment:
    """A run whose records stand at PLACES."""
    segment = await world.running()
    await segment.write(Text("a"), Text("b"))
    await segment.write(Text("c"), Text("d"))
    await segment.write(Text("e"))
    return segment


@pytest.fixture
def alter(tmp_path: Path, segment: Segment) -> Callable[..., None]:
    """Change a column of the record at this seq, behind the store's back."""

    def alter(seq: int, column: str, value: Any) -> None:
        with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as raw:
            raw.execute("PRAGMA synchronous=OFF")
            statement = f"UPDATE events SET {column} = ? WHERE stream_id = ? AND version = ?"  # noqa: S608  a test's own column names
            assert raw.execute(statement, (value, stream_id(segment.run_id), seq)).rowcount == 1

    return alter


async def seen(world: World, segment: Segment, after_seq: int = 0) -> list[tuple[int, int] | str]:
    """The places of the records; the damaged ones named."""
    items = await world.store.read(segment.run_id, after_seq, 100)
    return [
        (i.first_seq, i.last_seq) if isinstance(i, Record) else f"damaged {i.first_seq}-{i.last_seq}" for i in items
    ]


ALTERED: list[tuple[str, Any]] = [
    ("state", b""),
    ("state", b'{"type":"text.delta","seq":8,"part":"1.1.1","text":"c"}'),
    ("state", "not bytes"),
    ("epoch", 2),
    ("frames", 1),
    ("frames", 99),
    ("frames", 0),
    ("frames", "two"),
    ("topic", "run.claimed"),
    ("topic", b"\xff"),
    ("checksum", 0),
    ("checksum", "none"),
]


@pytest.mark.parametrize(("column", "value"), ALTERED)
async def test_an_altered_record_is_told_and_passed(
    world: World, segment: Segment, alter: Callable[..., None], column: str, value: Any
) -> None:
    assert await seen(world, segment) == PLACES
    alter(8, column, value)
    assert await seen(world, segment) == [(1, 1), (2, 2), (3, 7), "damaged 8-9", (10, 10)]
    assert (await seen(world, segment, 8))[-1] == (10, 10)


async def test_every_flipped_bit_is_seen(world: World, segment: Segment, alter: Callable[..., None]) -> None:
    (record,) = await world.store.read(segment.run_id, 7, 1)
    assert isinstance(record, Record)
    state = b"\n".join(record.data)
    for position in range(len(state) * 8):
        flipped = bytearray(state)
        flipped[position // 8] ^= 1 << position % 8
        alter(8, "state", bytes(flipped))
        assert isinstance((await world.store.read(segment.run_id, 7, 1))[0], Damaged), position
    alter(8, "state", state)
    assert await seen(world, segment) == PLACES


@pytest.mark.parametrize(("seq", "place"), [(2, "damaged 2-2"), (3, "damaged 3-7"), (8, "damaged 8-9")])
async def test_a_missing_record_is_no_silent_gap(
    world: World, segment: Segment, tmp_path: Path, seq: int, place: str
) -> None:
    with closing(sqlite3.connect(tmp_path / "store.db")) as raw, raw:
        raw.execute("DELETE FROM events WHERE stream_id = ? AND version = ?", (stream_id(segment.run_id), seq))
    whole: list[tuple[int, int] | str] = [*PLACES]
    whole[[first for first, _ in PLACES].index(seq)] = place
    assert await seen(world, segment) == whole


async def test_the_last_record_damaged_ends_the_log(world: World, segment: Segment, alter: Callable[..., None]) -> None:
    alter(10, "state", b"{}")
    assert await seen(world, segment, 9) == ["damaged 10-10"]
    assert await seen(world, segment, 10) == []


async def test_a_run_with_a_damaged_record_can_still_end(
    world: World, segment: Segment, alter: Callable[..., None]
) -> None:
    """Its lost frames are missing from the messages; all that is whole is there."""
    alter(8, "state", b"{}")
    snapshot = await world.store.snapshot(segment.run_id)
    assert snapshot is not None
    assert snapshot.messages.items[1].status == "open"
    await world.application.cancel(TENANT, segment.run_id, "stop", "ada")
    messages = [fields for _, fields, _ in await world.store.messages(segment.run.session_id, Span(), 9)]
    assert [part.get("text") for part in messages[1]["parts"]] == ["abe"]
    assert messages[2]["role"] == "event"


async def test_after_a_failed_read_the_next_one_is_current(
    world: World, segment: Segment, alter: Callable[..., None]
) -> None:
    """The error, kept here with all its frames, must not keep the connection at an old moment."""
    alter(2, "state", b"{}")
    with pytest.raises(RecordDamaged) as damaged:
        await world.store.snapshot(segment.run_id)
    await world.application.cancel(TENANT, segment.run_id, "stop", "ada")
    messages = [fields for _, fields, _ in await world.store.messages(segment.run.session_id, Span(), 9)]
    assert [message["role"] for message in messages][-1] == "event"
    assert damaged.value.fields["seq"] == 2


async def test_an_append_whose_folding_fails_does_not_land(world: World, segment: Segment, tmp_path: Path) -> None:
    """Its author is told that it failed, so it must not be there."""
    with closing(sqlite3.connect(tmp_path / "store.db")) as raw, raw:
        raw.execute("UPDATE folds SET carry = x'7b'")
    with pytest.raises(RecordDamaged):
        await segment.write(EndPart())
    assert await seen(world, segment) == PLACES


async def test_a_damaged_fact_is_named(world: World, segment: Segment, alter: Callable[..., None]) -> None:
    await segment.write(EndPart())
    alter(2, "epoch", 7)
    with pytest.raises(RecordDamaged) as damaged:
        await world.store.snapshot(segment.run_id)
    assert damaged.value.fields == {"stream": segment.run_id, "seq": 2}
    assert (await seen(world, segment))[1] == "damaged 2-2"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runs SET state = x'7b' WHERE run_id = ?",
        "UPDATE events SET outline = x'7b' WHERE stream_id = ?",
        "UPDATE folds SET carry = x'7b' WHERE run_id = ?",
    ],
)
async def test_a_damaged_row_is_told_not_guessed(
    world: World, segment: Segment, tmp_path: Path, statement: str
) -> None:
    with closing(sqlite3.connect(tmp_path / "store.db")) as raw, raw:
        raw.execute(statement, (stream_id(segment.run_id),))
    with pytest.raises(RecordDamaged) as damaged:
        await world.application.cancel(TENANT, segment.run_id, "stop", "ada")
    assert damaged.value.fields["stream"] == segment.run_id


async def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    """The pages of the log are overwritten while the store is closed."""
    path = tmp_path / "store.db"
    store = open_store(f"sqlite:///{path}", SystemClock())
    async with store:
        world = World(store, ManualClock())
        segment = await world.running()
        for _ in range(40):
            await segment.write(Text("x" * 20_000))
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * (size // 2))
    async with open_store(f"sqlite:///{path}", SystemClock()) as store:
        with pytest.raises(RecordDamaged):
            await store.read(segment.run_id, 0, 1000)
        with pytest.raises(RecordDamaged):
            await store.transact(lambda tx: tx.head(segment.run_id))
