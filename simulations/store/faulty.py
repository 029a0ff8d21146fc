"""One process's way to the store, and what goes wrong on it: late, lost and unknown answers, stalls, wake-ups.

Faults sit between the production store and the core, where a network and a database server would be. What a process
reads is right when it is read; it may be old by the time it arrives.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from ...domain.errors import StoreUnavailable
from ...domain.identifiers import JobId, RunId, SessionId
from ...domain.job import Job
from ...domain.memory import Memory
from ...domain.ports import (
    Append,
    Damaged,
    Listener,
    Page,
    Record,
    RunView,
    SessionView,
    Span,
    Store,
    StoredMessage,
    Tail,
    Transaction,
)
from ...domain.session import Session
from ...domain.session_facts import Handoff
from ...domain.snapshot import Snapshot
from ...domain.transitions import Status
from ...infrastructure.eventstore.writer import Work
from ..loop import SimLoop
from ..process import ASKED, Process
from ..stepping import STEP_S
from ..tape import Tape
from ..trace import Trace
from ..violation import Violation
from .core import Core
from .inline import Fate, InlineCommitter
from .trouble import Trouble
from .wakeups import LATE_STEPS, Wakeups

STALL_S: Final = (2.5, 4.0, 7.5)
"""Seconds a process may stall after a reply: around and beyond its lease, where it hurts."""

MOMENTS: Final = ("", "before", "after")
"""When a process may die of a group that it writes; by the values of the site `store.crash`."""

PUNCTUAL_S: Final = 0.6
"""Seconds a write may be held back so that it meets the end of a lease."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shore:
    """What all ways to one store have in common."""

    loop: SimLoop
    tape: Tape
    trace: Trace
    trouble: Trouble
    core: Core
    next_end: Callable[[float], float | None] = lambda _: None
    """After a second of the world: the next one at which a lease, a claim or a handoff ends."""


class Way:
    """The way of one incarnation of a process to the core. `cut_until` is when a partition of it ends.

    `crash` kills the process: before a group is written, or after it and before its authors are told.
    """

    def __init__(self, shore: Shore, process: Process, crash: Callable[[], None]) -> None:
        self.cut_until = 0.0
        self.reads_left: int | None = None
        """Reads that still go well, before one that does not."""
        self.deaf_until = 0.0
        self._crash = crash
        self._doomed = False
        self.trouble = shore.trouble
        self._shore = shore
        self._loop = shore.loop
        self._tape = shore.tape
        self._trace = shore.trace
        self._process = process
        self._name = process.name
        self._label = process.label
        incarnation = process.incarnation
        self._wakeups: Wakeups | None = None
        self.committer = InlineCommitter(
            shore.core,
            delay=self._delay_s,
            reply_delay=self._reply_s,
            fate=self._fate,
            alive=lambda: incarnation.alive,
        )

    def _delay_s(self) -> float:
        """Mostly a moment; now and then it is written at the very instant at which a lease ends."""
        if self._tape.chance(f"store.punctual:{self._name}", self.trouble.punctual_p):
            end_s = self._shore.next_end(self._loop.time())
            wait_s = end_s - STEP_S - self._loop.time() if end_s is not None else PUNCTUAL_S
            if 0 <= wait_s < PUNCTUAL_S:
                self.trouble.late_until = max(self.trouble.late_until, self._loop.time() + wait_s)
                return wait_s
        return self.trouble.write_s + self._late("write")

    def _late(self, what: str) -> float:
        if self.trouble.late_s <= 0:
            return 0.0
        steps = self._tape.sparse(f"store.late-{what}:{self._name}", LATE_STEPS, self.trouble.density)
        late_s = steps * self.trouble.late_s
        self.trouble.late_until = max(self.trouble.late_until, self._loop.time() + late_s)
        return late_s

    def _reply_s(self) -> float:
        if self._doomed:
            self._crash()
            return 0.0
        if not self._process.up:  # it died of this group, before it was written
            return 0.0
        if self._tape.chance(f"store.stall:{self._name}", self.trouble.stall_p):
            seconds = self._tape.pick(f"store.stall-s:{self._name}", STALL_S)
            self._trace.emit("pause", proc=self._label, s=seconds)
            self._process.pause(seconds)
        return self.trouble.write_s / 2 + self._late("reply")

    def _fate(self, group: Sequence[Work]) -> Fate:
        if self._loop.time() < self.cut_until:
            return self._told("lost", group)
        if self._tape.chance(f"store.lost:{self._name}", self.trouble.lost_p):
            return self._told("lost", group)
        if self._tape.chance(f"store.unknown:{self._name}", self.trouble.unknown_p):
            return self._told("unknown", group)
        return self._crashing(group)

    def _crashing(self, group: Sequence[Work]) -> Fate:
        moment = MOMENTS[self._tape.sparse(f"store.crash:{self._name}", len(MOMENTS), self.trouble.crash_p)]
        if moment:
            self._trace.emit("crash", proc=self._label, works=[work_name(work) for work in group], when=moment)
        if moment == "before":
            self._crash()
            return "lost"
        self._doomed = moment == "after"
        return "commit"

    def _told(self, fate: Fate, group: Sequence[Work]) -> Fate:
        self._trace.emit(fate, proc=self._label, works=[work_name(work) for work in group])
        return fate

    def judge_write(self) -> None:
        """A write begins. Ends the world with get-wrote if it is a GET that writes."""
        asked = ASKED.get()
        if asked is not None and asked.startswith("GET "):
            self._loop.abort(Violation("get-wrote", f"{self._label} began to write while it answered {asked}."))

    async def read(self, answer: Callable[[], T]) -> T:
        """Ask now; the answer may take its time. Raises StoreUnavailable."""
        lost = self._loop.time() < self.cut_until
        if self.reads_left is not None:
            lost, self.reads_left = self.reads_left == 0, self.reads_left - 1 if self.reads_left else None
        if lost or self._tape.chance(f"store.unread:{self._name}", self.trouble.unread_p):
            self._trace.emit("unread", proc=self._label)
            raise StoreUnavailable("The database can't be reached.")
        try:
            value = answer()
        except Violation as found:  # two stores that differ: nobody who reads may take it for trouble of another kind
            self._loop.abort(found)
            raise
        if self.trouble.late_reads:
            late_s = self._late("read")
            if late_s > 0:
                await asyncio.sleep(late_s)
        return value

    def wakeups(self, changed: Callable[[], None]) -> Wakeups:
        """What tells this process of others' commits."""
        self._wakeups = Wakeups(self._shore, self._process, changed)
        return self._wakeups

    def hint(self) -> None:
        """Another process has committed."""
        if self._wakeups is not None and self._loop.time() >= self.deaf_until:
            self._wakeups.hint()


