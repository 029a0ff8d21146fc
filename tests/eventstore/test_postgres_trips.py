"""How often a read goes to the server of PostgreSQL and back: counted in the protocol's own messages."""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from tempfile import TemporaryFile

import pytest

from reattach.domain.agent import Checkpoint, Text, ToolCall, ToolResult
from reattach.domain.identifiers import SessionId
from reattach.domain.ports import Span
from reattach.infrastructure.codec import Codec
from reattach.infrastructure.eventstore.postgres_reads import PostgresReads
from reattach.infrastructure.postgres import PostgresConnection, connect

from .beside import url_on_postgres, world_on_postgres
from .contract_sessions import said
from .world import World

__all__ = ["url_on_postgres", "world_on_postgres"]  # fixtures

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="psycopg traces the protocol on Linux only"),
]

LIMIT = 4


@pytest.fixture
def connection(url: str) -> Iterator[PostgresConnection]:
    made = connect(url, reads=True)
    yield made
    made.close()


def trips(connection: PostgresConnection, work: Callable[[], object]) -> Counter[str]:
    """Each Query and each Sync is a trip; a Parse says that one of them prepared a statement."""
    with TemporaryFile("w+") as trace:
        connection.raw.pgconn.trace(trace.fileno())
        work()
        connection.raw.pgconn.untrace()
        trace.seek(0)
        return Counter(re.findall(r"\tF\t\d+\t(Query|Sync|Parse)\b", trace.read()))


async def with_results(world: World, count: int) -> SessionId:
    """A session whose last messages hold results and nothing else."""
    session = await world.session()
    segment = await world.running(session)
    await segment.write(*(ToolCall(f"c{n}", "pay", {}) for n in range(count)), Checkpoint(0))
    for n in range(count):
        await segment.write(ToolResult(f"c{n}", n), Checkpoint(n))
    await segment.finish()
    return session


async def test_a_tail_is_one_trip(world: World, connection: PostgresConnection) -> None:
    """And a second one where what counts is out of its reach."""
    reads = PostgresReads(lambda: connection, Codec())
    idle, active = await world.session(), await world.session()
    for session in (idle, active):
        for _ in range(LIMIT + 1):
            await said(world, session, "x")
    segment = await world.running(active)
    await segment.write(Text("y"))
    called = await with_results(world, LIMIT * 2)
    reads.tail(idle, LIMIT)  # it is prepared now
    for session, expected in ((idle, 1), (active, 1), (called, 2)):
        assert trips(connection, lambda session=session: reads.tail(session, LIMIT)) == {"Sync": expected}


async def test_a_page_of_history_prepares_nothing_again(world: World, connection: PostgresConnection) -> None:
    """The end of its transaction leaves prepared what is prepared."""
    reads = PostgresReads(lambda: connection, Codec())
    session = await world.session()
    await said(world, session, "x")

    def page() -> None:
        assert len(reads.messages(session, Span(), LIMIT)) == 2

    assert trips(connection, page)["Parse"] == 3
    assert trips(connection, page) == {"Query": 2, "Sync": 3}
