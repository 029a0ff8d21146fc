"""Golden files: what was stored once is read, and written again byte for byte, for ever."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from pydantic_core import from_json, to_json

from reattach.domain.aggregate import Fact
from reattach.domain.frames import KNOWN_TYPES
from reattach.domain.job import JOB_FACTS
from reattach.domain.outline import Outline
from reattach.domain.run import Run
from reattach.domain.run_facts import RUN_FACTS
from reattach.domain.session_facts import SESSION_FACTS
from reattach.domain.snapshot import Snapshot
from reattach.domain.wire import decode, encode

from .golden import BY_TOPIC, FACTS, FOLDER, FRAMES, OUTPUT_TOPIC, fact_line, read_fact, read_stream
from .streams import STREAMS

GOLDEN_STREAMS = sorted(FOLDER.glob("*.stream.jsonl"))


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def facts(base: type[Fact]) -> Iterator[type[Fact]]:
    for kind in base.__subclasses__():
        if kind.__module__.startswith("reattach.domain.") and "topic" in vars(kind):
            yield kind
        yield from facts(kind)


def covers(actual: Any, golden: Any) -> bool:
    """Whether all that the golden value says still holds; fields may be added."""
    if isinstance(golden, dict) and isinstance(actual, dict):
        then, now = cast("dict[str, Any]", golden), cast("dict[str, Any]", actual)
        return all(name in now and covers(now[name], value) for name, value in then.items())
    if isinstance(golden, list) and isinstance(actual, list):
        old, new = cast("list[Any]", golden), cast("list[Any]", actual)
        return len(old) == len(new) and all(map(covers, new, old))
    return bool(actual == golden)


@pytest.mark.parametrize("line", lines(FACTS), ids=lambda line: json.loads(line)["topic"])
def test_every_stored_fact_is_read_and_written_alike(line: bytes) -> None:
    fact = read_fact(line)
    assert fact_line(fact) == line


@pytest.mark.parametrize("line", lines(FRAMES), ids=lambda line: json.loads(line)["type"])
def test_every_stored_frame_is_read_and_written_alike(line: bytes) -> None:
    frame = decode(line)
    assert encode(frame, frame.seq) == line


def test_no_topic_and_no_type_is_missing() -> None:
    every = set(facts(Fact))
    assert every == {*RUN_FACTS, *JOB_FACTS, *SESSION_FACTS}
    assert {json.loads(line)["topic"] for line in lines(FACTS)} == {fact.topic for fact in every}
    assert {json.loads(line)["type"] for line in lines(FRAMES)} == KNOWN_TYPES


def test_topics_are_unique_and_none_is_that_of_output() -> None:
    every = [fact.topic for fact in facts(Fact)]
    assert len(set(every)) == len(every) == len(BY_TOPIC)
    assert OUTPUT_TOPIC not in every


def test_every_story_has_its_golden_stream() -> None:
    assert {path.name.partition(".")[0] for path in GOLDEN_STREAMS} >= set(STREAMS)


@pytest.mark.parametrize("path", GOLDEN_STREAMS, ids=lambda path: path.name.partition(".")[0])
class TestGoldenStream:
    """A whole run, replayed."""

    def test_versions_count_frames(self, path: Path) -> None:
        seq = 1
        for record in read_stream(path).records:
            assert [from_json(line)["seq"] for line in record.data] == list(range(seq, seq + len(record.data)))
            assert record.first_seq == seq
            seq += len(record.data)

    def test_its_output_is_grammatical(self, path: Path) -> None:
        outline = Outline()
        for record in read_stream(path).records:
            frames = [decode(line) for line in record.data]
            outline = outline.after(frames) if record.fact is None else outline.closed()

    def test_every_line_is_written_alike(self, path: Path) -> None:
        stored = lines(path)
        for record in read_stream(path).records:
            assert all(encode(decode(line), decode(line).seq) == line for line in record.data)
            if record.fact is not None:
                assert record.fact.model_dump_json().encode() in stored

    def test_facts_still_show_the_same_frames(self, path: Path) -> None:
        stream = read_stream(path)
        for record in stream.records:
            if record.fact is not None:
                frames = record.fact.frames(stream.run["run_id"])
                assert (
                    tuple(encode(frame, record.first_seq + place) for place, frame in enumerate(frames)) == record.data
                )

    def test_it_replays_to_the_same_run(self, path: Path) -> None:
        stream = read_stream(path)
        run = Run.fold((record.first_seq, record.fact) for record in stream.records if record.fact is not None)
        assert covers(from_json(to_json(run)), stream.run)
        assert run.epoch == stream.records[-1].epoch

    def test_it_folds_to_the_same_snapshot(self, path: Path) -> None:
        stream = read_stream(path)
        snapshot = Snapshot.empty()
        for record in stream.records:
            for line in record.data:
                snapshot.apply(from_json(line))
        assert covers(from_json(to_json(snapshot.state())), stream.snapshot)


def test_covering_lets_fields_be_added_and_nothing_else() -> None:
    assert covers({"a": [{"b": 1, "c": 2}], "d": None}, {"a": [{"b": 1}]})
    for changed in ('{"a":[{"b":2}]}', '{"a":[{}]}', '{"a":[]}', '{"a":[{"b":1},{"b":1}]}', "{}", "null", "[]"):
        assert not covers(json.loads(changed), {"a": [{"b": 1}]})
