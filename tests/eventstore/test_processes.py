"""Several processes on one database: nothing is lost, doubled or reordered, not even by a kill; readers are woken."""

import asyncio
import re
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, closing
from pathlib import Path
from typing import Final

import pytest

from reattach.domain.agent import Text
from reattach.domain.identifiers import RunId
from reattach.infrastructure.clock import SystemClock
from reattach.infrastructure.codec import Codec
from reattach.infrastructure.eventstore import open_store
from reattach.infrastructure.eventstore.committer import ThreadCommitter
from reattach.infrastructure.eventstore.library import Library
from reattach.infrastructure.eventstore.recorder import Recorder
from reattach.infrastructure.eventstore.writer import Writer
from reattach.infrastructure.sqlite import connect_reader, connect_writer
from reattach.infrastructure.wakeups import Wakeups

from .world import ENVIRONMENT, ROOT, Listening, ManualClock, Segment, World

WORD: Final = re.compile(rb'"text":"([a-z]+\d+)\."')

pytestmark = pytest.mark.anyio


@pytest.fixture
async def world(url: str) -> AsyncIterator[World]:
    async with open_store(url, SystemClock()) as store:
        yield World(store, ManualClock())


async def writer(url: str, segment: Segment, word: str, count: int) -> Process:
    return await started("writes", url, segment.run_id, "1", word, str(count))


async def started(module: str, *arguments: str) -> Process:
    command = (sys.executable, "-m", f"tests.eventstore.{module}", *arguments)
    return await asyncio.create_subprocess_exec(*command, stdout=PIPE, cwd=ROOT, env=ENVIRONMENT)


async def said(process: Process) -> dict[str, list[int]]:
    """What the process printed until it ended: the seqs it got, and those it lost."""
    output, _ = await process.communicate()
    assert process.returncode == 0
    lines: dict[str, list[int]] = {"ack": [], "lost": []}
    for line in output.decode().splitlines():
        kind, _, seq = line.partition(" ")
        lines[kind].append(int(seq))
    return lines


async def test_two_processes_share_a_run_without_loss(world: World, url: str) -> None:
    """Both write where the log ends, so that they conflict all the time; so does this process, on a run of its own."""
    shared, own = await world.running(), await world.running()
    processes = [await writer(url, shared, word, 40) for word in ("a", "b")]
    writing = asyncio.gather(*map(said, processes))
    count = 0
    while not writing.done():
        await own.write(Text(f"own{count}."))
        count += 1
    results = writing.result()
    log = await world.log(shared.run_id)
    words = [word.decode() for word in WORD.findall(b"".join(log))]
    assert sorted(words) == sorted(f"{letter}{n}" for letter in "ab" for n in range(40))
    assert sorted(results[0]["ack"] + results[1]["ack"]) == list(range(3, len(log), 4))
    assert WORD.findall(b"".join(await world.log(own.run_id))) == [f"own{n}".encode() for n in range(count)]


async def test_a_conflicting_append_loses_typed(world: World, url: str) -> None:
    """Several processes at one run lose places to each other; every loss is an AppendConflict, never a silence."""
    shared = await world.running()
    processes = [await writer(url, shared, word, 30) for word in ("a", "b", "c")]
    results = await asyncio.gather(*map(said, processes))
    got = [seq for result in results for seq in result["ack"]]
    assert len(got) == len(set(got)) == 90
    assert all(seq in got for result in results for seq in result["lost"])


async def test_every_run_is_claimed_once(url: str) -> None:
    """Reading and recording are one transaction, whoever else writes."""
    async with open_store(url, SystemClock()) as store:
        world = World(store, ManualClock())
        runs = [(await world.pending()).run_id for _ in range(40)]
        processes = [await started("claims", url, worker, str(len(runs))) for worker in ("w1", "w2", "w3")]
        printed = [(await process.communicate())[0].decode().split() for process in processes]
        assert [process.returncode for process in processes] == [0, 0, 0]
        assert sorted(run_id for claimed in printed for run_id in claimed) == sorted(runs)
        assert [(await world.view(run_id)).run.epoch for run_id in runs] == [1] * len(runs)


