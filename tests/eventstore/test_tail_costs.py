"""T5: what a tail, a history page and memories cost, counted in SQLite's instructions: nothing they do not show."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import pytest

from reattach.domain.agent import Checkpoint, Text, ToolCall, ToolResult
from reattach.domain.identifiers import SessionId
from reattach.domain.ports import Span
from reattach.domain.tail import EXTRA_FACTOR
from reattach.infrastructure.codec import Codec
from reattach.infrastructure.eventstore import open_store, session_statements
from reattach.infrastructure.eventstore.reads import Reads
from reattach.infrastructure.migrations import migrate
from reattach.infrastructure.sqlite import connect_reader

from .contract_sessions import said
from .test_costs import Meter, parameters
from .world import TENANT, ManualClock, Segment, World

pytestmark = pytest.mark.anyio

LIMIT = 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def world(path: Path) -> AsyncIterator[World]:
    clock = ManualClock()
    async with open_store(f"sqlite:///{path}", clock, durability="relaxed") as store:
        yield World(store, clock)


class Costs:
    """The instructions of every read of a session."""

    def __init__(self, path: Path) -> None:
        self._meter = Meter(connect_reader(path))
        self._reads = Reads(lambda: self._meter.connection, Codec())
        self._reads.check()

    def of(self, session_id: SessionId, memory: int = 0) -> list[int]:
        reads = self._reads
        newest = reads.messages(session_id, Span(), LIMIT)
        calls: list[Callable[[], object]] = [
            lambda: reads.tail(session_id, LIMIT),
            lambda: reads.messages(session_id, Span(), LIMIT),
            lambda: reads.messages(session_id, Span(before=newest[-1][0]), 2),
            lambda: reads.messages(session_id, Span(after=newest[0][0], oldest=True), 2),
            lambda: reads.session_view(session_id),
            lambda: reads.memories(session_id, memory, 3),
        ]
        return [self._meter.of(call) for call in calls]

    def close(self) -> None:
        self._reads.close()


async def test_history_does_not_matter(world: World, path: Path) -> None:
    """Three turns or a thousand; and after hundreds of other sessions have come."""
    costs = Costs(path)
    sessions = [await world.session() for _ in range(2)]
    for session, turns in zip(sessions, (3, 1_000), strict=True):
        for n in range(turns):
            await said(world, session, f"{n}")
    await said(world, await world.session(), "x")  # so that neither is the last in the index
    before = [costs.of(session) for session in sessions]
    assert before[0] == before[1]
    await asyncio.gather(*(said_alone(world) for _ in range(300)))
    assert [costs.of(session) for session in sessions] == before
    costs.close()


async def said_alone(world: World) -> None:
    await world.pending()


async def test_the_length_of_the_active_run_does_not_matter(world: World, path: Path) -> None:
    """Its messages are not shown, so they are not read: two of them or a thousand."""
    costs = Costs(path)
    found: list[list[int]] = []
    for messages in (2, 1_000):
        session = await world.session()
        for n in range(3):
            await said(world, session, f"{n}")
        segment = await world.running(session)
        await talk(segment, messages)
        found.append(costs.of(session))
    assert found[0] == found[1]
    costs.close()


async def talk(segment: Segment, messages: int) -> None:
    """Settled messages, in a run that goes on."""
    appends = [segment.next(Text("x"), Checkpoint(n)) for n in range(messages)]
    await asyncio.gather(*map(segment.world.store.append, appends))


async def test_the_length_of_memory_does_not_matter(world: World, path: Path) -> None:
    costs = Costs(path)
    found: list[list[int]] = []
    for memories in (5, 3_000):
        session = await world.session()
        for n in range(3):
            await said(world, session, f"{n}")
        work = [world.application.sessions.append_memory(TENANT, session, n, None) for n in range(memories)]
        await asyncio.gather(*work)
        found.append(costs.of(session, memories - 4))
    assert found[0] == found[1]
    costs.close()


async def test_a_tail_reads_messages_twice_at_most(world: World, path: Path) -> None:
    """T2: the worst there is, results only: their calls are out of reach, and are not searched for."""
    session = await world.session()
    segment = await world.running(session)
    await segment.write(*(ToolCall(f"c{n}", "pay", {}) for n in range(60)), Checkpoint(0))
    for n in range(60):
        await segment.write(ToolResult(f"c{n}", n), Checkpoint(n))
    await segment.finish()
    await said(world, session, "end")
    statements: list[str] = []
    connection = connect_reader(path)
    connection.set_trace_callback(statements.append)
    reads = Reads(lambda: connection, Codec())
    tail = reads.tail(session, LIMIT)
    assert tail is not None
    reading = [text for text in statements if "FROM messages" in text]
    assert len(reading) == 2
    limits = [int(text.rsplit("LIMIT", 1)[1].split()[0]) for text in reading]
    assert sum(limits) <= EXTRA_FACTOR * LIMIT
    assert [len(tail.messages), tail.messages[-1][1]["parts"][0]["text"]] == [2, "end"]
    reads.close()


def test_statements_of_sessions_use_their_indexes(path: Path) -> None:
    """No enumeration of other sessions, of memories, of handoffs."""
    migrate(path)
    texts = {name: text for name, text in vars(session_statements).items() if name.isupper() and isinstance(text, str)}
    assert len(texts) >= 7
    with closing(sqlite3.connect(path)) as raw:
        for name, text in texts.items():
            plan = [row[3] for row in raw.execute(f"EXPLAIN QUERY PLAN {text}", dict.fromkeys(parameters(text), 1))]
            assert not [step for step in plan if step.startswith("SCAN") and "CONSTANT" not in step], (name, plan)
