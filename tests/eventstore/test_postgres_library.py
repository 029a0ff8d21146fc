"""The library carries our facts on PostgreSQL, too: its own test of recorders, the feed's order, and replays."""

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from typing import Any, Final

import psycopg
import pytest
from eventsourcing.persistence import Notification, StoredEvent

from reattach.domain.agent import Checkpoint, Text
from reattach.domain.job import Job
from reattach.domain.ports import Transaction
from reattach.domain.run import Run
from reattach.domain.session import Session
from reattach.infrastructure.codec import Codec, stream_id, uuid_in
from reattach.infrastructure.eventstore.library import Library
from reattach.infrastructure.eventstore.postgres_recorder import PostgresRecorder
from reattach.infrastructure.postgres import PostgresConnection, connect

from ..postgres import new_database
from . import recorder_case
from .beside import Gate, Process, url_on_postgres, world_on_postgres
from .world import World

__all__ = ["url_on_postgres", "world_on_postgres"]  # fixtures

PLACES: Final = b"SELECT feed_id FROM events WHERE feed_id IS NOT NULL ORDER BY feed_id"


class Numbered(PostgresRecorder):
    """Gives places of the feed as 1, 2, 3.

    The test case names places so, literally. Ours on PostgreSQL have the order of those numbers and gaps in between:
    they are made of transaction ids, so that nobody waits for a counter.
    """

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        places = super().insert_events(stored_events, **kwargs)
        known = self._places()
        return [known.index(place) + 1 for place in places or ()]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        known = self._places()
        first, last = (None if n is None else self._place(known, n) for n in (start, stop))
        found = super().select_notifications(first, limit, last, topics, inclusive_of_start=inclusive_of_start)
        return [
            Notification(n.originator_id, n.originator_version, n.topic, n.state, known.index(n.id) + 1)
            for n in found
            if n.id in known
        ]

    def max_notification_id(self) -> int | None:
        return len(self._places()) or None

    def _places(self) -> list[int]:
        with self._lock:
            session = self._connection()
            assert isinstance(session, PostgresConnection)
            return [row[0] for row in session.raw.execute(PLACES).fetchall()]

    @staticmethod
    def _place(known: list[int], number: int) -> int:
        return 0 if number == 0 else known[number - 1] if number <= len(known) else 2**62


class TestRecorder(recorder_case.RecorderCase):
    """The library's own test case, whole but for the literal ids."""

    def setUp(self) -> None:
        self.stack = contextlib.ExitStack()
        self.threads = set(threading.enumerate())
        self.url = new_database()
        self.recorder = Numbered(lambda: connect(self.url, "relaxed"))
        self.stack.callback(self.recorder.close)

    def tearDown(self) -> None:
        for thread in set(threading.enumerate()) - self.threads:  # of the test case's readers, nobody waits for the end
            thread.join()
        self.stack.close()


@pytest.mark.anyio
async def test_the_feed_stops_before_a_transaction_that_is_still_open(world: World, url: str) -> None:
    """A later one has committed already; told now, it would hide the earlier one from whoever reads on from there."""
    feed = PostgresRecorder(lambda: connect(url))
    process, gate = Process(url, world), Gate()
    first, second = [await world.pending() for _ in range(2)]
    before = feed.max_notification_id()
    assert before is not None

    def slow(tx: Transaction) -> None:
        tx.record(first, first.claim("w", tx.now))
        gate.stand()

    writing = asyncio.ensure_future(process.write(slow))
    await gate.is_reached()
    await world.store.transact(lambda tx: tx.record(second, second.claim("w", tx.now)))
    assert feed.max_notification_id() == before
    assert feed.select_notifications(before, 9, inclusive_of_start=False) == []
    gate.opened.set()
    await writing
    after = feed.select_notifications(before, 9, inclusive_of_start=False)
    assert [n.originator_id for n in after] == [uuid_in(stream_id(run.run_id)) for run in (first, second)]
    process.close()
    feed.close()


@pytest.mark.anyio
async def test_the_feed_goes_on_after_a_restore_into_another_cluster(world: World, url: str) -> None:
    """There, transaction ids begin anew; the offset keeps new places behind the old ones."""
    await world.pending()
    feed = PostgresRecorder(lambda: connect(url))
    last = feed.max_notification_id()
    assert last is not None
    with psycopg.connect(url) as operator:
        operator.execute("UPDATE meta SET value = value + 1000000 WHERE key = 'feed'")
    assert feed.max_notification_id() == last
    await world.pending()
    new = feed.select_notifications(last, 99, inclusive_of_start=False)
    assert [n.topic for n in new][:1] == ["session.created"]
    assert min(n.id for n in new) - last >= 1_000_000 << 20
    feed.close()


@pytest.mark.anyio
async def test_replayed_facts_are_the_stored_rows(world: World, url: str) -> None:
    segment = await world.running()
    await segment.write(Text("a"), Checkpoint({"at": 1}), Text("b"))
    segment = await world.take_over()
    await world.end(segment, "resume")
    segment = await world.claim()
    await segment.finish()
    library = Library(PostgresRecorder(lambda: connect(url)), Codec())
    run = (await world.view(segment.run_id)).run
    assert library.replay(Run, uuid_in(stream_id(run.run_id))) == run
    assert library.replay(Job, uuid_in(stream_id(run.job_id))) == await world.store.job(run.job_id)
    assert library.replay(Session, uuid_in(stream_id(run.session_id))) == await world.store.session(run.session_id)
    library.close()
