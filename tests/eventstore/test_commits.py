"""Group commit: durable before it is told, bounded, and honest about what the database did not do."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from reattach.domain.agent import Text
from reattach.domain.errors import StoreUnavailable
from reattach.domain.ports import Append, Transaction
from reattach.domain.run import Created, Run
from reattach.infrastructure.clock import SystemClock
from reattach.infrastructure.codec import Codec
from reattach.infrastructure.eventstore import open_store
from reattach.infrastructure.eventstore.committer import GROUP_MAX, QUEUE_MAX, ThreadCommitter
from reattach.infrastructure.eventstore.library import Library
from reattach.infrastructure.eventstore.recorder import Recorder
from reattach.infrastructure.eventstore.writer import Writer
from reattach.infrastructure.sqlite import connect_writer

from .world import TENANT, WORKER, Listening, ManualClock, Segment, World

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def world(path: Path) -> AsyncIterator[World]:
    clock = ManualClock()
    async with open_store(f"sqlite:///{path}", clock) as store:
        yield World(store, clock)


class Faulty(sqlite3.Connection):
    """A connection whose next COMMIT fails: as if the disk had."""

    fails = False

    def execute(self, sql: str, *parameters: object) -> sqlite3.Cursor:
        if sql == "COMMIT" and Faulty.fails:
            Faulty.fails = False
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *parameters)  # type: ignore[arg-type]  # passed through


@pytest.fixture
def writer(path: Path) -> Iterator[Writer]:
    """A second writer on the same file, in line, with a disk that can fail."""

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None, factory=Faulty)
        connection.execute("PRAGMA busy_timeout=0")
        return connection

    library = Library(Recorder(connect), Codec())
    writer = Writer(connect, library, Codec(), ManualClock())
    yield writer
    writer.close()
    library.close()


def lines(path: Path, segment: Segment) -> int:
    """The length of the log as a stranger sees it in the file."""
    with closing(sqlite3.connect(path)) as raw:
        (total,) = raw.execute("SELECT sum(frames) FROM events WHERE topic LIKE 'run.%'").fetchone()
    return int(total)


async def test_what_is_told_is_durable(world: World, path: Path) -> None:
    """In the very call that tells of a commit, somebody else finds it in the file."""
    found: list[tuple[int, int]] = []

    class Checking(Listening):
        def committed(self, commits: object) -> None:
            super().committed(commits)  # type: ignore[arg-type]  # narrower than it need be
            found.append((sum(len(c.record.data) for c in self.commits), lines(path, segment)))

    world.store.listen(Checking())
    segment = Segment.begin(world, Run(), 1)
    segment = await world.running()
    for n in range(20):
        await segment.write(Text(str(n)))
    assert len(found) == 22
    assert all(told <= stored for told, stored in found)


async def test_a_commit_that_fails_is_told_to_every_author_and_to_nobody_else(world: World, writer: Writer) -> None:
    segment, other = await world.running(), await world.running()
    appends = [segment.next(Text("a")), other.next(Text("b"))]
    Faulty.fails = True
    written = writer.write([*appends, lambda tx: tx.lease(segment.run_id, tx.now)])
    assert [type(result.error) for result in written.results] == [StoreUnavailable] * 3
    assert written.news == []
    assert len(await world.log(segment.run_id)) == len(await world.log(other.run_id)) == 2
    written = writer.write(appends)  # on a new connection
    assert [result.error for result in written.results] == [None, None]
    assert [commit.run_id for commit in written.news] == [segment.run_id, other.run_id]


async def test_a_full_disk_is_unavailable_and_later_is_not(world: World, writer: Writer, path: Path) -> None:
    """SQLite gives the whole group up: all of it is undone, nobody is told otherwise."""
    segment = await world.running()
    small, large = segment.next(Text("a")), segment.next(Text("b" * 60_000), Text("c" * 60_000))
    writer.open()
    with closing(connect_writer(path, "strict")) as raw:
        pages = raw.execute("PRAGMA page_count").fetchone()[0]
    limited(writer, pages + 2)
    written = writer.write([small, large])
    assert StoreUnavailable in [type(result.error) for result in written.results]
    landed = len(written.news)
    assert len(await world.log(segment.run_id)) == 2 + 4 * landed
    limited(writer, 1_000_000)
    written = writer.write([small, large])
    assert [result.error for result in written.results] == [None, None]
    assert len(await world.log(segment.run_id)) == 8


def limited(writer: Writer, pages: int) -> None:
    """The disk that the writer's connection has."""
    writer.write([lambda tx: tx._connection.execute(f"PRAGMA max_page_count={pages}")])


