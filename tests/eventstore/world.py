"""A small world around a store: a clock in our hand, one agent, and runs brought into the state a test needs."""

import asyncio
import os
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Protocol

from pydantic import JsonValue

from reattach.domain.agent import ApprovalRequest, Context, Output, TakeOver, Text
from reattach.domain.application import Application
from reattach.domain.frames import RunError
from reattach.domain.identifiers import RunId, SessionId
from reattach.domain.outline import Outline
from reattach.domain.ports import Append, Committed, Damaged, News, Record, RunView, SessionMoved, Store
from reattach.domain.request_config import EVERYTHING, RequestConfig
from reattach.domain.requests import Assignment, Limits, StartRun
from reattach.domain.run import Run
from reattach.domain.run_facts import Decision
from reattach.domain.scribe import Batch, Scribe
from reattach.domain.snapshot import Snapshot
from reattach.domain.wire import decode_fields
from reattach.infrastructure.clock import UuidV7

ROOT: Final = Path(__file__).parents[2]
ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": f"{ROOT / '.src'}{os.pathsep}{ROOT}"}
"""Where another process of ours runs, and with what."""

TENANT: Final = "default"
WORKER: Final = "worker-1"
PAGE_FRAMES: Final = 1_000
SIGNAL_TIMEOUT_S: Final = 10.0


class ManualClock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.instant = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)

    def now(self) -> datetime:
        return self.instant

    def monotonic(self) -> float:
        return self.instant.timestamp()

    def advance(self, seconds: float) -> None:
        self.instant += timedelta(seconds=seconds)


class OpenStore(Store, Protocol):
    """A store and the end of it."""

    async def start(self) -> None: ...
    async def close(self) -> None: ...


@dataclass
class Echo:
    """Runs nothing here: the tests are the worker."""

    name: str = "echo"
    on_take_over: TakeOver = "continue"

    def validate(self, input: JsonValue) -> None:  # noqa: A002  the port's word
        pass

    def prompt(self, input: JsonValue) -> str | None:  # noqa: A002  the port's word
        return input if isinstance(input, str) else None

    async def run(self, context: Context) -> AsyncGenerator[Output]:
        yield Text(context.run_id)


@dataclass
class Listening:
    """A listener that keeps what it hears, and signals."""

    commits: list[Committed] = field(default_factory=list[Committed])
    moves: list[SessionMoved] = field(default_factory=list[SessionMoved])
    groups: list[int] = field(default_factory=list[int])
    changes: int = 0
    signal: asyncio.Event = field(default_factory=asyncio.Event)

    def committed(self, commits: Sequence[News]) -> None:
        records = [news for news in commits if isinstance(news, Committed)]
        self.commits += records
        self.moves += [news for news in commits if isinstance(news, SessionMoved)]
        self.groups.append(len(records))
        self.signal.set()

    def changed(self) -> None:
        self.changes += 1
        self.signal.set()

    async def hears(self) -> None:
        """Wait for the next call."""
        await asyncio.wait_for(self.signal.wait(), SIGNAL_TIMEOUT_S)
        self.signal.clear()


@dataclass
class Segment:
    """A run that runs, and who writes it."""

    world: "World"
    run: Run
    scribe: Scribe

    @classmethod
    def begin(cls, world: "World", run: Run, next_seq: int) -> "Segment":
        """Write at this seq, as if nothing were open there."""
        return cls(world, run, Scribe(run, Outline(), next_seq))

    @property
    def run_id(self) -> RunId:
        return self.run.run_id

    def batch(self, *outputs: Output) -> Batch:
        """Write these outputs; everything written since the last batch."""
        for output in outputs:
            self.scribe.write(output)
        return self.scribe.take()

    def next(self, *outputs: Output) -> Append:
        """The append of these outputs."""
        return Append(self.run_id, self.run.epoch, self.batch(*outputs))

    async def write(self, *outputs: Output) -> Append:
        """Append these outputs."""
        append = self.next(*outputs)
        await self.world.store.append(append)
        return append

    async def finish(self) -> None:
        """Close what is open, and complete the run."""
        self.scribe.finish()
        if self.scribe.pending:
            await self.write()
        await self.world.application.complete(self.run_id, self.run.epoch)


