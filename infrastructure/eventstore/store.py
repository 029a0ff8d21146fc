"""The store: writes through the committer, reads where they cost least, news to those who listen."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar

from ...domain.errors import StoreUnavailable
from ...domain.identifiers import JobId, RunId, SessionId
from ...domain.job import Job
from ...domain.memory import Memory
from ...domain.ports import (
    Append,
    Damaged,
    Listener,
    News,
    Page,
    Record,
    RunView,
    SessionView,
    Span,
    StoredMessage,
    Tail,
    Transaction,
)
from ...domain.session import Session
from ...domain.session_facts import Handoff
from ...domain.snapshot import Snapshot
from ...domain.transitions import Status
from .committer import Committer

T = TypeVar("T")


class ReadSide(Protocol):
    """What a store answers from: the reads of `domain.ports.Store`, in place."""

    def check(self) -> int:
        """The store's generation; raises StoreUnavailable unless the store can be read."""
        ...

    def run_view(self, run_id: RunId) -> RunView | None: ...
    def session(self, session_id: SessionId) -> Session | None: ...
    def session_view(self, session_id: SessionId) -> SessionView | None: ...
    def job(self, job_id: JobId) -> Job | None: ...
    def runs(self, tenant: str, filters: Mapping[str, str | Status], after: str | None, limit: int) -> Page: ...
    def sessions(self, tenant: str, filters: Mapping[str, str], after: str | None, limit: int) -> Page: ...
    def read(self, run_id: RunId, after_seq: int, limit_frames: int) -> Sequence[Record | Damaged]: ...
    def has_pending(self, agents: Sequence[str]) -> bool: ...
    def epoch_at(self, run_id: RunId, seq: int) -> int | None: ...
    def snapshot(self, run_id: RunId) -> Snapshot | None: ...
    def next_run(self, session_id: SessionId, after_turn: int, after_attempt: int) -> RunId | None: ...
    def messages(self, session_id: SessionId, span: Span, limit: int) -> Sequence[StoredMessage]: ...
    def memories(self, session_id: SessionId, after: int, limit: int) -> Sequence[Memory]: ...
    def handoff(self, session_id: SessionId, handoff_id: str) -> Handoff | None: ...
    def tail(self, session_id: SessionId, limit: int) -> Tail | None: ...

    def close(self) -> None:
        """No more reads."""
        ...


class WakeupSource(Protocol):
    """What tells of commits by others. Started with the first listener, stopped with the last; more than once."""

    def start(self) -> None: ...
    def stop(self) -> None: ...