async def test_a_locked_database_is_unavailable_and_nothing_was_done(world: World, writer: Writer, path: Path) -> None:
    segment = await world.running()
    append = segment.next(Text("a"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        written = writer.write([append, lambda tx: tx.now])
        assert [type(result.error) for result in written.results] == [StoreUnavailable] * 2
        other.execute("ROLLBACK")
    assert writer.write([append]).results[0].error is None


async def test_reads_go_on_while_the_writer_waits(world: World, path: Path) -> None:
    """Somebody else holds the write lock: the event loop does not stand still, and the write lands afterwards."""
    segment = await world.running()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.ensure_future(segment.write(Text("a")))
        for _ in range(50):
            assert len(await world.log(segment.run_id)) == 2
            await asyncio.sleep(0)
        assert not writing.done()
        other.execute("ROLLBACK")
    await writing
    assert len(await world.log(segment.run_id)) == 6


async def test_what_waits_is_bounded(world: World, path: Path) -> None:
    """One more than the bound is refused at once; all the others are done, in groups of a bounded size."""
    segments = [await world.running() for _ in range(2)]
    listening = Listening()
    world.store.listen(listening)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        works = [asyncio.ensure_future(world.store.transact(lambda tx: tx.now)) for _ in range(QUEUE_MAX)]
        await asyncio.sleep(0)
        with pytest.raises(StoreUnavailable):
            await segments[0].write(Text("one too many"))
        other.execute("ROLLBACK")
    assert len(await asyncio.gather(*works)) == QUEUE_MAX
    await segments[1].write(Text("room again"))
    assert len(listening.commits) == 1


async def test_a_group_is_bounded(world: World) -> None:
    session = await world.session()
    run = await world.pending(session)
    listening = Listening()
    world.store.listen(listening)

    def creates(number: int) -> Callable[[Transaction], Run]:
        fields = run.model_dump(include=set(Created.model_fields)) | {"turn": number, "run_id": world_run(world)}
        return lambda tx: tx.record(Run(), Created(**fields, at=tx.now))

    await asyncio.gather(*(world.store.transact(creates(n)) for n in range(2, GROUP_MAX + 10)))
    assert max(listening.groups) <= GROUP_MAX
    assert sum(listening.groups) == GROUP_MAX + 8


def world_run(world: World) -> str:
    from reattach.domain.identifiers import RUN_PREFIX, identifier

    return identifier(RUN_PREFIX, world.ids.uuid())


async def test_closing_finishes_what_is_queued(path: Path) -> None:
    clock = ManualClock()
    store = open_store(f"sqlite:///{path}", clock)
    await store.start()
    world = World(store, clock)
    segments = [await world.running() for _ in range(5)]
    writes = [asyncio.ensure_future(segment.write(Text("a"))) for segment in segments]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*writes)
    with pytest.raises(StoreUnavailable):
        await segments[0].write(Text("too late"))
    with pytest.raises(StoreUnavailable):
        await store.run_view(segments[0].run_id)
    async with open_store(f"sqlite:///{path}", clock) as again:
        assert [(await again.run_view(segment.run_id)).head_seq for segment in segments] == [6] * 5  # type: ignore[union-attr]  # they exist


async def test_an_author_who_leaves_undoes_nothing(world: World) -> None:
    segment = await world.running()
    listening = Listening()
    world.store.listen(listening)
    writing = asyncio.ensure_future(segment.write(Text("a")))
    await asyncio.sleep(0)
    writing.cancel()
    await listening.hears()
    assert writing.cancelled()
    assert len(await world.log(segment.run_id)) == 6
    await segment.write(Text("b"))


async def test_relaxed_does_the_same(path: Path) -> None:
    clock = ManualClock()
    async with open_store(f"sqlite:///{path}", clock, durability="relaxed") as store:
        world = World(store, clock)
        segment = await world.running()
        await segment.write(Text("a"))
        await segment.finish()
        assert len(await world.log(segment.run_id)) == 10


async def test_a_store_that_does_not_start_lets_go_of_everything(path: Path) -> None:
    async with open_store(f"sqlite:///{path}", SystemClock()):
        pass
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("DROP TABLE meta")
    store = open_store(f"sqlite:///{path}", SystemClock())
    with pytest.raises(StoreUnavailable):
        await store.start()
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("PRAGMA journal_mode=DELETE")  # only who is alone may do that


__all__ = ["TENANT", "WORKER", "Append", "ThreadCommitter"]
