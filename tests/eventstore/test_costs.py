"""What things cost, counted and not timed: SQLite's own instructions, rows, frames folded, pages written."""

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest
from pydantic_core import from_json

from reattach.domain.agent import EndPart, Text, ToolCallDelta, ToolCallStart
from reattach.domain.identifiers import RunId, SessionId
from reattach.domain.ports import Span, Transaction
from reattach.domain.run import Run
from reattach.domain.transitions import Status
from reattach.infrastructure.codec import Codec, stream_id
from reattach.infrastructure.eventstore import feed_statements, open_store, statements
from reattach.infrastructure.eventstore.library import Library
from reattach.infrastructure.eventstore.projections import FOLD_FRAMES
from reattach.infrastructure.eventstore.reads import Reads
from reattach.infrastructure.eventstore.recorder import Recorder
from reattach.infrastructure.eventstore.writer import Writer
from reattach.infrastructure.migrations import migrate
from reattach.infrastructure.sqlite import connect_reader, connect_writer

from .world import TENANT, ManualClock, Segment, World

pytestmark = pytest.mark.anyio


class Meter:
    """Counts the instructions SQLite's machine executes on one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.count = 0
        connection.set_progress_handler(self._tick, 1)

    def _tick(self) -> int:
        self.count += 1
        return 0

    def of(self, work: Callable[[], object]) -> int:
        """The instructions this takes."""
        before = self.count
        work()
        return self.count - before


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def world(path: Path) -> AsyncIterator[World]:
    clock = ManualClock()
    async with open_store(f"sqlite:///{path}", clock, durability="relaxed") as store:
        yield World(store, clock)


async def long_run(world: World, batches: int) -> Segment:
    """A run with that many batches, of one frame each after the first."""
    segment = await world.running()
    await segment.write(Text("x"))
    appends = [segment.next(Text("y")) for _ in range(batches - 1)]
    for begin in range(0, len(appends), 500):
        await asyncio.gather(*map(world.store.append, appends[begin : begin + 500]))
    return segment


async def test_a_transaction_loads_at_the_same_cost_whatever_the_history(world: World, path: Path) -> None:
    """State, head, checkpoint, and the recording of a fact: after ten batches or ten thousand."""
    meters: list[Meter] = []

    def connect() -> sqlite3.Connection:
        meters.append(Meter(connect_writer(path, "strict")))
        return meters[0].connection

    library = Library(Recorder(connect), Codec())
    writer = Writer(connect, library, Codec(), world.clock)

    def costs(run: Run) -> list[int]:
        loads: list[Callable[[Transaction], object]] = [
            lambda tx: tx.run(run.run_id),
            lambda tx: tx.head(run.run_id),
            lambda tx: tx.checkpoint(run.run_id),
            lambda tx: tx.record(run, run.claim("w", tx.now)),
        ]
        return [meters[0].of(lambda load=load: writer.write([load])) for load in loads]

    segments = [await long_run(world, batches) for batches in (10, 10_000)]
    for segment in segments:
        await world.end(segment, "release")
    runs = [(await world.view(segment.run_id)).run for segment in segments]
    writer.open()
    assert costs(runs[0]) == costs(runs[1])
    assert [(await world.view(run.run_id)).run.status for run in runs] == [Status.RUNNING] * 2
    writer.close()
    library.close()


async def test_reads_cost_the_same_whatever_the_history(world: World, path: Path) -> None:
    """A run's state, the epoch at a cursor, a page from the middle: after ten batches or ten thousand."""
    meter = Meter(connect_reader(path))
    reads = Reads(lambda: meter.connection, Codec())

    def costs(run_id: RunId) -> list[int]:
        calls = [lambda: reads.run_view(run_id), lambda: reads.epoch_at(run_id, 7), lambda: reads.read(run_id, 7, 3)]
        return [meter.of(call) for call in calls]

    runs = [(await long_run(world, batches)).run_id for batches in (10, 10_000)]
    assert costs(runs[0]) == costs(runs[1])
    reads.close()


async def test_a_tail_costs_the_same_whatever_the_session(world: World, path: Path) -> None:
    """The last messages and the next run: after three turns or a hundred, with other sessions around."""
    meter = Meter(connect_reader(path))
    reads = Reads(lambda: meter.connection, Codec())

    def costs(session_id: SessionId, turns: int) -> list[int]:
        calls = [
            lambda: reads.messages(session_id, Span(), 4),
            lambda: reads.messages(session_id, Span(before=(turns, 1, 0)), 2),
            lambda: reads.next_run(session_id, turns - 1, 1),
        ]
        return [meter.of(call) for call in calls]

    found: list[list[int]] = []
    for turns in (3, 100):
        session = await world.session()
        for _ in range(turns):
            segment = await world.running(session)
            await segment.write(Text("a"))
            await segment.finish()
        found.append(costs(session, turns))
    assert found[0] == found[1]
    reads.close()


