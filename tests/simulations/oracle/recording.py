"""Real histories, recorded commit by commit: the groups, what became of them, and every row as it then was.

A recording is played to an oracle; a copy of it can be tampered with first. The rows of each moment are kept, so that
a checker that reads the store sees what it would have seen.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Self, TypeVar

from tests.eventstore.world import ManualClock

from reattach.domain.identifiers import JobId, RunId, SessionId
from reattach.domain.job import Job
from reattach.domain.ports import Append, Committed, Damaged, Record, RunView, Span, StoredMessage, Transaction
from reattach.domain.scribe import Checkpointed
from reattach.domain.session import Session
from reattach.domain.snapshot import Snapshot
from reattach.infrastructure.codec import microseconds
from reattach.infrastructure.eventstore.writer import Result, Work, Written, unavailable
from reattach.simulations.oracle import Oracle
from reattach.simulations.store import Core
from reattach.simulations.store.core import records
from reattach.simulations.store.session_model import within

T = TypeVar("T")

RETENTION_S: Final = 1_000.0
"""Seconds that Idempotency-Keys are kept here."""


@dataclass
class Rows:
    """Everything the oracle may read, as it was after one commit. Implements `oracle.Readable`."""

    views: dict[RunId, RunView] = field(default_factory=dict[RunId, RunView])
    sessions: dict[SessionId, Session] = field(default_factory=dict[SessionId, Session])
    jobs: dict[JobId, Job] = field(default_factory=dict[JobId, Job])
    records: dict[RunId, list[Record | Damaged]] = field(default_factory=dict[RunId, list[Record | Damaged]])
    snapshots: dict[RunId, Snapshot] = field(default_factory=dict[RunId, Snapshot])
    histories: dict[SessionId, list[StoredMessage]] = field(default_factory=dict[SessionId, list[StoredMessage]])
    leases: dict[RunId, datetime] = field(default_factory=dict[RunId, datetime])
    checkpoints: dict[RunId, Checkpointed] = field(default_factory=dict[RunId, Checkpointed])

    def run_view(self, run_id: RunId) -> RunView | None:
        return self.views.get(run_id)

    def session(self, session_id: SessionId) -> Session | None:
        return self.sessions.get(session_id)

    def job(self, job_id: JobId) -> Job | None:
        return self.jobs.get(job_id)

    def read(self, run_id: RunId, after_seq: int, limit_frames: int) -> Sequence[Record | Damaged]:
        return self.records[run_id]

    def snapshot(self, run_id: RunId) -> Snapshot | None:
        return self.snapshots.get(run_id)

    def projected(self, session_id: SessionId, span: Span, limit: int) -> Sequence[StoredMessage]:
        return within(self.histories.get(session_id, []), span, limit)

    def lease_until(self, run_id: RunId) -> datetime | None:
        return self.leases.get(run_id)

    def checkpoint(self, run_id: RunId) -> Checkpointed | None:
        return self.checkpoints.get(run_id)


@dataclass
class Step:
    """One commit: when, what was asked, what became of it, and the rows after it."""

    at: datetime
    group: list[Work]
    written: Written
    rows: Rows


class Recording:
    """Commits in order."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = list(steps)
        self.marks: Counter[str] = Counter()

    def play(self, intent_of: Callable[[Mapping[str, Any]], str | None] | None = None) -> Oracle:
        """Tell an oracle of every commit. Raises what it raises."""
        at = Step(self.steps[0].at, [], Written([]), Rows())

        class Now:
            """The rows of the moment."""

            def __getattr__(self, name: str) -> Any:
                return getattr(at.rows, name)

        core: Any = Now()
        mark = self._mark
        oracle = Oracle(core, lambda: at.at, mark, retention_s=RETENTION_S, intent_of=intent_of)
        for step in self.steps:
            at = step
            oracle.committed(step.group, step.written)
        return oracle

    def _mark(self, name: str) -> None:
        self.marks[name] += 1

    def copy(self) -> Self:
        """A copy to tamper with; what the steps hold is shared until it is replaced."""
        steps = [
            Step(
                step.at,
                list(step.group),
                Written([copy(result) for result in step.written.results], list(step.written.news)),
                Rows(**{name: dict(rows) for name, rows in vars(step.rows).items()}),
            )
            for step in self.steps
        ]
        return type(self)(steps)

    def find(self, *kinds: str, nth: int = 0) -> tuple[int, int]:
        """The step and the place in its news of the nth record whose frames are of these types (in this order)."""
        found = [
            (n, m)
            for n, step in enumerate(self.steps)
            for m, news in enumerate(records(step.written.news))
            if _has(kinds_of(news), kinds)
        ]
        return found[nth]

    def news(self, at: tuple[int, int]) -> Committed:
        return records(self.steps[at[0]].written.news)[at[1]]

    def put(self, at: tuple[int, int], news: Committed) -> None:
        """Replace a piece of news."""
        self.steps[at[0]].written.news[at[1]] = news

    def edit(self, place: tuple[int, int], kind: str, nth: int = 0, **changed: Any) -> None:
        """Change fields of the nth frame of that type in a record."""
        news = self.news(place)
        frames = [json.loads(line) for line in news.record.data]
        frame = [frame for frame in frames if frame["type"] == kind][nth]
        frame |= changed
        self.put(place, rewritten(news, frames))

    def insert(self, after: int, news: Committed, work: Work | None = None) -> None:
        """A commit that never was, right after a step."""
        step = self.steps[after]
        group: list[Work] = [work or nothing]
        self.steps.insert(after + 1, Step(step.at, group, Written([Result()], [news]), step.rows))