def work_name(work: Work) -> str:
    """What a work is, in a word or two."""
    if isinstance(work, Append):
        return f"append {work.run_id}:{work.batch.first_seq}+{len(work.batch.data)}@{work.epoch}"
    name = getattr(work, "__qualname__", type(work).__name__)
    return name.replace("Application.", "").replace("<locals>.", "").replace(".work", "")


class FaultyStore:
    """A domain `Store` over the production one, whose reads take the process's way."""

    def __init__(self, store: Any, way: Way) -> None:
        self._store: Store = store
        self._way = way

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one write transaction."""
        self._way.judge_write()
        return await self._store.transact(work)

    async def append(self, append: Append) -> None:
        """Append output."""
        self._way.judge_write()
        await self._store.append(append)

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell the listener of commits."""
        return self._store.listen(listener)

    @property
    def generation(self) -> int:
        """The store's generation."""
        return self._store.generation

    async def run_view(self, run_id: RunId) -> RunView | None:
        """The run as it was when asked."""
        return await self._way.read(lambda: now(self._store.run_view(run_id)))

    async def session(self, session_id: SessionId) -> Session | None:
        """The session as it was when asked."""
        return await self._way.read(lambda: now(self._store.session(session_id)))

    async def job(self, job_id: JobId) -> Job | None:
        """The job as it was when asked."""
        return await self._way.read(lambda: now(self._store.job(job_id)))

    async def runs(self, tenant: str, filters: Mapping[str, str | Status], after: str | None, limit: int) -> Page:
        """Runs of a tenant."""
        return await self._way.read(lambda: now(self._store.runs(tenant, filters, after, limit)))

    async def sessions(self, tenant: str, filters: Mapping[str, str], after: str | None, limit: int) -> Page:
        """Sessions of a tenant."""
        return await self._way.read(lambda: now(self._store.sessions(tenant, filters, after, limit)))

    async def read(self, run_id: RunId, after_seq: int, limit_frames: int) -> Sequence[Record | Damaged]:
        """Records of a log."""
        return await self._way.read(lambda: now(self._store.read(run_id, after_seq, limit_frames)))

    async def has_pending(self, agents: Sequence[str]) -> bool:
        """Whether a run waits for a worker."""
        return await self._way.read(lambda: now(self._store.has_pending(agents)))

    async def epoch_at(self, run_id: RunId, seq: int) -> int | None:
        """The epoch at a place of a log."""
        return await self._way.read(lambda: now(self._store.epoch_at(run_id, seq)))

    async def snapshot(self, run_id: RunId) -> Snapshot | None:
        """A run, folded."""
        return await self._way.read(lambda: now(self._store.snapshot(run_id)))

    async def next_run(self, session_id: SessionId, after_turn: int, after_attempt: int) -> RunId | None:
        """The session's next run."""
        return await self._way.read(lambda: now(self._store.next_run(session_id, after_turn, after_attempt)))

    async def session_view(self, session_id: SessionId) -> SessionView | None:
        """The session as it was when asked, with its owner's lease."""
        return await self._way.read(lambda: now(self._store.session_view(session_id)))

    async def messages(self, session_id: SessionId, span: Span, limit: int) -> Sequence[StoredMessage]:
        """Messages of a session."""
        return await self._way.read(lambda: now(self._store.messages(session_id, span, limit)))

    async def memories(self, session_id: SessionId, after: int, limit: int) -> Sequence[Memory]:
        """Memories of a session."""
        return await self._way.read(lambda: now(self._store.memories(session_id, after, limit)))

    async def handoff(self, session_id: SessionId, handoff_id: str) -> Handoff | None:
        """One of a session's handoffs."""
        return await self._way.read(lambda: now(self._store.handoff(session_id, handoff_id)))

    async def tail(self, session_id: SessionId, limit: int) -> Tail | None:
        """A session's tail."""
        return await self._way.read(lambda: now(self._store.tail(session_id, limit)))

    async def check(self) -> None:
        """Raise StoreUnavailable unless the store can be read."""
        await self._way.read(lambda: now(self._store.check()))


def now(answering: Any) -> Any:
    """The answer of a coroutine that never waits: production reads of an embedded store are such."""
    try:
        answering.send(None)
    except StopIteration as answer:
        return answer.value
    raise RuntimeError("a read of the embedded store waited")
