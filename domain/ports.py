"""What the application needs from the outside: a clock, ids, a store, and news of commits.

Implementations live in `infrastructure/`; the simulator brings its own. A transaction's work is a plain function: it
runs inside one write transaction, may be run again after a conflict, and so must do nothing but read and record.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar
from uuid import UUID

from .aggregate import Aggregate, Fact
from .identifiers import Cursor, JobId, RunId, SessionId
from .job import Job
from .memory import Memory
from .messages import Fields
from .outline import Outline
from .request_config import RequestConfig
from .run import Run
from .scribe import Batch, Checkpointed
from .session import Session
from .session_facts import Handoff
from .snapshot import Snapshot
from .transitions import Status

A = TypeVar("A", bound=Aggregate)
T = TypeVar("T")

MessagePlace = tuple[int, int, int]
"""Where a message stands in its session: turn, attempt, ordinal."""


class StoredMessage(NamedTuple):
    """One message of a session as it is stored, and how its run's readers are shown it."""

    place: MessagePlace
    fields: Fields
    config: RequestConfig


@dataclass(frozen=True, slots=True)
class Span:
    """Messages between two places (neither included): the newest of them, or with `oldest` the oldest."""

    after: MessagePlace | None = None
    before: MessagePlace | None = None
    oldest: bool = False


class Clock(Protocol):
    """Time. The store's clock judges leases; every process has its own for its timers."""

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...


class Ids(Protocol):
    """New identifiers."""

    def uuid(self) -> UUID:
        """A UUID that sorts by time of creation (RFC 9562, version 7)."""
        ...


@dataclass(frozen=True, slots=True)
class Head:
    """Where a run's log ends: its last `seq`, the epoch and the outline there."""

    seq: int
    epoch: int
    outline: Outline


@dataclass(frozen=True, slots=True)
class Append:
    """Output to be appended to a run by the worker that holds `epoch`."""

    run_id: RunId
    epoch: int
    batch: Batch


@dataclass(frozen=True, slots=True)
class Record:
    """One stored event of a run as readers see it: its frames, the first of which is `first_seq`."""

    first_seq: int
    epoch: int
    data: tuple[bytes, ...]

    @property
    def last_seq(self) -> int:
        """The seq of its last frame."""
        return self.first_seq + len(self.data) - 1

    def after(self, seq: int, limit: int) -> "Record":
        """Its frames after `seq`, at most `limit`."""
        skip = max(0, seq + 1 - self.first_seq)
        return Record(self.first_seq + skip, self.epoch, self.data[skip : skip + limit])


@dataclass(frozen=True, slots=True)
class Damaged:
    """A stored event that can't be read; its frames are lost, the ones after it are not."""

    first_seq: int
    last_seq: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Committed:
    """News of a commit: a record and whose it is. In-process only; other processes are told to look again."""

    run_id: RunId
    session_id: SessionId
    record: Record


@dataclass(frozen=True, slots=True)
class SessionMoved:
    """News of a commit: a session's turn, owner or handoff is another. In-process only, like Committed.

    `begun`: the turn of a run that had waited has come, or there is none to wait for any more.
    """

    session_id: SessionId
    begun: bool = False


News = Committed | SessionMoved


@dataclass(frozen=True, slots=True)
class RunView:
    """A run as it is now. `head_seq` and `first_seq` bound what can be read of its log."""

    run: Run
    head_seq: int
    first_seq: int = 1


@dataclass(frozen=True, slots=True)
class SessionView:
    """A session as it is now, and when its owner's lease ends or ended."""

    session: Session
    lease_until: datetime | None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list, newest first; `next_cursor` None on the last one."""

    items: Sequence[RunView | SessionView]
    next_cursor: str | None


@dataclass(frozen=True, slots=True)
class Tail:
    """The newest messages (oldest first), the run that is active, and the cursor from which the stream goes on.

    `cursor` is the active run's beginning, else the end of the last run, else the beginning of the empty session.
    """

    view: SessionView
    messages: Sequence[StoredMessage]
    active: RunView | None
    cursor: Cursor


@dataclass(frozen=True, slots=True)
class Answer:
    """What an Idempotency-Key was answered with: `payload` is the aggregate's JSON at that time."""

    fingerprint: str
    payload: bytes