def nothing(tx: Transaction) -> None:
    """A work that records nothing."""


def kinds_of(news: Committed) -> list[str]:
    return [json.loads(line)["type"] for line in news.record.data]


def _has(kinds: list[str], wanted: tuple[str, ...]) -> bool:
    rest = iter(kinds)
    return all(kind in rest for kind in wanted)


def rewritten(news: Committed, frames: Sequence[dict[str, Any]]) -> Committed:
    """The same record with these frames."""
    data = tuple(json.dumps(frame, separators=(",", ":"), ensure_ascii=False).encode() for frame in frames)
    return replace(news, record=replace(news.record, data=data))


def following(news: Committed, *frames: dict[str, Any], epoch: int | None = None) -> Committed:
    """A record that stands right after this one."""
    seq = news.record.last_seq + 1
    numbered = [{"type": f["type"], "seq": seq + n} | f for n, f in enumerate(frames)]
    record = Record(seq, news.record.epoch if epoch is None else epoch, ())
    return rewritten(Committed(news.run_id, news.session_id, record), numbered)


class RecordingStore:
    """A store over a core, written in line; keeps what the oracle is told. `hold` collects works for one group."""

    def __init__(self, core: Core, clock: ManualClock) -> None:
        self._core = core
        self._clock = clock
        self._runs: dict[RunId, SessionId] = {}
        self._held: list[tuple[Work, asyncio.Future[Any]]] | None = None
        self._plugged = True
        self.steps: list[Step] = []
        self.generation = 1
        self.waiting = 0

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        value: T = await self._submit(work)
        return value

    async def append(self, append: Append) -> None:
        await self._submit(append)

    async def run_view(self, run_id: RunId) -> RunView | None:
        return self._core.run_view(run_id)

    def unplug(self) -> None:
        """The disk is gone until it is plugged in again."""
        self._plugged = False

    def plug(self) -> None:
        self._plugged = True

    def hold(self) -> None:
        """What is submitted from now on waits for `flush`."""
        self._held = []

    def flush(self) -> None:
        """Everything that waits, as one group."""
        held, self._held = self._held or [], None
        written = self.write([work for work, _ in held])
        for (_, future), result in zip(held, written.results, strict=True):
            if result.error is None:
                future.set_result(result.value)
            else:
                future.set_exception(result.error)

    def write(self, group: list[Work]) -> Written:
        written = self._core.write(group) if self._plugged else unavailable(group, "There is no disk.")
        for news in records(written.news):
            self._runs[news.run_id] = news.session_id
        kept = Written(written.results, [*records(written.news)])  # places count records
        self.steps.append(Step(self._clock.now(), group, kept, self._look()))
        return written

    async def _submit(self, work: Any) -> Any:
        if self._held is not None:
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._held.append((work, future))
            return await future
        (result,) = self.write([work]).results
        if result.error is not None:
            raise result.error
        return result.value

    def _look(self) -> Rows:
        rows = Rows()
        for run_id, session_id in self._runs.items():
            view, session = self._core.run_view(run_id), self._core.session(session_id)
            snapshot = self._core.snapshot(run_id)
            assert view is not None
            assert session is not None
            assert snapshot is not None
            job = self._core.job(view.run.job_id)
            assert job is not None
            rows.views[run_id], rows.sessions[session_id], rows.jobs[job.job_id] = view, session, job
            rows.records[run_id] = list(self._core.read(run_id, 0, 100_000))
            rows.snapshots[run_id] = Snapshot.load(deepcopy(snapshot.state()), snapshot.seq)
            rows.histories[session_id] = deepcopy(list(self._core.projected(session_id, Span(), 10_000)))
        for kind, key, *kept in self._core.durable():
            if kind == "run" and kept[-1] is not None:
                start = self._clock.now()
                rows.leases[key] = start + timedelta(microseconds=kept[-1] - microseconds(start))
            elif kind == "checkpoint":
                rows.checkpoints[key] = Checkpointed(*kept)
        return rows
