"""The fan-out: everybody is served, and a crowd that writers overtake leaves them the loop after every few readers."""

import asyncio
from collections import Counter
from datetime import UTC, datetime

import pytest
from tests.domain.log import RunLog

from reattach.adapters.http.fanout import ASIDE_READERS, CROWD_READERS, OVERTAKEN_COMMITS, Fanout
from reattach.adapters.http.feed import Feed
from reattach.adapters.http.reader import Reader
from reattach.adapters.http.sse import Encoder
from reattach.domain.ports import RunView

LATE_COMMITS = 50
"""Turns of the loop in which something is committed."""


class StoppedClock:
    """Time does not pass: what yields here does not do so because a slice is over."""

    def now(self) -> datetime:
        """Any instant."""
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        """Any instant."""
        return 1.0


def feed_with(readers: int) -> Feed:
    """A watched run with so many readers at its start."""

    async def send(_: object) -> None:
        """Nobody sends here."""

    log = RunLog()
    log.create()
    feed = Feed(RunView(log.run, log.head), Encoder(log.run.run_id, 1, log.run.request_config))
    for _ in range(readers):
        feed.readers[Reader(send, b"")] = None
    return feed


async def served(readers: int, *, commits_while_serving: bool) -> Counter[int]:
    """How many readers were served in each turn of the loop."""
    loop = asyncio.get_running_loop()
    feed, turns, all_served, turn = feed_with(readers), Counter[int](), asyncio.Event(), 0

    def advance(_: Feed, reader: Reader) -> None:
        if reader.seq == 0:
            reader.seq = feed.head
            turns[turn] += 1
        if turns.total() == readers:
            all_served.set()

    fanout = Fanout(StoppedClock(), advance)

    def next_turn() -> None:
        nonlocal turn
        turn += 1
        if commits_while_serving and turn < LATE_COMMITS:
            fanout.committed()
        if not all_served.is_set():
            loop.call_soon(next_turn)

    fanout.committed()
    fanout.serve(feed)
    if commits_while_serving:
        for _ in range(OVERTAKEN_COMMITS):
            fanout.committed()
    loop.call_soon(next_turn)
    await asyncio.wait_for(all_served.wait(), 10)
    return turns


@pytest.mark.parametrize("readers", [1, CROWD_READERS - 1, CROWD_READERS, 500])
def test_everybody_is_served_at_once_while_nobody_writes(readers: int) -> None:
    turns = asyncio.run(served(readers, commits_while_serving=False))
    assert list(turns.values()) == [readers]


def test_a_crowd_that_writers_overtake_steps_aside() -> None:
    turns = asyncio.run(served(500, commits_while_serving=True))
    assert max(turns.values()) == ASIDE_READERS
    assert turns.total() == 500


def test_a_few_readers_never_step_aside() -> None:
    turns = asyncio.run(served(CROWD_READERS - 1, commits_while_serving=True))
    assert list(turns.values()) == [CROWD_READERS - 1]
