"""What the store says of one session when all its runs have ended, read at once, for the judges to look at."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final, TypeVar

from ...domain.errors import StoreUnavailable
from ...domain.identifiers import JobId, RunId, SessionId
from ...domain.job import Job
from ...domain.ports import Damaged, Record, RunView, Span, Store, StoredMessage
from ...domain.scribe import Checkpointed
from ...domain.session import Session
from ...domain.snapshot import Snapshot
from ..store.session_model import within

T = TypeVar("T")

FRAMES_MAX: Final = 10_000_000
"""Frames of one run that are read at once: all."""

MESSAGES_MAX: Final = 100_000
"""Messages of one session that are read at once: all."""

PAGE: Final = 100
"""Runs of one page."""

AGAIN_S: Final = 0.5
"""Seconds before a read that failed is tried again."""


@dataclass
class Rows:
    """One session's. Implements what the oracle reads of a store (`oracle.Readable`)."""

    session_id: SessionId
    views: dict[RunId, RunView] = field(default_factory=dict[RunId, RunView])
    """In the order of their turns."""
    records: dict[RunId, Sequence[Record | Damaged]] = field(default_factory=dict[RunId, Sequence[Record | Damaged]])
    jobs: dict[JobId, Job] = field(default_factory=dict[JobId, Job])
    snapshots: dict[RunId, Snapshot] = field(default_factory=dict[RunId, Snapshot])
    row: Session | None = None
    messages: Sequence[StoredMessage] = ()

    def run_view(self, run_id: RunId) -> RunView | None:
        return self.views.get(run_id)

    def session(self, session_id: SessionId) -> Session | None:
        return self.row if session_id == self.session_id else None

    def job(self, job_id: JobId) -> Job | None:
        return self.jobs.get(job_id)

    def read(self, run_id: RunId, after_seq: int, limit_frames: int) -> Sequence[Record | Damaged]:
        return self.records[run_id]

    def snapshot(self, run_id: RunId) -> Snapshot | None:
        return self.snapshots.get(run_id)

    def projected(self, session_id: SessionId, span: Span, limit: int) -> Sequence[StoredMessage]:
        return within(self.messages, span, limit) if session_id == self.session_id else ()

    def lease_until(self, run_id: RunId) -> datetime | None:
        return None

    def checkpoint(self, run_id: RunId) -> Checkpointed | None:
        return None


async def rows_of(store: Store, session_id: SessionId) -> Rows:
    """Read them, however often it takes."""
    rows = Rows(session_id)
    views = await all_runs(store, {"session_id": session_id})
    for view in sorted(views, key=lambda view: (view.run.turn, view.run.attempt)):
        run = view.run
        rows.views[run.run_id] = view
        rows.records[run.run_id] = await patiently(partial(store.read, run.run_id, 0, FRAMES_MAX))
        snapshot = await patiently(partial(store.snapshot, run.run_id))
        job = await patiently(partial(store.job, run.job_id))
        if snapshot is not None:
            rows.snapshots[run.run_id] = snapshot
        if job is not None:
            rows.jobs[run.job_id] = job
    rows.row = await patiently(partial(store.session, session_id))
    rows.messages = await patiently(partial(store.messages, session_id, Span(), MESSAGES_MAX))
    return rows


async def all_runs(store: Store, filters: dict[str, Any]) -> list[RunView]:
    """Every run of the default tenant that these filters let through."""
    found: list[RunView] = []
    after: str | None = None
    while True:
        page = await patiently(partial(store.runs, "default", filters, after, PAGE))
        found += [view for view in page.items if isinstance(view, RunView)]
        after = page.next_cursor
        if after is None:
            return found


async def patiently(read: Callable[[], Awaitable[T]]) -> T:
    """What is read, once the store can be reached."""
    while True:
        try:
            return await read()
        except StoreUnavailable:
            await asyncio.sleep(AGAIN_S)
