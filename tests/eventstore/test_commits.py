"""Group commit: durable before it is told, bounded, and honest about what the database did not do."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reattach.domain.agent import Text
from reattach.domain.errors import StoreUnavailable
from reattach.domain.ports import Committed, News, Transaction
from reattach.infrastructure.clock import SystemClock
from reattach.infrastructure.codec import Codec
from reattach.infrastructure.eventstore import open_store
from reattach.infrastructure.eventstore.committer import GROUP_MAX, QUEUE_MAX
from reattach.infrastructure.eventstore.library import Library
from reattach.infrastructure.eventstore.recorder import Recorder
from reattach.infrastructure.eventstore.writer import Writer, Written
from reattach.infrastructure.sqlite import Durability, connect_writer

from .world import WORKER, Listening, ManualClock, World

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def world(path: Path) -> AsyncIterator[World]:
    clock = ManualClock()
    async with open_store(f"sqlite:///{path}", clock) as store:
        yield World(store, clock)


class Disk(sqlite3.Connection):
    """A connection whose disk can be told to fail the next commit."""

    failing = False

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        if sql == "COMMIT" and self.failing:
            self.failing = False
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, parameters)


@dataclass
class InLine:
    """A second writer on the same file, run in line, and the connections it opened."""

    writer: Writer
    disks: list[Disk]

    @property
    def disk(self) -> Disk:
        return self.disks[-1]


@pytest.fixture
def second(path: Path) -> Iterator[InLine]:
    disks: list[Disk] = []

    def connect() -> Disk:
        disks.append(sqlite3.connect(path, isolation_level=None, factory=Disk))
        disks[-1].execute("PRAGMA busy_timeout=0")
        return disks[-1]

    library = Library(Recorder(connect), Codec())
    writer = Writer(connect, library, Codec(), ManualClock())
    yield InLine(writer, disks)
    writer.close()
    library.close()


def errors(written: Written) -> list[type[Exception] | None]:
    return [None if result.error is None else type(result.error) for result in written.results]


async def test_what_is_told_is_durable(world: World, path: Path) -> None:
    """In the very call that tells of a commit, a stranger finds it in the file."""
    found: list[bool] = []

    class Checking(Listening):
        def committed(self, commits: Sequence[News]) -> None:
            super().committed(commits)
            with closing(sqlite3.connect(path)) as raw:
                (frames,) = raw.execute(
                    "SELECT coalesce(sum(frames), 0) FROM events WHERE topic LIKE 'run.%'"
                ).fetchone()
            found.append(sum(len(commit.record.data) for commit in self.commits) <= frames)

    world.store.listen(Checking())
    segment = await world.running()
    for n in range(20):
        await segment.write(Text(str(n)))
    assert found == [True] * 23


async def test_nothing_is_told_inside_the_transaction(world: World, second: InLine, path: Path) -> None:
    """While the work runs, nobody else sees what it recorded; nor is there news before the commit."""
    run = await world.pending()
    seen: list[int] = []

    def work(tx: Transaction) -> None:
        tx.record(run, run.claim("w", tx.now))
        with closing(sqlite3.connect(path)) as raw:
            seen.extend(raw.execute("SELECT count(*) FROM events WHERE topic = 'run.claimed'").fetchone())

    written = second.writer.write([work])
    assert seen == [0]
    assert [commit.record.first_seq for commit in written.news if isinstance(commit, Committed)] == [2]


async def test_a_commit_that_fails_is_told_to_its_authors_and_to_nobody_else(world: World, second: InLine) -> None:
    segments = [await world.running() for _ in range(2)]
    appends = [segment.next(Text("a")) for segment in segments]
    second.writer.open()
    second.disk.failing = True
    written = second.writer.write([*appends, lambda tx: tx.lease(segments[0].run_id, tx.now)])
    assert errors(written) == [StoreUnavailable] * 3
    assert written.news == []
    assert [len(await world.log(segment.run_id)) for segment in segments] == [2, 2]
    written = second.writer.write(appends)
    assert errors(written) == [None, None]
    told = [commit.run_id for commit in written.news if isinstance(commit, Committed)]
    assert told == [segment.run_id for segment in segments]
    assert len(second.disks) == 2


async def test_a_full_disk_undoes_and_says_so(world: World, second: InLine) -> None:
    """What was told to be durable is there, what was told to be undone is not; with room it goes on."""
    segment = await world.running()
    small, large = segment.next(Text("a")), segment.next(Text("b" * 60_000), Text("c" * 60_000))
    second.writer.open()
    (pages,) = second.disk.execute("PRAGMA page_count").fetchone()
    second.disk.execute(f"PRAGMA max_page_count={pages + 2}")
    written = second.writer.write([small, large])
    assert errors(written)[1] is StoreUnavailable
    told = sum(len(commit.record.data) for commit in written.news if isinstance(commit, Committed))
    assert len(await world.log(segment.run_id)) == 2 + told
    second.writer.close()
    assert errors(second.writer.write([small, large])) == [None, None]
    assert len(await world.log(segment.run_id)) == 8


async def test_a_locked_database_is_unavailable_and_nothing_was_done(world: World, second: InLine, path: Path) -> None:
    segment = await world.running()
    append = segment.next(Text("a"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert errors(second.writer.write([append, lambda tx: tx.now])) == [StoreUnavailable] * 2
        other.execute("ROLLBACK")
    assert errors(second.writer.write([append])) == [None]


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
    await asyncio.gather(*(world.pending() for _ in range(GROUP_MAX + 8)))
    segments = [world.segment(run) for run in await world.application.claim(WORKER, ["echo"], GROUP_MAX + 8)]
    listening = Listening()
    world.store.listen(listening)
    await asyncio.gather(*(segment.write(Text("a")) for segment in segments))
    assert max(listening.groups) <= GROUP_MAX
    assert sum(listening.groups) == len(segments)


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
        assert [len(await World(again, clock).log(segment.run_id)) for segment in segments] == [6] * 5


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


@pytest.mark.parametrize(("durability", "synchronous"), [("strict", 2), ("relaxed", 1)])
def test_strict_syncs_every_commit(path: Path, durability: Durability, synchronous: int) -> None:
    """2 is FULL: the log is synced with each commit; 1 is NORMAL: only before a checkpoint."""
    with closing(connect_writer(path, durability)) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (synchronous,)


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