class LogStore(ABC):
    """Implements `domain.ports.Store`. Made by `open_store`; usable between `start` and `close`, on one event loop."""

    def __init__(
        self, committer: Committer, wakeups: Callable[[Callable[[], None]], WakeupSource], release: Callable[[], None]
    ) -> None:
        self._committer = committer
        self._wakeups = wakeups(self._changed)
        self._release = release
        self._listeners: list[Listener] = []
        self._generation = 0

    async def start(self) -> None:
        """Begin. Raises ConfigurationError, StoreUnavailable, RecordDamaged."""
        await self._prepare()
        try:
            await self._committer.start(self._tell)
            self._generation = await self._ask(lambda reads: reads.check())
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Finish what is queued, then let go of the database."""
        self._listeners.clear()
        self._wakeups.stop()
        await self._committer.close()
        self._release()
        await self._close_reads()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @abstractmethod
    async def _prepare(self) -> None:
        """Make sure that the database is one we can use."""

    @abstractmethod
    async def _ask(self, question: Callable[[ReadSide], T]) -> T:
        """The answer of the read side."""

    @abstractmethod
    async def _close_reads(self) -> None:
        """No more reads."""

    # Writes.

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one write transaction, durable on return."""
        value: T = await self._committer.submit(work)
        return value

    async def append(self, append: Append) -> None:
        """Append output, durable on return. The same append again is a no-op."""
        await self._committer.submit(append)

    # News.

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell the listener of every commit from now on; call the result to stop."""
        self._listeners.append(listener)
        self._wakeups.start()

        def stop() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)
                if not self._listeners:
                    self._wakeups.stop()

        return stop

    def _tell(self, commits: Sequence[News]) -> None:
        self._each(lambda listener: listener.committed(commits))

    def _changed(self) -> None:
        self._each(lambda listener: listener.changed())

    def _each(self, call: Callable[[Listener], None]) -> None:
        for listener in tuple(self._listeners):
            try:
                call(listener)
            except Exception as error:  # noqa: BLE001  - one listener's bug must not cost the others their news
                loop = asyncio.get_running_loop()
                loop.call_exception_handler({"message": "a listener of the store failed", "exception": error})

    # Reads.

    @property
    def generation(self) -> int:
        """+1 at each restore of the store, and at each fail-over of its database."""
        return self._generation

    async def run_view(self, run_id: RunId) -> RunView | None:
        """The run as it is now."""
        return await self._ask(lambda reads: reads.run_view(run_id))

    async def session(self, session_id: SessionId) -> Session | None:
        """The session as it is now."""
        return await self._ask(lambda reads: reads.session(session_id))

    async def session_view(self, session_id: SessionId) -> SessionView | None:
        """The session as it is now, with its owner's lease."""
        return await self._ask(lambda reads: reads.session_view(session_id))

    async def job(self, job_id: JobId) -> Job | None:
        """The job as it is now."""
        return await self._ask(lambda reads: reads.job(job_id))

    async def runs(self, tenant: str, filters: Mapping[str, str | Status], after: str | None, limit: int) -> Page:
        """Runs of a tenant, newest first."""
        return await self._ask(lambda reads: reads.runs(tenant, filters, after, limit))

    async def sessions(self, tenant: str, filters: Mapping[str, str], after: str | None, limit: int) -> Page:
        """Sessions of a tenant, newest first."""
        return await self._ask(lambda reads: reads.sessions(tenant, filters, after, limit))

    async def read(self, run_id: RunId, after_seq: int, limit_frames: int) -> Sequence[Record | Damaged]:
        """The records that hold the frames after `after_seq`, in order."""
        return await self._ask(lambda reads: reads.read(run_id, after_seq, limit_frames))

    async def has_pending(self, agents: Sequence[str]) -> bool:
        """Whether a run of these agents waits for a worker."""
        return await self._ask(lambda reads: reads.has_pending(agents))

    async def epoch_at(self, run_id: RunId, seq: int) -> int | None:
        """The epoch of the record that holds this seq, or None if there is none."""
        return await self._ask(lambda reads: reads.epoch_at(run_id, seq))

    async def snapshot(self, run_id: RunId) -> Snapshot | None:
        """The run's frames folded up to the last but one."""
        return await self._ask(lambda reads: reads.snapshot(run_id))

    async def next_run(self, session_id: SessionId, after_turn: int, after_attempt: int) -> RunId | None:
        """The session's first run after this (turn, attempt)."""
        return await self._ask(lambda reads: reads.next_run(session_id, after_turn, after_attempt))

    async def messages(self, session_id: SessionId, span: Span, limit: int) -> Sequence[StoredMessage]:
        """The session's settled messages inside the span, oldest first."""
        return await self._ask(lambda reads: reads.messages(session_id, span, limit))

    async def memories(self, session_id: SessionId, after: int, limit: int) -> Sequence[Memory]:
        """The session's memories after this sequence number, in order."""
        return await self._ask(lambda reads: reads.memories(session_id, after, limit))

    async def handoff(self, session_id: SessionId, handoff_id: str) -> Handoff | None:
        """One of the session's handoffs."""
        return await self._ask(lambda reads: reads.handoff(session_id, handoff_id))

    async def tail(self, session_id: SessionId, limit: int) -> Tail | None:
        """What a client needs to show the session now."""
        return await self._ask(lambda reads: reads.tail(session_id, limit))

    async def check(self) -> None:
        """Raise StoreUnavailable unless the store can be read, and the last write went well."""
        await self._ask(lambda reads: reads.check())
        if self._committer.failing:
            raise StoreUnavailable("The last write failed.")