class World:
    """The application over a store, with one agent."""

    def __init__(self, store: OpenStore, clock: ManualClock, agent: Echo | None = None) -> None:
        self.store = store
        self.clock = clock
        self.ids = UuidV7(clock)
        echo = agent or Echo()
        self.limits = Limits()
        self.application = Application(store, self.ids, {echo.name: echo}, self.limits)

    async def session(self) -> SessionId:
        """A new session."""
        return (await self.application.create_session(TENANT, {})).session_id

    async def pending(
        self, session_id: SessionId | None = None, prompt: str = "hello", config: RequestConfig = EVERYTHING
    ) -> Run:
        """A new run that waits for a worker."""
        session = session_id or await self.session()
        start = StartRun(agent="echo", input=prompt, request_config=config)
        return await self.application.start_run(TENANT, session, start)

    async def claim(self, worker: str = WORKER) -> Segment:
        """The next run, claimed or taken over."""
        (assignment,) = await self.application.claim(worker, ["echo"], 1)
        return self.segment(assignment)

    async def running(self, session_id: SessionId | None = None, config: RequestConfig = EVERYTHING) -> Segment:
        """A new run, claimed."""
        await self.pending(session_id, config=config)
        return await self.claim()

    def segment(self, assignment: Assignment) -> Segment:
        """The assignment, with a scribe to write it."""
        step = assignment.checkpoint.step if assignment.checkpoint else 0
        return Segment(self, assignment.run, Scribe(assignment.run, assignment.outline, assignment.next_seq, step))

    async def waiting(self) -> Segment:
        """A new run that waits for one approval."""
        segment = await self.running()
        await segment.write(Text("May I?"))
        await self.suspend(segment, 1)
        return segment

    async def suspend(self, segment: Segment, approvals: int) -> None:
        """Ask for that many approvals."""
        requests = [ApprovalRequest(f"call{n}", "pay", {"sum": n}) for n in range(approvals)]
        await self.application.suspend(segment.run_id, segment.run.epoch, requests, {"at": 1}, 1)

    async def decide(self, run_id: RunId) -> None:
        """Approve whatever the run asks for."""
        run = (await self.view(run_id)).run
        decisions = [Decision(approval_id=a.approval_id, outcome="approve", by="ada") for a in run.pending_approvals]
        await self.application.decide(TENANT, run_id, decisions)

    async def end(self, segment: Segment, how: str) -> None:
        """Bring a running run where it takes no output."""
        use, run_id, epoch = self.application, segment.run_id, segment.run.epoch
        match how:
            case "suspend":
                await self.suspend(segment, 2)
            case "resume":
                await self.suspend(segment, 2)
                await self.decide(run_id)
            case "release":
                await use.release(run_id, epoch)
            case "complete":
                await segment.finish()
            case "fail":
                await use.fail(run_id, epoch, RunError(type="llm_error", message="no", retryable=False))
            case _:
                await use.cancel(TENANT, run_id, "stop", "ada")

    async def view(self, run_id: RunId) -> RunView:
        """The run as it is now."""
        view = await self.store.run_view(run_id)
        assert view is not None
        return view

    async def take_over(self) -> Segment:
        """Let the lease pass, and another worker take over."""
        self.clock.advance(self.limits.lease_s)
        return await self.claim("worker-2")

    async def log(self, run_id: RunId) -> list[bytes]:
        """All frames of the run, read in pages. Every page must go on where the last one ended."""
        lines: list[bytes] = []
        while True:
            page = await self.store.read(run_id, len(lines), PAGE_FRAMES)
            if not page:
                return lines
            for record in page:
                assert isinstance(record, Record), record
                assert record.first_seq == len(lines) + 1
                lines += record.data

    async def folded(self, run_id: RunId) -> Snapshot:
        """The fold of all frames."""
        return resumed(Snapshot.empty(), await self.log(run_id))


def resumed(snapshot: Snapshot, log: Sequence[bytes]) -> Snapshot:
    """The snapshot, folded on with the rest of the log."""
    for frame in decode_fields(log[snapshot.seq :]):
        snapshot.apply(frame)
    return snapshot


def places(items: Sequence[Record | Damaged]) -> list[tuple[int, int]]:
    """Where the records begin and end."""
    return [(item.first_seq, item.last_seq) for item in items]
