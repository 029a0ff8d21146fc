"""What things cost on PostgreSQL, counted and not timed: the rows its plans touch, and the trips to the server."""

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import psycopg
import pytest

from reattach.domain.agent import Text
from reattach.domain.identifiers import RunId, SessionId
from reattach.domain.ports import Span, Transaction
from reattach.domain.run import Run
from reattach.infrastructure.codec import Codec, stream_id, uuid_in
from reattach.infrastructure.driver import Cursor
from reattach.infrastructure.eventstore import (
    feed_statements,
    postgres_statements,
    session_statements,
    statements,
)
from reattach.infrastructure.eventstore.compiling import Sql
from reattach.infrastructure.eventstore.library import Library
from reattach.infrastructure.eventstore.postgres_reads import Page, PostgresReads
from reattach.infrastructure.eventstore.postgres_recorder import PostgresRecorder
from reattach.infrastructure.eventstore.postgres_writer import PostgresWriter
from reattach.infrastructure.postgres import PostgresConnection, connect

from .beside import url_on_postgres, world_on_postgres
from .world import Segment, World

__all__ = ["url_on_postgres", "world_on_postgres"]  # fixtures

pytestmark = pytest.mark.anyio

BATCHES: Final = 100_000
BYTES: Final = frozenset("state outline body carry payload config".split())
TEXTS: Final = frozenset("status topic0 topic".split())
ARRAYS: Final[Mapping[str, object]] = {
    "UUID": [uuid_in(b"\1" * 16)],
    "BIGINT": [1],
    "TEXT": ["x"],
    "BYTEA": [bytearray()],
}


SMALL: Final = frozenset({"runs_pending", "runs_leases", "runs_approvals", "sessions_handoffs", "events_feed"})
"""Indexes of what waits for something, which are read from their beginning up to a limit; and of the feed."""


class Explained(str):
    """A statement that says what it would cost, or has cost."""

    postgres: bytes


def explained(statement: Sql, how: str) -> Explained:
    made = Explained("EXPLAIN")
    made.postgres = f"EXPLAIN ({how}FORMAT JSON) ".encode() + statement.postgres
    return made


class Meter(PostgresConnection):
    """Counts the rows that plans give and drop, at every node of them, and the statements sent."""

    def __init__(self, url: str) -> None:
        super().__init__(connect(url).raw)
        self.rows = 0
        self.sent = 0
        self.on = False

    def execute(self, statement: str, parameters: Mapping[str, Any] | None = None, /) -> Cursor:
        self.sent += 1
        if self.on and isinstance(statement, Sql) and statement.postgres.startswith((b"SELECT", b"WITH")):
            ((plan,),) = super().execute(explained(statement, "ANALYZE, "), parameters).fetchall()
            self.rows += touched(plan[0]["Plan"])
        return super().execute(statement, parameters)

    def of(self, work: Callable[[], object]) -> tuple[int, int]:
        """The rows and the statements this takes."""
        rows, sent = self.rows, self.sent
        self.on = True
        work()
        self.on = False
        return self.rows - rows, self.sent - sent


def touched(plan: Mapping[str, Any]) -> int:
    own = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
    return int(own * plan["Actual Loops"]) + sum(touched(child) for child in plan.get("Plans", ()))


@pytest.fixture
def meter(url: str) -> Iterator[Meter]:
    made = Meter(url)
    yield made
    made.close()


async def long_run(world: World, url: str, batches: int) -> Segment:
    """A run with that many batches of one frame; all but its first and its last eight are copies of each other."""
    segment = await world.running()
    await segment.write(Text("x"))
    for _ in range(8):
        await segment.write(Text("y"))
    more = batches - 9
    if more > 0:
        stream, head = uuid_in(stream_id(segment.run_id)), (await world.view(segment.run_id)).head_seq
        columns = "frames, epoch, topic, state, outline, checksum"
        with psycopg.connect(url) as raw:
            raw.execute(
                f"INSERT INTO events (stream_id, version, {columns}) SELECT stream_id, version + n, {columns} "  # noqa: S608  our own names
                "FROM events, generate_series(1, %s) AS n WHERE stream_id = %s AND version = %s".encode(),
                (more, stream, head),
            )
    return segment


async def test_loading_a_run_costs_the_same_after_ten_batches_or_a_hundred_thousand(
    world: World, url: str, meter: Meter
) -> None:
    """Its state, head and checkpoint, and what readers ask."""
    segments = [await long_run(world, url, batches) for batches in (10, BATCHES)]
    with psycopg.connect(url, autocommit=True) as operator:
        operator.execute("ANALYZE events")
    library = Library(PostgresRecorder(lambda: meter), Codec())
    writer = PostgresWriter(lambda: meter, library, Codec(), world.clock)
    reads = PostgresReads(lambda: meter, Codec())

    def costs(segment: Segment) -> list[tuple[int, int]]:
        run_id = segment.run_id
        loads: list[Callable[[Transaction], object]] = [
            lambda tx: tx.run(run_id),
            lambda tx: tx.head(run_id),
            lambda tx: tx.checkpoint(run_id),
        ]
        calls: list[Callable[[], object]] = [
            *(lambda load=load: writer.write([load]) for load in loads),
            lambda: reads.run_view(run_id),
            lambda: reads.epoch_at(run_id, 7),
            lambda: reads.read(run_id, 3, 4),
            lambda: reads.read_many([Page(run_id, 3, 4), Page(run_id, 5, 4)]),
            lambda: library.replay(Run, uuid_in(stream_id(run_id))),
        ]
        return [meter.of(call) for call in calls]

    few, many = map(costs, segments)
    assert [sent for _, sent in few] == [sent for _, sent in many]
    assert all(more <= rows for (rows, _), (more, _) in zip(few, many, strict=True)), (few, many)
    assert all(rows > 0 for rows, _ in (few[0], few[1], *few[3:]))


