"""What the model keeps, and how each change of it is taken back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TypeVar

from ...domain.aggregate import Fact
from ...domain.identifiers import JobId, RunId, SessionId
from ...domain.job import Job
from ...domain.memory import Memory
from ...domain.outline import Outline
from ...domain.ports import Answer, Record
from ...domain.run import Run
from ...domain.scribe import Checkpointed
from ...domain.session import Session
from ...domain.session_facts import Handoff
from ...domain.transitions import SessionStatus, Status

K = TypeVar("K")
V = TypeVar("V")
Id = TypeVar("Id", RunId, SessionId)
A = TypeVar("A", Run, Session)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One event of a run's log: what readers get, its topic, and what is open after it."""

    record: Record
    topic: str
    outline: Outline


@dataclass(frozen=True, slots=True)
class Remembered:
    """The answer to an Idempotency-Key, and when it was given."""

    answer: Answer
    at: datetime


@dataclass(slots=True)
class Tables:
    """Everything that is kept. `facts` is the feed.

    `shown` is the seq up to which history holds a run's messages; `owners` are the leases of sessions.
    """

    sessions: dict[SessionId, Session] = field(default_factory=dict[SessionId, Session])
    jobs: dict[JobId, Job] = field(default_factory=dict[JobId, Job])
    runs: dict[RunId, Run] = field(default_factory=dict[RunId, Run])
    logs: dict[RunId, list[LogEntry]] = field(default_factory=dict[RunId, list[LogEntry]])
    facts: list[tuple[str, int, Fact]] = field(default_factory=list[tuple[str, int, Fact]])
    leases: dict[RunId, datetime] = field(default_factory=dict[RunId, datetime])
    checkpoints: dict[RunId, Checkpointed] = field(default_factory=dict[RunId, Checkpointed])
    answers: dict[tuple[str, str], Remembered] = field(default_factory=dict[tuple[str, str], Remembered])
    owners: dict[SessionId, datetime] = field(default_factory=dict[SessionId, datetime])
    handoffs: dict[tuple[SessionId, str], Handoff] = field(default_factory=dict[tuple[SessionId, str], Handoff])
    memories: dict[SessionId, list[Memory]] = field(default_factory=dict[SessionId, list[Memory]])
    shown: dict[RunId, int] = field(default_factory=dict[RunId, int])
    undo: list[Callable[[], object]] = field(default_factory=list[Callable[[], object]])
    """How to take back each change of the open group, in the order of the changes."""

    def queued(self, run: Run) -> bool:
        """Whether the run waits for its turn."""
        session = self.sessions.get(run.session_id)
        return session is not None and run.run_id in session.queue

    def waits_for(self, run: Run, agents: Sequence[str]) -> bool:
        """Whether the run waits for a worker that runs these agents."""
        return run.status is Status.PENDING and run.agent in agents and not self.queued(run)

    def gone(self, run: Run) -> bool:
        """Whether its session was deleted, and with it the run for its readers."""
        session = self.sessions.get(run.session_id)
        return session is not None and session.status == SessionStatus.DELETED

    def put(self, table: dict[K, V], key: K, value: V) -> None:
        """Set what stands under the key."""
        self.undo.append(partial(table.__setitem__, key, table[key]) if key in table else partial(table.pop, key))
        table[key] = value

    def drop(self, table: dict[K, V], key: K) -> None:
        """Remove what stands under the key, if anything does."""
        if key in table:
            self.undo.append(partial(table.__setitem__, key, table.pop(key)))

    def add(self, rows: list[V], row: V) -> None:
        """One more at the end."""
        self.undo.append(rows.pop)
        rows.append(row)

    def roll_back(self, savepoint: int) -> None:
        """Be again as when `undo` was that long."""
        while len(self.undo) > savepoint:
            self.undo.pop()()


def page(
    table: Mapping[Id, A],
    tenant: str,
    filters: Mapping[str, str],
    after: str | None,
    limit: int,
) -> tuple[list[A], str | None]:
    """A tenant's items with these fields, newest first; with the id to go on after, if there are more."""
    found = [
        (key, item)
        for key, item in table.items()
        if item.tenant == tenant
        and item.status != SessionStatus.DELETED
        and (after is None or key < after)
        and all(getattr(item, name) == value for name, value in filters.items())
    ]
    found.sort(reverse=True, key=lambda pair: pair[0])
    return [item for _, item in found[:limit]], found[limit - 1][0] if len(found) > limit else None
