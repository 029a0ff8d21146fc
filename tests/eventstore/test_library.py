"""The library carries our facts: its own test of recorders passes, and replaying facts gives the stored rows."""

import contextlib
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from eventsourcing.persistence import StoredEvent

from reattach.domain.agent import Checkpoint, Text
from reattach.domain.errors import RecordDamaged
from reattach.domain.job import Job
from reattach.domain.ports import Record
from reattach.domain.run import Run
from reattach.domain.session import Session
from reattach.infrastructure.codec import OUTPUT_TOPIC, Codec, stream_id, uuid_in
from reattach.infrastructure.eventstore import open_store
from reattach.infrastructure.eventstore.library import FACTS, Library
from reattach.infrastructure.eventstore.recorder import Recorder
from reattach.infrastructure.migrations import migrate
from reattach.infrastructure.sqlite import connect_writer

from . import recorder_case
from .world import ManualClock, World


class TestRecorder(recorder_case.RecorderCase):
    """The library's own test case, whole."""

    def setUp(self) -> None:
        self.stack = contextlib.ExitStack()
        self.path = Path(self.stack.enter_context(TemporaryDirectory())) / "store.db"
        migrate(self.path)
        self.recorder = Recorder(lambda: connect_writer(self.path, "relaxed"))
        self.stack.callback(self.recorder.close)

    def tearDown(self) -> None:
        self.stack.close()

    def test_feed_ids_are_never_given_twice(self) -> None:
        """Not even after the last event was deleted."""
        stream = self.new_originator_id()
        assert self.recorder.insert_events([StoredEvent(stream, 1, "a", b"s")]) == [1]
        with contextlib.closing(connect_writer(self.path, "relaxed")) as raw:
            raw.execute("DELETE FROM events")
        assert self.recorder.insert_events([StoredEvent(stream, 1, "a", b"s")]) == [2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


@pytest.fixture
async def world(path: Path) -> AsyncIterator[World]:
    clock = ManualClock()
    async with open_store(f"sqlite:///{path}", clock) as store:
        yield World(store, clock)


@pytest.fixture
def library(path: Path) -> Iterator[Library]:
    migrate(path)
    library = Library(Recorder(lambda: connect_writer(path, "strict")), Codec())
    yield library
    library.close()


@pytest.mark.anyio
async def test_replayed_facts_are_the_stored_rows(world: World, library: Library) -> None:
    """After everything a run can go through; the output between the facts plays no part."""
    segment = await world.running()
    await segment.write(Text("a"), Checkpoint({"at": 1}), Text("b"))
    segment = await world.take_over()
    await segment.write(Text("c"))
    await world.end(segment, "resume")
    segment = await world.claim()
    await world.end(segment, "release")
    segment = await world.claim()
    await segment.finish()
    run = (await world.view(segment.run_id)).run
    assert library.replay(Run, uuid_in(stream_id(run.run_id))) == run
    assert library.replay(Job, uuid_in(stream_id(run.job_id))) == await world.store.job(run.job_id)
    assert library.replay(Session, uuid_in(stream_id(run.session_id))) == await world.store.session(run.session_id)
    assert library.replay(Run, world.ids.uuid()) is None


@pytest.mark.anyio
async def test_the_feed_holds_every_fact_in_the_order_of_commits(world: World, library: Library) -> None:
    segment = await world.running()
    await segment.write(Text("a"))
    await segment.finish()
    feed = library.recorder.select_notifications(None, 99)
    assert [n.id for n in feed] == list(range(1, len(feed) + 1))
    assert [n.topic for n in feed] == [
        *("session.created", "job.created", "job.attempted", "session.turn_started", "run.created"),
        *("run.claimed", "job.advanced", "run.completed", "job.advanced", "session.turn_ended"),
    ]
    recorded: Any = library.mapper.to_domain_event(feed[4])
    (record,) = await world.store.read(segment.run_id, 0, 1)
    assert isinstance(record, Record)
    assert recorded.lines == record.data


@pytest.mark.anyio
async def test_an_older_form_of_a_fact_is_brought_up(world: World, path: Path) -> None:
    run = await world.pending()

    def renamed(fields: dict[str, Any]) -> dict[str, Any]:
        return fields | {"agent": fields["agent"].upper()}

    library = Library(Recorder(lambda: connect_writer(path, "strict")), Codec(), {"run.created": renamed})
    assert library.replay(Run, uuid_in(stream_id(run.run_id))) == run.model_copy(update={"agent": "ECHO"})
    library.close()


@pytest.mark.anyio
async def test_a_damaged_fact_is_not_replayed(world: World, library: Library, path: Path) -> None:
    run = await world.pending()
    with contextlib.closing(connect_writer(path, "strict")) as raw:
        raw.execute("UPDATE events SET state = x'7b7d' WHERE stream_id = ?", (stream_id(run.run_id),))
    with pytest.raises(RecordDamaged):
        library.replay(Run, uuid_in(stream_id(run.run_id)))


class Zlib:
    """A compressor as the library knows them."""

    def compress(self, data: bytes) -> bytes:
        return zlib.compress(data)

    def decompress(self, data: bytes) -> bytes:
        return zlib.decompress(data)


class Salted:
    """A cipher that never writes the same bytes twice."""

    def __init__(self) -> None:
        self.count = 0

    def encrypt(self, plaintext: bytes) -> bytes:
        self.count += 1
        return bytes([self.count % 256]) + bytes(byte ^ 0x55 for byte in plaintext)

    def decrypt(self, ciphertext: bytes) -> bytes:
        return bytes(byte ^ 0x55 for byte in ciphertext[1:])


@pytest.mark.anyio
async def test_records_are_sealed_and_nothing_else_changes(path: Path) -> None:
    clock = ManualClock()
    codec = Codec(Zlib(), Salted())
    async with open_store(f"sqlite:///{path}", clock, codec=codec) as store:
        world = World(store, clock)
        segment = await world.running()
        append = await segment.write(Text("a secret"))
        await store.append(append)
        await segment.finish()
        log = await world.log(segment.run_id)
        assert len(log) == 10
        snapshot = await store.snapshot(segment.run_id)
        assert snapshot is not None
        assert snapshot.messages.as_json()[1]["parts"][0]["text"] == "a secret"
        with contextlib.closing(connect_writer(path, "strict")) as raw:
            states = b"".join(row[0] for row in raw.execute("SELECT state FROM events"))
        assert b"secret" not in states
        library = Library(Recorder(lambda: connect_writer(path, "strict")), codec)
        assert library.replay(Run, uuid_in(stream_id(segment.run_id))) == (await world.view(segment.run_id)).run
        library.close()


def test_every_fact_has_a_topic_of_its_own() -> None:
    assert len(FACTS) == len(set(FACTS.values()))
    assert OUTPUT_TOPIC not in FACTS
