"""PostgreSQL's own troubles: sessions that are ended, a server that crashes, an answer that never comes."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import psycopg
import pytest
from sqlalchemy import make_url

from reattach.domain.agent import EndPart, Text
from reattach.domain.errors import Invalid, StoreUnavailable
from reattach.domain.ports import Append, Committed, RunView, Transaction
from reattach.infrastructure.driver import Lost
from reattach.infrastructure.eventstore import open_store
from reattach.infrastructure.migrations.postgres import migrate
from reattach.infrastructure.postgres import PostgresConnection, connect
from reattach.simulations.chaos.proxy import Link

from ..postgres import Server, new_server, text
from .beside import Gate, Process, url_on_postgres
from .world import TENANT, Listening, ManualClock, Segment, World

__all__ = ["url_on_postgres"]  # a fixture

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    clock = ManualClock()
    async with open_store(url, clock) as store:
        yield World(store, clock)


@pytest.fixture
def beside(url: str, world: World) -> Iterator[Process]:
    process = Process(url, world)
    yield process
    process.close()


def terminate(url: str, which: str = "true") -> int:
    """End sessions of the database, as an operator or a fail-over does; how many."""
    ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
    theirs = f"datname = current_database() AND pid <> pg_backend_pid() AND {which}"
    with psycopg.connect(url, autocommit=True) as operator:
        row = operator.execute(f"{ended} WHERE {theirs}".encode()).fetchone()
        assert row is not None
        return int(row[0])


async def test_sessions_that_ended_while_idle_are_made_anew(world: World, url: str) -> None:
    """Every one of them: who writes and who reads notices nothing."""
    segment = await world.running()
    assert terminate(url) >= 2
    await segment.write(Text("a"))
    assert terminate(url) >= 1
    assert len(await world.log(segment.run_id)) == 6
    terminate(url)
    assert (await world.application.cancel(TENANT, segment.run_id, "stop", "ada")).head_seq == 7
    assert len(await world.log(segment.run_id)) == 7


async def test_a_group_whose_session_ends_is_done_again_whole(world: World, url: str, beside: Process) -> None:
    """In its middle, with works done and none committed: nothing is lost, nothing is there twice."""
    segments = [await world.running() for _ in range(2)]
    gate, runs = Gate(), [0]

    def stands(_: Transaction) -> None:
        runs[0] += 1
        if runs[0] == 1:
            gate.stand()

    first, second = (segment.next(Text("a")) for segment in segments)
    writing = asyncio.ensure_future(asyncio.to_thread(beside.writer.write, [first, stands, second]))
    await gate.is_reached()
    assert terminate(url, "state = 'idle in transaction'") == 1
    gate.opened.set()
    written = await writing
    assert [result.error for result in written.results] == [None] * 3
    assert [news.run_id for news in written.news if isinstance(news, Committed)] == [s.run_id for s in segments]
    assert runs == [2]
    assert [len(await world.log(segment.run_id)) for segment in segments] == [6, 6]


class Silent(PostgresConnection):
    """A connection that ends between the server's COMMIT and its answer."""

    silent = False

    def commit(self) -> None:
        super().commit()
        if self.silent:
            self.silent = False
            self.raw.close()
            raise Lost(StoreUnavailable("The connection broke."))


async def test_an_answer_that_never_came_is_told_as_unknown(world: World, url: str) -> None:
    """It is not done again by us, who can't know; its author sends it again, and there is one of it."""
    made: list[Silent] = []

    def silent() -> Silent:
        made.append(Silent(connect(url, "strict").raw))
        return made[-1]

    process = Process(url, world, silent)
    segment = await world.running()
    append = segment.next(Text("a"), EndPart())
    process.writer.open()
    made[0].silent = True
    (result,) = process.writer.write([append]).results
    assert isinstance(result.error, StoreUnavailable)
    assert len(await world.log(segment.run_id)) == 7
    again = process.writer.write([append])
    assert [result.error for result in again.results] == [None]
    assert again.news == []
    assert len(await world.log(segment.run_id)) == 7
    assert len(made) == 2
    process.close()


@pytest.fixture
async def link(url: str) -> AsyncIterator[Link]:
    """What lies between a process and its database."""
    place = make_url(url).query["host"]
    assert isinstance(place, str)
    link = Link(lambda: f"{place}/.s.PGSQL.5432")
    await link.open()
    yield link
    await link.close()


