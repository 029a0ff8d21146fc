"""The golden files: stored bytes of every kind, which every later version must read, and write, the same.

`facts.jsonl` and `frames.jsonl` hold one line a topic and a frame type; `<name>.stream.jsonl` holds a whole run, record
by record (a header line, the fact's line if it is one, the frames' lines), and at last the run and its snapshot.
A line that is committed is never changed: `python -m tests.domain.golden` only adds what is missing.
"""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic_core import to_json

from reattach.domain.aggregate import Fact
from reattach.domain.identifiers import RunId
from reattach.domain.job import JOB_FACTS, Advanced, Attempted, JobCreated, Retry
from reattach.domain.run_facts import RUN_FACTS
from reattach.domain.session_facts import (
    SESSION_FACTS,
    Attached,
    Deleted,
    Detached,
    Finalized,
    HandoffEnded,
    HandoffReady,
    HandoffRequested,
    MemoryAppended,
    SessionCreated,
    SessionWarning,
    SummaryClaimed,
    SummaryCompleted,
    SummaryStaged,
    TurnEnded,
    TurnQueued,
    TurnStarted,
    TurnWithdrawn,
    Warned,
)
from reattach.domain.snapshot import Snapshot
from reattach.domain.transitions import Status

from .log import JOB, RUN, SESSION, START, Record, RunLog
from .streams import STREAMS

FOLDER: Final = Path(__file__).parent / "golden"
FACTS: Final = FOLDER / "facts.jsonl"
FRAMES: Final = FOLDER / "frames.jsonl"
BY_TOPIC: Final[dict[str, type[Fact]]] = {fact.topic: fact for fact in (*RUN_FACTS, *JOB_FACTS, *SESSION_FACTS)}
OUTPUT_TOPIC: Final = "run.output"


def fact_line(fact: Fact) -> bytes:
    """A fact as the golden file holds it: its topic and, byte for byte, its stored JSON."""
    return b'{"topic":"%b","fact":%b}' % (fact.topic.encode(), fact.model_dump_json().encode())


def read_fact(line: bytes) -> Fact:
    """The fact of such a line."""
    fields = json.loads(line)
    kind = BY_TOPIC[fields["topic"]]
    return kind.model_validate_json(line[len(b'{"topic":"","fact":') + len(fields["topic"]) : -1])


class Stream(NamedTuple):
    """A golden stream as it was read: its records, and what it must amount to."""

    records: Sequence[Record]
    run: dict[str, Any]
    snapshot: dict[str, Any]


def stream_lines(log: RunLog) -> Iterator[bytes]:
    """A whole run as the golden file holds it."""
    for record in log.records:
        topic = record.fact.topic if record.fact else OUTPUT_TOPIC
        yield to_json(
            {"first_seq": record.first_seq, "epoch": record.epoch, "topic": topic, "frames": len(record.data)}
        )
        if record.fact is not None:
            yield record.fact.model_dump_json().encode()
        yield from record.data
    snapshot = Snapshot.empty()
    for frame in log.frames:
        snapshot.apply(frame)
    yield to_json({"run": log.run})
    yield to_json({"snapshot": snapshot.state()})


def read_stream(path: Path) -> Stream:
    """The inverse."""
    lines = iter(path.read_bytes().splitlines())
    records: list[Record] = []
    for line in lines:
        head = json.loads(line)
        if "run" in head:
            return Stream(records, head["run"], json.loads(next(lines))["snapshot"])
        kind = BY_TOPIC.get(head["topic"])
        fact: Any = kind.model_validate_json(next(lines)) if kind else None
        data = tuple(next(lines) for _ in range(head["frames"]))
        records.append(Record(head["first_seq"], head["epoch"], fact, data))
    message = f"{path} has no end"
    raise ValueError(message)


def stream_path(name: str) -> Path:
    return FOLDER / f"{name}.stream.jsonl"


def samples() -> Iterator[Fact]:
    """One fact of each topic."""
    run_id = RunId(RUN)
    yield JobCreated(at=START, job_id=JOB, tenant="t", session_id=SESSION, agent="echo", input={"a": 1}, retry=Retry())
    yield Attempted(at=START, run_id=run_id)
    yield Advanced(at=START, to=Status.RUNNING, step="start")
    yield SessionCreated(at=START, session_id=SESSION, tenant="t", metadata={"title": "Weather"})
    yield TurnStarted(at=START, turn=1, run_id=run_id, job_id=JOB)
    yield TurnEnded(at=START, turn=1, run_id=run_id)
    yield from sessions(run_id)
    yield Finalized(at=START)
    yield Deleted(at=START)
    for story in STREAMS.values():
        for record in story().records:
            if record.fact is not None:
                yield record.fact


def sessions(run_id: RunId) -> Iterator[Fact]:
    """What sessions that resume have beside their turns."""
    later = START + timedelta(seconds=60)
    yield Warned(at=START, warning=SessionWarning(code="SESSION_NOT_FOUND", detail="There is none.", asked="ses_x"))
    yield TurnQueued(at=START, turn=2, run_id=run_id, job_id=JOB)
    yield TurnWithdrawn(at=START, run_id=run_id)
    yield Attached(at=START, owner="laptop", epoch=2, how="taken_over", superseded="phone")
    yield Detached(at=START, owner="laptop", epoch=2, reason="lapsed")
    yield MemoryAppended(at=START, sequence=1, content={"fact": "é"}, by="laptop", epoch=2, hash="00")
    yield HandoffRequested(at=START, handoff_id="h1", source="laptop", epoch=2, barrier=3, expires_at=later)
    yield HandoffReady(at=START, handoff_id="h1", epoch=2)
    yield HandoffEnded(at=START, handoff_id="h1", outcome="completed", target="phone", epoch=3)
    yield SummaryClaimed(at=START, token="t1", by="worker", through=1, expires_at=later)
    yield SummaryStaged(at=START, token="t1", result={"text": "short"})
    yield SummaryCompleted(at=START, token="t1", through=1)


def add_missing() -> None:
    """Add to the golden files what they lack; never change what they have."""
    topics = [json.loads(line)["topic"] for line in _lines(FACTS)]
    for fact in samples():
        if fact.topic not in topics:
            topics.append(fact.topic)
            _append(FACTS, fact_line(fact))
    types = [json.loads(line)["type"] for line in _lines(FRAMES)]
    for line in (line for story in STREAMS.values() for line in story().lines):
        kind = json.loads(line)["type"]
        if kind not in types:
            types.append(kind)
            _append(FRAMES, line)
    for name, story in STREAMS.items():
        if not stream_path(name).exists():
            for line in stream_lines(story()):
                _append(stream_path(name), line)


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines() if path.exists() else []


def _append(path: Path, line: bytes) -> None:
    path.parent.mkdir(exist_ok=True)
    with path.open("ab") as file:
        file.write(line + b"\n")


if __name__ == "__main__":
    add_missing()