async def test_a_kill_loses_nothing_acknowledged(world: World, url: str) -> None:
    """SIGKILL in the middle of writing, again and again: every append that was acknowledged is in the log."""
    segment = await world.running()
    for number, lines in enumerate((1, 7, 25, 60)):
        process = await writer(url, segment, "abcd"[number], 10_000)
        assert process.stdout is not None
        acknowledged = [int((await process.stdout.readline()).split()[1]) for _ in range(lines)]
        process.kill()
        acknowledged += [int(seq) for seq in re.findall(rb"ack (\d+)\n", await process.stdout.read())]
        await process.wait()
        log = await world.log(segment.run_id)
        words = WORD.findall(b"".join(log))
        mine = [word for word in words if word.startswith(b"abcd"[number : number + 1])]
        assert mine[: len(acknowledged)] == [b"%c%d" % (b"abcd"[number], n) for n in range(len(acknowledged))]
        assert len(mine) - len(acknowledged) in (0, 1)
        assert acknowledged == [seq for seq in acknowledged if log[seq + 2].find(b"delta") > 0]


async def test_the_store_is_there_after_its_process_was_killed(tmp_path: Path) -> None:
    """Nobody else has the file open, so that the next one to open it must recover."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    async with open_store(url, SystemClock()) as store:
        segment = await World(store, ManualClock()).running()
    process = await writer(url, segment, "a", 10_000)
    assert process.stdout is not None
    for _ in range(30):
        await process.stdout.readline()
    process.kill()
    await process.communicate()
    assert (tmp_path / "store.db-wal").stat().st_size > 0
    async with open_store(url, SystemClock()) as store:
        log = await World(store, ManualClock()).log(segment.run_id)
        assert len(WORD.findall(b"".join(log))) >= 30


# Wake-ups.


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_every_foreign_commit_wakes_and_no_own_one_does(world: World, tmp_path: Path) -> None:
    """While this store commits as fast as it can: each foreign commit is one change, told within the wait's bound."""
    path = tmp_path / "store.db"

    def connect() -> sqlite3.Connection:
        return connect_writer(path, "strict")

    library = Library(Recorder(connect), Codec())
    committer = ThreadCommitter(Writer(connect, library, Codec(), SystemClock()))
    listening = Listening()
    wakeups = Wakeups(
        lambda: connect_reader(path), committer.foreign_commits, listening.changed, interval_s=0.001, answer_s=60
    )
    await committer.start(listening.committed)
    run_id = (await world.pending()).run_id
    await committer.foreign_commits()
    wakeups.start()
    async with aclosing(busy(committer, run_id)) as own:
        for expected in range(1, 40):
            for _ in range(expected % 5):
                await anext(own)
            assert listening.changes == expected - 1
            with closing(sqlite3.connect(path)) as foreign, foreign:
                foreign.execute("UPDATE meta SET value = value + 1 WHERE key = 'feed'")
            await listening.hears()
            assert listening.changes == expected
    wakeups.stop()
    await committer.close()
    library.close()


async def busy(committer: ThreadCommitter, run_id: RunId) -> AsyncGenerator[None]:
    """Own commits, one at a time."""
    while True:
        await committer.submit(lambda tx: tx.lease(run_id, tx.now))
        yield


async def test_a_listener_is_woken_by_another_process(world: World, url: str) -> None:
    segment = await world.running()
    listening = Listening()
    stop = world.store.listen(listening)
    process = await writer(url, segment, "a", 1)
    await listening.hears()
    await said(process)
    assert listening.commits == []
    while len(await world.log(segment.run_id)) < 6:
        await listening.hears()
    stop()