async def test_a_connection_that_has_fallen_silent_is_given_up(
    url: str, link: Link, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No time-out of the server's or of TCP's ends it: who is in between takes everything, and hands on nothing."""
    monkeypatch.setattr("reattach.infrastructure.answers.ANSWER_TIMEOUT_S", 0.3)
    monkeypatch.setattr("reattach.infrastructure.postgres.CONNECT_TIMEOUT_S", 1)
    clock = ManualClock()
    through = make_url(url).set(host="127.0.0.1", port=link.port, query={})
    async with open_store(text(through), clock) as store:
        world = World(store, clock)
        segment = await world.running()
        append = segment.next(Text("a"))
        await world.log(segment.run_id)
        link.silence()
        with pytest.raises(StoreUnavailable):
            await world.log(segment.run_id)
        with pytest.raises(StoreUnavailable):
            await store.append(append)
        link.calm()
        await store.append(append)
        assert len(await world.log(segment.run_id)) == 6
        link.silence()


async def test_a_run_in_other_hands_holds_nobody_else_up(world: World, url: str) -> None:
    """Somebody sits on one run's row: the other runs of the group land meanwhile, the one lands afterwards."""
    held, free = [await world.running() for _ in range(2)]
    with psycopg.connect(url) as other:
        other.execute("SELECT 1 FROM runs WHERE worker IS NOT NULL ORDER BY run_id LIMIT 1 FOR UPDATE")
        waiting = asyncio.ensure_future(held.write(Text("a"), EndPart()))
        await asyncio.gather(*(free.write(Text("b")) for _ in range(1)))
        await free.write(Text("c"), EndPart())
        assert not waiting.done()
    await waiting
    assert [len(await world.log(segment.run_id)) for segment in (held, free)] == [7, 8]


async def test_who_sits_on_a_run_for_ever_is_told_of_in_the_end(
    world: World, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reattach.infrastructure.eventstore.committer.AGAIN_S", 0.1)
    segment = await world.running()
    with psycopg.connect(url) as other:
        other.execute("SELECT 1 FROM runs FOR UPDATE")
        with pytest.raises(StoreUnavailable):
            await segment.write(Text("a"))
    assert len(await world.log(segment.run_id)) == 2


async def test_a_text_that_the_database_cannot_hold_is_its_authors_mistake(world: World) -> None:
    """NUL in an identifier that a client chose; PostgreSQL's texts have no such character."""
    session = await world.session()
    await world.application.sessions.resume(TENANT, session, "ada")
    with pytest.raises(Invalid):
        await world.application.handoffs.request(TENANT, session, "h\0", None)
    with pytest.raises(Invalid):
        await world.store.runs(TENANT, {"agent": "\0"}, None, 9)
    await world.application.handoffs.request(TENANT, session, "h", None)


@pytest.fixture
def crashing() -> Iterator[Server]:
    """A server of its own that syncs what it commits, as in earnest."""
    server = new_server(fsync="on", full_page_writes="on")
    try:
        server.create()
        yield server
    finally:
        server.remove()


async def test_a_server_that_crashes_and_comes_back_has_everything_acknowledged(crashing: Server) -> None:
    """Again and again under load. Its clients' sessions are gone each time, and the store goes on by itself."""
    url = text(crashing.url.set(database="template1"))
    with psycopg.connect(url, autocommit=True) as operator:
        operator.execute("CREATE DATABASE crashing")
    url = text(crashing.url.set(database="crashing"))
    migrate(url)
    clock = ManualClock()
    async with open_store(url, clock) as store:
        world = World(store, clock)
        listening = Listening()
        store.listen(listening)
        segments = [await world.running() for _ in range(4)]
        for _ in range(3):
            stop = asyncio.Event()
            writers = [asyncio.ensure_future(writes_on(world, segment.next(Text("a")), stop)) for segment in segments]
            await listening.hears()
            await asyncio.to_thread(crashing.stop, "immediate")
            with pytest.raises(StoreUnavailable):
                await store.check()
            await asyncio.to_thread(crashing.start)
            stop.set()
            acknowledged = await asyncio.gather(*writers)
            await store.check()
            for segment, last in zip(segments, acknowledged, strict=True):
                log = await world.log(segment.run_id)
                assert len(log) == last, "neither lost nor doubled"
                view = await world.view(segment.run_id)
                segment.scribe = Segment.begin(world, view.run, len(log) + 1).scribe


async def writes_on(world: World, append: Append, stop: asyncio.Event) -> int:
    """Append, again and again at the log's end, sending what was not acknowledged once more; the last seq."""
    last = append.batch.first_seq - 1
    while True:
        try:
            await world.store.append(append)
        except StoreUnavailable:
            await asyncio.sleep(0.05)
            continue
        last = append.batch.first_seq + len(append.batch.data) - 1
        if stop.is_set():
            return last
        view = await patient_view(world, append)
        append = Segment.begin(world, view.run, last + 1).next(Text("a"))


async def patient_view(world: World, append: Append) -> RunView:
    while True:
        try:
            return await world.view(append.run_id)
        except StoreUnavailable:
            await asyncio.sleep(0.05)