class Transaction(Protocol):
    """One write transaction. What it reads is current; what it records lands together or not at all."""

    @property
    def now(self) -> datetime:
        """The store's clock; never before whatever has been read here was last changed."""
        ...

    def session(self, session_id: SessionId) -> Session | None: ...
    def job(self, job_id: JobId) -> Job | None: ...
    def run(self, run_id: RunId) -> Run | None: ...

    def head(self, run_id: RunId) -> Head:
        """The end of a run's log. The run must exist."""
        ...

    def checkpoint(self, run_id: RunId) -> Checkpointed | None:
        """The run's latest checkpoint."""
        ...

    def record(self, aggregate: A, fact: Fact) -> A:
        """Ask the aggregate to allow the fact, append it with its frames, update every projection; the new state."""
        ...

    def save_checkpoint(self, run_id: RunId, checkpoint: Checkpointed) -> None:
        """Overwrite the run's checkpoint."""
        ...

    def lease(self, run_id: RunId, until: datetime) -> None:
        """Grant the run's worker until then. Only after a claim or take-over in this transaction."""
        ...

    def renew(self, worker: str, held: Sequence[tuple[RunId, int]], until: datetime) -> Sequence[RunId]:
        """Prolong the leases this worker still holds at these epochs; the runs it does not hold any more."""
        ...

    def session_lease(self, session_id: SessionId) -> datetime | None:
        """When the lease of the session's owner ends or ended; None: there was none, or it was given up."""
        ...

    def lease_session(self, session_id: SessionId, until: datetime | None) -> None:
        """Grant the session's owner until then."""
        ...

    def handoff(self, session_id: SessionId, handoff_id: str) -> Handoff | None:
        """One of the session's handoffs."""
        ...

    def expired_handoffs(self, limit: int) -> Sequence[SessionId]:
        """Sessions with a handoff under way past its deadline, the longest passed first; of equals the lower id."""
        ...

    def pending_runs(self, agents: Sequence[str], limit: int) -> Sequence[RunId]:
        """Runs that wait for a worker, oldest first; not those whose turn has not come."""
        ...

    def expired_leases(self, limit: int, before: datetime) -> Sequence[RunId]:
        """Running runs whose lease ended at `before` or earlier, the longest passed first; of equals the lower id."""
        ...

    def expired_approvals(self, limit: int) -> Sequence[RunId]:
        """Waiting runs with an approval at or past its deadline, the longest passed first; of equals the lower id."""
        ...

    def answer(self, tenant: str, key: str) -> Answer | None:
        """What this tenant's Idempotency-Key was answered with, if it was used."""
        ...

    def remember(self, tenant: str, key: str, answer: Answer) -> None:
        """Keep the answer for this Idempotency-Key."""
        ...

    def forget_answers(self, before: datetime, limit: int) -> int:
        """Drop remembered answers older than that; how many were dropped."""
        ...


class Listener(Protocol):
    """Who wants to know of commits. Called on the event loop, never from another thread, and must not block."""

    def committed(self, commits: Sequence[News]) -> None:
        """These records are durable. Several commits of one group come in one call, in log order."""
        ...

    def changed(self) -> None:
        """Something may have been committed elsewhere: look again."""
        ...


class Store(Protocol):
    """The durable log and its projections. Every method may raise StoreUnavailable or RecordDamaged."""

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Run `work` in one write transaction, durable on return. What `work` raises undoes it all."""
        ...

    async def append(self, append: Append) -> None:
        """Append output, durable on return. The same append again is a no-op.

        Raises StaleEpoch, RunClosed, or AppendConflict (the log ends elsewhere, or holds other bytes there).
        """
        ...

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Tell the listener of every commit from now on; call the result to stop."""
        ...

    @property
    def generation(self) -> int:
        """+1 at each restore of the store, and at each fail-over of its database."""
        ...

    async def run_view(self, run_id: RunId) -> RunView | None: ...
    async def session(self, session_id: SessionId) -> Session | None: ...
    async def session_view(self, session_id: SessionId) -> SessionView | None: ...
    async def job(self, job_id: JobId) -> Job | None: ...

    async def runs(self, tenant: str, filters: Mapping[str, str | Status], after: str | None, limit: int) -> Page:
        """Runs of a tenant, newest first. Filters: session_id, agent, status. `after` is a run's id."""
        ...

    async def sessions(self, tenant: str, filters: Mapping[str, str], after: str | None, limit: int) -> Page:
        """Sessions of a tenant that are not deleted, newest first. Filters: status. `after` is a session's id."""
        ...

    async def read(self, run_id: RunId, after_seq: int, limit_frames: int) -> Sequence[Record | Damaged]:
        """The records that hold the frames after `after_seq`, in order. The first may begin before it.

        Stops after `limit_frames` frames, but reads at least one record if there is one.
        """
        ...

    async def has_pending(self, agents: Sequence[str]) -> bool:
        """Whether a run of these agents waits for a worker: a look that costs no write transaction."""
        ...

    async def epoch_at(self, run_id: RunId, seq: int) -> int | None:
        """The epoch of the record that holds this seq, or None if there is none."""
        ...

    async def snapshot(self, run_id: RunId) -> Snapshot | None:
        """The run's frames folded up to the last but one, so that a real frame always follows."""
        ...

    async def next_run(self, session_id: SessionId, after_turn: int, after_attempt: int) -> RunId | None:
        """The session's first run after this (turn, attempt) in the order of its stream."""
        ...

    async def messages(self, session_id: SessionId, span: Span, limit: int) -> Sequence[StoredMessage]:
        """The session's messages inside the span, oldest first, at most `limit` from the end it is read from.

        Without those of a run that has not settled, except its prompt; without prompts whose turn has not come.
        """
        ...

    async def memories(self, session_id: SessionId, after: int, limit: int) -> Sequence[Memory]:
        """The session's memories after this sequence number, in order."""
        ...

    async def handoff(self, session_id: SessionId, handoff_id: str) -> Handoff | None:
        """One of the session's handoffs."""
        ...

    async def tail(self, session_id: SessionId, limit: int) -> Tail | None:
        """What a client needs to show the session now, all of one instant."""
        ...

    async def check(self) -> None:
        """Raise StoreUnavailable unless the store can be read, and the last write went well."""
        ...
