"""A record that can't be read while a reader catches up: the stream ends with a word, and the server's log says why."""

import asyncio
import logging
from collections.abc import Sequence
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
from reattach.domain.errors import ReattachError, RecordDamaged, StoreUnavailable
from reattach.domain.identifiers import RunId
from reattach.domain.ports import Record, RunView, Store
from reattach.infrastructure.clock import SystemClock

TIMEOUT_S = 5.0


class Broken:
    """A store whose first page is whole."""

    generation = 1

    def __init__(self, log: RunLog, error: ReattachError) -> None:
        self._log = log
        self._error = error

    async def read(self, _: RunId, after_seq: int, limit_frames: int) -> Sequence[Record]:
        """The first page, or what is wrong with the next one."""
        if after_seq:
            raise self._error
        return [Record(seq, 1, (line,)) for seq, line in enumerate(self._log.lines[:limit_frames], 1)]


async def caught_up_with(error: ReattachError) -> bytes:
    """Catch up until the stream ends; its bytes."""
    log, sent, over = RunLog(), list[bytes](), asyncio.Event()
    log.create()
    log.claim()
    log.write(*(Text(f"word {n}") for n in range(4)))

    async def send(message: Any) -> None:
        sent.append(message["body"])
        if not message["more_body"]:
            over.set()

    feed = Feed(RunView(log.run, log.head), Encoder(log.run.run_id, 1, log.run.request_config))
    feed.watchers = 1
    broadcaster = Broadcaster(cast("Store", Broken(log, error)), SystemClock(), StreamTimes())
    reader = walk.Walk(broadcaster, Reader(send, b""), feed, follow=True)
    await reader.begin(Place(0), Wish(None, None, follow=True, snapshot=False, config=None))
    await asyncio.wait_for(over.wait(), TIMEOUT_S)
    reader.stop()
    return b"".join(sent)


@pytest.mark.parametrize(("error", "level"), [(RecordDamaged(), logging.ERROR), (StoreUnavailable(), logging.INFO)])
def test_what_cannot_be_read_on_ends_the_stream(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: ReattachError, level: int
) -> None:
    monkeypatch.setattr(walk, "FIRST_PAGE_FRAMES", 2)
    caplog.set_level(logging.INFO, "reattach.stream")
    sent = asyncio.run(caught_up_with(error))
    assert (sent.count(b"\nid: "), sent.count(b"event: stream.reconnect\n")) == (2, 1)
    (record,) = caplog.records
    assert (record.levelno, record.exc_info is not None) == (level, level == logging.ERROR)