async def test_replaying_facts_costs_the_same_whatever_the_output(world: World, path: Path) -> None:
    meter = Meter(connect_writer(path, "strict"))
    library = Library(Recorder(lambda: meter.connection), Codec())
    streams = [UUID(bytes=stream_id((await long_run(world, batches)).run_id)) for batches in (10, 5_000)]
    await world.running()  # so that neither is the last in the index
    library.replay(Run, streams[0])  # the first call also reads the schema and prepares the statement
    costs = [meter.of(lambda stream=stream: library.replay(Run, stream)) for stream in streams]
    assert costs[0] == costs[1] > 0
    library.close()


@pytest.mark.parametrize("batch", [1, 7, 333, 1500])
async def test_never_more_than_the_limit_waits_to_be_folded(world: World, path: Path, batch: int) -> None:
    """One text part that never ends, in batches of any size."""
    segment = await world.running()
    with closing(sqlite3.connect(path)) as raw:
        for _ in range(-(-3_500 // batch)):
            await segment.write(*[Text("x")] * batch)
            assert unfolded(raw, segment) <= FOLD_FRAMES


async def test_a_part_end_is_folded_with_its_batch(world: World, path: Path) -> None:
    segment = await world.running()
    with closing(sqlite3.connect(path)) as raw:
        await segment.write(Text("a"), EndPart(), Text("b"))
        assert unfolded(raw, segment) == 1


async def test_a_part_that_stands_still_is_not_stored_again(world: World, path: Path) -> None:
    segment = await world.running()
    await segment.write(ToolCallStart("c", "pay"), ToolCallDelta("c", "{"), Text("a"), EndPart())
    for _ in range(5):
        await segment.write(Text("b"), EndPart())
    with closing(sqlite3.connect(path)) as raw:
        pieces = raw.execute("SELECT count(*) FROM parts WHERE ordinal = 1 AND part_index = 0")
        assert pieces.fetchone() == (1,)


@pytest.mark.parametrize(
    ("ending", "batches"),
    [("suspend", 3), ("release", 3), ("fail", 3), pytest.param("cancel", 1_001, marks=pytest.mark.slow)],
)
async def test_ending_a_long_run_folds_no_more_than_the_limit(
    world: World, path: Path, ending: str, batches: int
) -> None:
    """The longest has a million frames."""
    segment = await world.running()
    for _ in range(batches):
        await segment.write(*[Text("x")] * 999)
    head = (await world.view(segment.run_id)).head_seq
    assert head > batches * 999
    with closing(sqlite3.connect(path)) as raw:
        folded = carried(raw, segment)
        await world.end(segment, ending)
        assert carried(raw, segment) > head
        assert carried(raw, segment) - folded <= FOLD_FRAMES + 3  # and the frames of the fact itself


def carried(raw: sqlite3.Connection, segment: Segment) -> int:
    (carry,) = raw.execute("SELECT carry FROM folds WHERE run_id = ?", (stream_id(segment.run_id),)).fetchone()
    return int(from_json(carry)["seq"])


def unfolded(raw: sqlite3.Connection, segment: Segment) -> int:
    """The run's frames that no fold has seen."""
    select = "SELECT max(version + frames - 1) FROM events WHERE stream_id = ?"
    (head,) = raw.execute(select, (stream_id(segment.run_id),)).fetchone()
    return int(head) - carried(raw, segment)


async def test_reading_writes_nothing(world: World, path: Path) -> None:
    """Every read of the store, and no file changes by a byte; the connection could not write if it tried."""
    segment = await world.running()
    await segment.write(Text("a"), EndPart(), Text("b"))
    waiting = await world.waiting()
    before = {file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith("-shm")}
    for run in (segment.run, waiting.run):
        store = world.store
        await store.check()
        await store.run_view(run.run_id)
        await store.session(run.session_id)
        await store.job(run.job_id)
        await store.runs(TENANT, {"session_id": run.session_id}, None, 9)
        await store.sessions(TENANT, {}, None, 9)
        await store.read(run.run_id, 0, 99)
        await store.epoch_at(run.run_id, 1)
        await store.snapshot(run.run_id)
        await store.next_run(run.session_id, 0, 0)
        await store.messages(run.session_id, Span(), 9)
    after = {file.name: file.read_bytes() for file in path.parent.iterdir() if not file.name.endswith("-shm")}
    assert after == before
    with closing(connect_reader(path)) as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM events")


def test_statements_use_their_indexes(path: Path) -> None:
    """No statement of the store scans a table."""
    migrate(path)
    texts = {
        name: text
        for name, text in (vars(statements) | vars(feed_statements)).items()
        if name.isupper() and isinstance(text, str) and text  # those of PostgreSQL alone have none here
    }
    texts |= {
        "runs": statements.select_runs(("session_id", "status"), after=True),
        "sessions": statements.select_sessions(("status",), after=True),
        "feed": feed_statements.select_feed(bounds=("gt", "lte"), topics=1),
        "facts": statements.select_events(bounds=("gt",), desc=True, facts=True),
    }
    assert len(texts) > 40
    with closing(sqlite3.connect(path)) as raw:
        for name, text in texts.items():
            plan = [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {text}", dict.fromkeys(parameters(text), 1))]
            assert not [step for step in plan if step.startswith("SCAN") and "CONSTANT" not in step], (name, plan)


def parameters(text: str) -> list[str]:
    return re.findall(r":(\w+)", text)
