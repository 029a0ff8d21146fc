"""A feed that has not heard of the latest commits yet: what is there is read all the same."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from tests.domain.log import RunLog

from reattach.adapters.http import walk
from reattach.adapters.http.broadcaster import Broadcaster, StreamTimes
from reattach.adapters.http.feed import Feed
from reattach.adapters.http.place import Place, Wish
from reattach.adapters.http.reader import Reader
from reattach.adapters.http.sse import Encoder
from reattach.domain.agent import Text
from reattach.domain.identifiers import RunId
from reattach.domain.ports import Record, RunView, Store


class StoppedClock:
    """Time does not pass."""

    def now(self) -> datetime:
        """Any instant."""
        return datetime(2026, 1, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        """Any instant."""
        return 1.0


class Logged:
    """A store that can be read, and tells nobody of anything."""

    generation = 1

    def __init__(self, log: RunLog) -> None:
        self._log = log

    async def read(self, run_id: RunId, after_seq: int, limit_frames: int) -> Sequence[Record]:
        """Frames one by one."""
        assert run_id == self._log.run.run_id
        lines = self._log.lines[after_seq : after_seq + limit_frames]
        return [Record(seq, 1, (line,)) for seq, line in enumerate(lines, after_seq + 1)]


def test_a_replay_ends_where_the_log_ended_when_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "FIRST_PAGE_FRAMES", 2)
    asyncio.run(replayed())


async def replayed() -> None:
    """Replay a log of which the feed knows only the beginning."""
    log, sent, over = RunLog(), list[bytes](), asyncio.Event()
    log.create()
    log.claim()
    known = log.head
    log.write(*(Text(f"word {n}") for n in range(4)))

    async def send(message: Any) -> None:
        sent.append(message["body"])
        if not message["more_body"]:
            over.set()

    feed = Feed(RunView(log.run, known), Encoder(log.run.run_id, 1, log.run.request_config))
    feed.watchers = 1
    broadcaster = Broadcaster(cast("Store", Logged(log)), StoppedClock(), StreamTimes())
    replay = walk.Walk(broadcaster, Reader(send, b""), feed, follow=False)
    await replay.begin(Place(0), Wish(None, None, follow=False, snapshot=False, config=None))
    await asyncio.wait_for(over.wait(), 5)
    replay.stop()
    assert b"".join(sent).count(b"\nid: ") == log.head > known