async def test_a_tail_costs_the_same_whatever_the_session(world: World, meter: Meter) -> None:
    reads = PostgresReads(lambda: meter, Codec())

    def costs(session_id: SessionId, turns: int) -> list[tuple[int, int]]:
        calls = [
            lambda: reads.tail(session_id, 4),
            lambda: reads.messages(session_id, Span(), 4),
            lambda: reads.messages(session_id, Span(before=(turns, 1, 0)), 2),
            lambda: reads.next_run(session_id, turns - 1, 1),
        ]
        return [meter.of(call) for call in calls]

    found: list[list[tuple[int, int]]] = []
    for turns in (5, 60):
        session = await world.session()
        for _ in range(turns):
            segment = await world.running(session)
            await segment.write(Text("a"))
            await segment.finish()
        found.append(costs(session, turns))
    assert found[0] == found[1]


async def test_a_page_reads_no_more_than_it_gives(world: World, url: str, meter: Meter) -> None:
    """From the middle of a long log; another driver would fetch all the rest."""
    segment = await long_run(world, url, 2_000)
    reads = PostgresReads(lambda: meter, Codec())
    rows, sent = meter.of(lambda: reads.read(segment.run_id, 5, 8))
    assert sent == 1
    assert rows < 40


async def test_a_thousand_watched_runs_are_one_statement(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of them have nothing new. What came is given to whoever asked for it."""
    sent: list[str] = []
    execute = PostgresConnection.execute

    def noted(self: PostgresConnection, statement: str, parameters: Any = None, /) -> Cursor:
        sent.append(statement if type(statement) is str else "a statement")
        return execute(self, statement, parameters)

    segment = await world.running()
    await segment.write(Text("a"))
    idle: list[RunId] = [(await world.pending()).run_id for _ in range(3)]
    watched = [idle[n % 3] for n in range(999)]
    monkeypatch.setattr(PostgresConnection, "execute", noted)
    await world.store.check()
    sent.clear()
    found = await asyncio.gather(
        *(world.store.read(run_id, 1, 1024) for run_id in watched), world.store.read(segment.run_id, 2, 1024)
    )
    assert sent == ["a statement"]
    assert found[:-1] == [[]] * 999
    assert [record.first_seq for record in found[-1]] == [3]


async def test_an_append_is_one_trip_and_those_of_many_runs_are_too(world: World, meter: Meter) -> None:
    """Also their commit: a statement by itself is its own transaction."""
    segments = [await world.running() for _ in range(40)]
    writer = PostgresWriter(lambda: meter, Library(PostgresRecorder(lambda: meter), Codec()), Codec(), world.clock)
    writer.write([segment.next(Text("the places of runs are remembered")) for segment in segments])
    for count in (1, 40):
        appends = [segment.next(Text("a")) for segment in segments[:count]]
        _, sent = meter.of(lambda appends=appends: writer.write(appends))
        assert sent == 1
    assert len(await world.log(segments[0].run_id)) == 8


def test_statements_use_their_indexes(url: str) -> None:
    """No plan scans a table, not while it is empty and, being kept, not when it is full."""
    modules = (statements, session_statements, feed_statements, postgres_statements)
    texts: dict[str, Sql] = {n: t for module in modules for n, t in vars(module).items() if isinstance(t, Sql)}
    texts |= {
        "runs": statements.select_runs(("session_id", "status"), after=True),
        "sessions": statements.select_sessions(("status",), after=True),
        "feed": feed_statements.select_feed(bounds=("gt", "lte"), topics=1),
        "facts": statements.select_events(bounds=("gt",), desc=True, facts=True),
        "messages": statements.select_messages(("after",), oldest=True),
    }
    del texts["APPEND_OUTPUT"]  # SQLite's; here it is APPEND_OUTPUTS
    assert len(texts) > 55
    connection = connect(url)
    for name, statement in texts.items():
        ((plan,),) = connection.execute(explained(statement, ""), dict(dummies(statement))).fetchall()
        nodes = list(kinds(plan[0]["Plan"]))
        assert not [node for node in nodes if {"Seq", "Hash", "Bitmap"}.intersection(node.split())], (name, nodes)
        sorts = [node for node in nodes[1:] if "Sort" in node]
        assert name != "SELECT_TAIL" or not sorts, nodes  # but for the page itself
        walked = [index for index in walks(plan[0]["Plan"]) if index not in SMALL]
        assert not walked, (name, walked)
    connection.close()


def walks(plan: Mapping[str, Any]) -> Iterable[str]:
    """The indexes that are read from end to end."""
    if "Index Name" in plan and "Index Cond" not in plan:
        yield plan["Index Name"]
    for child in plan.get("Plans", ()):
        yield from walks(child)


def kinds(plan: Mapping[str, Any]) -> Iterable[str]:
    yield f"{plan['Node Type']} {plan.get('Relation Name', '')}"
    for child in plan.get("Plans", ()):
        yield from kinds(child)


def dummies(statement: Sql) -> Iterable[tuple[str, object]]:
    """A value of its type for each parameter."""
    text = statement.postgres.decode()
    for name, array in re.findall(r"CAST\(%\((\w+)\)b AS (\w+)\[\]\)", text):
        yield name, ARRAYS[array]
    for name, kind in re.findall(r"%\((\w+)\)b(?: AS \w+\[\]|::(\w+))?", text):
        if f"CAST(%({name})b AS" in text:
            continue
        if kind == "UUID" or name in BYTES:
            yield name, b"\1" * 16
        else:
            yield name, "x" if kind == "VARCHAR" or name in TEXTS else 1
