"""Two cores in lock-step: every write and every read is done on both, and the first difference ends the run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from typing import Any, TypeVar, cast

from pydantic_core import to_json

from ...domain.errors import ReattachError
from ...domain.identifiers import JobId, RunId, SessionId
from ...domain.job import Job
from ...domain.memory import Memory
from ...domain.ports import (
    Append,
    Committed,
    Damaged,
    Page,
    Record,
    RunView,
    SessionMoved,
    SessionView,
    Span,
    StoredMessage,
    Tail,
)
from ...domain.scribe import Checkpointed
from ...domain.session import Session
from ...domain.session_facts import Handoff, SessionFact
from ...domain.snapshot import Snapshot
from ...domain.transitions import Status
from ...infrastructure.eventstore.writer import Result, Work, Written
from ..violation import Violation
from .core import Core, OnCommit, Row, digest_of

T = TypeVar("T")


class Divergence(Violation):
    """The two cores answered differently: one of them is wrong, or the specification is."""

    def __init__(self, operation: str, model: object, other: object) -> None:
        detail = f"{operation}: the model says {model!r:.2000}; the database says {other!r:.2000}"
        super().__init__("store-divergence", detail, operation=operation)


class DualCore:
    """Implements `Core` by a model and a database; the database's answers are given. Works are called once on each."""

    def __init__(self, model: Core, other: Core) -> None:
        self._model = model
        self._other = other
        self._known: dict[str, Any] = {}
        self.on_commit: OnCommit | None = None

    def close(self) -> None:
        """One of its users leaves."""

    @property
    def commits(self) -> int:
        """Groups so far that left news."""
        return self._model.commits

    def write(self, group: Sequence[Work]) -> Written:
        """Run the works on both. Raises Divergence."""
        self._known.clear()
        expected, actual = self._model.write(group), self._other.write(group)
        for number, (one, two) in enumerate(zip_longest(expected.results, actual.results)):
            if not _same_result(one, two):
                raise Divergence(f"result {number} of {_names(group)}", one, two)
        if expected.news != actual.news:
            raise Divergence(f"news of {_names(group)}", expected.news, actual.news)
        for run_id in dict.fromkeys(news.run_id for news in expected.news if isinstance(news, Committed)):
            self.run_view(run_id)  # the row and the head, whoever looks next
        for session_id in dict.fromkeys(news.session_id for news in expected.news if isinstance(news, SessionMoved)):
            self.session_view(session_id)
        if self.on_commit is not None:
            self.on_commit(group, actual)
        return actual

    def fail(self, group: Sequence[Work]) -> Written:
        """The database runs the works and can't commit them; the model never hears of them. Raises Divergence."""
        self._known.clear()
        expected, actual = self._model.fail(group), self._other.fail(group)
        if actual.news or any(result.error is None for result in actual.results):
            raise Divergence(f"a commit that fails of {_names(group)}", expected, actual)
        return actual

    def _both(self, operation: str, read: Callable[[Core], T]) -> T:
        expected, actual = _answer(read, self._model), _answer(read, self._other)
        if not _same_result(expected, actual):
            raise Divergence(operation, expected, actual)
        if actual.error is not None:
            raise actual.error
        value: T = actual.value
        return value

    def _once(self, operation: str, read: Callable[[Core], T]) -> T:
        """A read whose answer is a value that nobody can change: until somebody writes, asking once is enough."""
        if operation not in self._known:
            self._known[operation] = self._both(operation, read)
        known: T = self._known[operation]
        return known

    def check(self) -> int:
        """The store's generation."""
        return self._both("check", lambda core: core.check())

    def run_view(self, run_id: RunId) -> RunView | None:
        """The run as it is now."""
        return self._once(f"run_view({run_id})", lambda core: core.run_view(run_id))

    def session(self, session_id: SessionId) -> Session | None:
        """The session as it is now."""
        return self._once(f"session({session_id})", lambda core: core.session(session_id))

    def job(self, job_id: JobId) -> Job | None:
        """The job as it is now."""
        return self._once(f"job({job_id})", lambda core: core.job(job_id))

    def lease_until(self, run_id: RunId) -> datetime | None:
        """Until when the run's worker holds it; None if nobody does."""
        return self._once(f"lease_until({run_id})", lambda core: core.lease_until(run_id))

    def checkpoint(self, run_id: RunId) -> Checkpointed | None:
        """The run's latest checkpoint."""
        return self._both(f"checkpoint({run_id})", lambda core: core.checkpoint(run_id))

    def runs(self, tenant: str, filters: Mapping[str, str | Status], after: str | None, limit: int) -> Page:
        """Runs of a tenant, newest first."""
        return self._both(f"runs({filters}, {after}, {limit})", lambda core: core.runs(tenant, filters, after, limit))

    def sessions(self, tenant: str, filters: Mapping[str, str], after: str | None, limit: int) -> Page:
        """Sessions of a tenant, newest first."""
        operation = f"sessions({filters}, {after}, {limit})"
        return self._both(operation, lambda core: core.sessions(tenant, filters, after, limit))

    def read(self, run_id: RunId, after_seq: int, limit_frames: int) -> Sequence[Record | Damaged]:
        """The records that hold the frames after `after_seq`, in order."""
        operation = f"read({run_id}, {after_seq}, {limit_frames})"
        return self._both(operation, lambda core: core.read(run_id, after_seq, limit_frames))

    def has_pending(self, agents: Sequence[str]) -> bool:
        """Whether a run of these agents waits for a worker."""
        return self._once(f"has_pending({agents})", lambda core: core.has_pending(agents))

    def epoch_at(self, run_id: RunId, seq: int) -> int | None:
        """The epoch of the record that holds this seq, or None if there is none."""
        return self._both(f"epoch_at({run_id}, {seq})", lambda core: core.epoch_at(run_id, seq))

    def snapshot(self, run_id: RunId) -> Snapshot | None:
        """The run's frames folded up to the last but one."""
        return self._both(f"snapshot({run_id})", lambda core: core.snapshot(run_id))

    def next_run(self, session_id: SessionId, after_turn: int, after_attempt: int) -> RunId | None:
        """The session's first run after this (turn, attempt)."""
        operation = f"next_run({session_id}, {after_turn}, {after_attempt})"
        return self._both(operation, lambda core: core.next_run(session_id, after_turn, after_attempt))

    def session_view(self, session_id: SessionId) -> SessionView | None:
        """The session as it is now, with its owner's lease."""
        return self._once(f"session_view({session_id})", lambda core: core.session_view(session_id))

    def messages(self, session_id: SessionId, span: Span, limit: int) -> Sequence[StoredMessage]:
        """The session's settled messages inside the span."""
        return self._both(
            f"messages({session_id}, {span}, {limit})", lambda core: core.messages(session_id, span, limit)
        )

    def projected(self, session_id: SessionId, span: Span, limit: int) -> Sequence[StoredMessage]:
        """The session's messages as they are stored."""
        operation = f"projected({session_id}, {span}, {limit})"
        return self._both(operation, lambda core: core.projected(session_id, span, limit))

    def memories(self, session_id: SessionId, after: int, limit: int) -> Sequence[Memory]:
        """The session's memories after this sequence number."""
        operation = f"memories({session_id}, {after}, {limit})"
        return self._both(operation, lambda core: core.memories(session_id, after, limit))

    def handoff(self, session_id: SessionId, handoff_id: str) -> Handoff | None:
        """One of the session's handoffs."""
        return self._both(f"handoff({session_id}, {handoff_id})", lambda core: core.handoff(session_id, handoff_id))

    def tail(self, session_id: SessionId, limit: int) -> Tail | None:
        """What a client needs to show the session now."""
        return self._both(f"tail({session_id}, {limit})", lambda core: core.tail(session_id, limit))

    def session_facts(self, after: int) -> Sequence[tuple[int, SessionId, SessionFact]]:
        """What has happened to sessions, by the model."""
        return self._model.session_facts(after)

    def durable(self) -> Iterator[Row]:
        """Everything that is kept. Raises Divergence at the first row that differs."""
        for one, two in zip_longest(self._model.durable(), self._other.durable()):
            if to_json(one) != to_json(two):
                raise Divergence("what is kept", one, two)
            yield two or ()

    def digest(self) -> str:
        """A digest of `durable`. Raises Divergence."""
        return digest_of(self.durable())


def _answer(read: Callable[[Core], object], core: Core) -> Result:
    try:
        return Result(read(core))
    except ReattachError as error:
        return Result(error=error)


def _same_result(one: Result | None, two: Result | None) -> bool:
    if one is None or two is None:
        return one is two
    if one.error is None and two.error is None:
        same: bool = _plain(one.value) == _plain(two.value)
        return same
    return _said(one.error) == _said(two.error)


def _plain(value: Any) -> Any:
    """A form that can be compared: a snapshot is what it shows, a list of any kind is its items."""
    if isinstance(value, Snapshot):
        return value.seq, value.state()
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


def _said(error: Exception | None) -> object:
    """What programs see of an error; the words may differ."""
    if isinstance(error, ReattachError):
        return type(error), error.code, error.fields
    return type(error), str(error)


def _names(group: Sequence[Work]) -> list[str]:
    return [_name(work) for work in group]


def _name(work: Work) -> str:
    if isinstance(work, Append):
        return f"append({work.run_id}, {work.epoch}, {work.batch.first_seq})"
    return getattr(work, "__qualname__", repr(work))
