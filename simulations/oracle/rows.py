"""What the oracle reads of the store: the sync read side, and the rows that are not history (leases, checkpoints)."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

from ...domain.identifiers import JobId, RunId, SessionId
from ...domain.job import Job
from ...domain.ports import Append, Damaged, Record, RunView, Span, StoredMessage
from ...domain.scribe import Checkpointed
from ...domain.session import Session
from ...domain.snapshot import Snapshot
from ..violation import Violation
from .state import RUNNING, RunState


class Readable(Protocol):
    """The part of a store's core that the oracle looks at. Nothing here changes anything."""

    def run_view(self, run_id: RunId) -> RunView | None: ...
    def session(self, session_id: SessionId) -> Session | None: ...
    def job(self, job_id: JobId) -> Job | None: ...
    def read(self, run_id: RunId, after_seq: int, limit_frames: int) -> Sequence[Record | Damaged]: ...
    def snapshot(self, run_id: RunId) -> Snapshot | None: ...

    def projected(self, session_id: SessionId, span: Span, limit: int) -> Sequence[StoredMessage]: ...

    def lease_until(self, run_id: RunId) -> datetime | None:
        """Until when the run's worker holds it; None if nobody does."""
        ...

    def checkpoint(self, run_id: RunId) -> Checkpointed | None:
        """The run's latest checkpoint."""
        ...


class Leases:
    """The true leases: read after each commit that can change them, judged by the store's clock."""

    def __init__(self, core: Readable, now: Callable[[], datetime], mark: Callable[[str], None]) -> None:
        self._core = core
        self._now = now
        self._mark = mark
        self._held: dict[RunId, tuple[RunState, int]] = {}

    def after(self, touched: Iterable[RunState]) -> None:
        """A group with a transaction is done. Raises lease-missing, lease-left-behind or lease-shortened."""
        for run in touched:
            if run.now.status == RUNNING:
                continue
            run.lease = None
            self._held.pop(run.run_id, None)
            if self._core.lease_until(run.run_id) is not None:
                detail = f"{run.run_id} is {run.now.status}, and somebody still holds a lease on it."
                raise Violation("lease-left-behind", detail, run_id=run.run_id)
        for run in touched:
            if run.now.status == RUNNING and self._held.get(run.run_id, (run, 0))[1] != run.now.epoch:
                self._granted(run)
        for run, _ in self._held.values():
            self._look(run)

    def _granted(self, run: RunState) -> None:
        until = self._core.lease_until(run.run_id)
        if until is None or until <= self._now():
            detail = f"{run.run_id} is claimed under epoch {run.now.epoch} with the lease {until}."
            raise Violation("lease-missing", detail, run_id=run.run_id, epoch=run.now.epoch)
        run.lease = until
        self._held[run.run_id] = (run, run.now.epoch)

    def _look(self, run: RunState) -> None:
        until = self._core.lease_until(run.run_id)
        if until is None or (run.lease is not None and until < run.lease):
            detail = f"The lease of {run.run_id} was good until {run.lease}, now it is until {until}."
            raise Violation("lease-shortened", detail, run_id=run.run_id, epoch=run.now.epoch)
        if until != run.lease:
            self._mark("lease-renewed")
        run.lease = until


def check_checkpoint(core: Readable, run: RunState, appends: Iterable[Append]) -> None:
    """The run's checkpoint row is the one its frames name last.

    Raises checkpoint-ahead (of the log), checkpoint-stale (it is another one) or checkpoint-altered.
    """
    named = run.grammar.checkpoint
    row = core.checkpoint(run.run_id)
    if row is not None and row.seq > run.log.head:
        detail = f"The checkpoint of {run.run_id} stands at {row.seq}, its log ends at {run.log.head}."
        raise Violation("checkpoint-ahead", detail, run_id=run.run_id, seq=row.seq)
    found = (row.step, row.seq) if row is not None else None
    if found != named:
        detail = f"The checkpoint of {run.run_id} is {found} (step, seq); its frames name {named}."
        raise Violation("checkpoint-stale", detail, run_id=run.run_id, found=found, named=named)
    if row is None:
        return
    for append in appends:
        saved, batch = append.batch.checkpoint, append.batch
        wanted = append.run_id == run.run_id and saved is not None and saved.seq == row.seq
        if wanted and saved is not None and run.log.holds(batch.first_seq, append.epoch, batch.data):
            run.saved = (saved.seq, saved.state)
    if run.saved is not None and run.saved[0] == row.seq and run.saved[1] != row.state:
        detail = f"The checkpoint of step {row.step} of {run.run_id} holds another state than was appended."
        raise Violation("checkpoint-altered", detail, run_id=run.run_id, seq=row.seq)
