"""Projections agree with the log in the very commit that changed it: whoever sees a frame reads its own writes.

The rows at every fact; the messages, the snapshot and the stored log itself wherever a segment ends, against the
oracle's own fold of its own copy of the log.
"""

from collections.abc import Sequence
from typing import Any, Final

from ...domain.ports import Record, Span
from ...domain.snapshot import Snapshot
from ...domain.wire import decode_fields
from ..violation import Violation
from .rows import Readable
from .state import RUNNING, RunState

_AFTER_ALL: Final = 1_000_000_000
"""An ordinal that no message reaches."""


def check_rows(core: Readable, run: RunState) -> None:
    """The rows of the run, its session and its job. Raises row-missing, run-row, session-row or job-row."""
    view, session, job = core.run_view(run.run_id), core.session(run.session.session_id), core.job(run.job_id)
    if view is None or session is None or job is None:
        there = (view is not None, session is not None, job is not None)
        detail = f"Of {run.run_id}'s rows (run, session, job) there are {there}."
        raise Violation("row-missing", detail, run_id=run.run_id)
    row, now = view.run, run.now
    pending = [approval.approval_id for approval in row.pending_approvals]
    said = (str(row.status), row.epoch, row.worker, pending, view.head_seq)
    expected = (now.status, now.epoch, now.worker, run.approvals.pending, run.log.head)
    if said != expected:
        detail = f"{run.run_id}'s row says {said} (status, epoch, worker, approvals, head); its log {expected}."
        raise Violation("run-row", detail, run_id=run.run_id, status=now.status)
    if (session.active_run_id, session.turns) != (run.session.active, run.session.turns):
        detail = (
            f"{session.session_id}'s row says that {session.active_run_id} is active in turn {session.turns}; "
            f"its runs' logs say {run.session.active} in {run.session.turns}."
        )
        raise Violation("session-row", detail, run_id=run.run_id, session_id=session.session_id)
    if str(job.status) != now.status or job.runs[-1:] != (run.run_id,):
        detail = f"{job.job_id} is {job.status} with the runs {job.runs}; {run.run_id} is {now.status}."
        raise Violation("job-row", detail, run_id=run.run_id, job_id=job.job_id)


def check_head(core: Readable, run: RunState) -> None:
    """Raises head-row unless a reader is told of everything that is committed, and of nothing else."""
    view = core.run_view(run.run_id)
    if view is None or view.head_seq != run.log.head:
        detail = f"{run.run_id}'s row says that its log ends at {view and view.head_seq}; it ends at {run.log.head}."
        raise Violation("head-row", detail, run_id=run.run_id, head=run.log.head)


def check_folds(core: Readable, run: RunState) -> None:
    """History and snapshot, against folds of the whole log. Raises messages-differ or snapshot-differs."""
    expected = run.fold.through(run.log.head, run.log.lines).messages.as_json()
    place = (run.turn, run.attempt)
    stored = core.projected(run.session.session_id, Span(before=(*place, _AFTER_ALL)), len(expected) + 1)
    found = [fields for at, fields, _ in stored if at[:2] == place]
    if found != expected:
        detail = f"The history of {run.run_id} is not the fold of its {run.log.head} frames: {_first(found, expected)}."
        raise Violation("messages-differ", detail, run_id=run.run_id, seq=run.log.head)
    check_snapshot(core, run)


def check_snapshot(core: Readable, run: RunState) -> None:
    """The snapshot, folded on with the frames it lacks, equals the fold of all. Raises snapshot-differs."""
    snapshot, expected = core.snapshot(run.run_id), run.fold.through(run.log.head, run.log.lines)
    if snapshot is None or snapshot.seq != run.log.head - 1:
        seq = snapshot.seq if snapshot is not None else None
        detail = f"The snapshot of {run.run_id} stops at {seq}; its log ends at {run.log.head}."
        raise Violation("snapshot-seq", detail, run_id=run.run_id, seq=seq)
    seq = snapshot.seq
    client = Snapshot.load(snapshot.state(), seq)  # as a client goes on; the store's own may be shared
    for frame in decode_fields(run.log.lines[seq:]):
        client.apply(frame)
    if client.state() != expected.state():
        detail = f"The snapshot of {run.run_id} at {seq} is not the fold of its frames."
        raise Violation("snapshot-differs", detail, run_id=run.run_id, seq=seq)


def check_stored(core: Readable, run: RunState) -> None:
    """What is stored is what was told, byte for byte. Raises log-rewritten."""
    lines: list[bytes] = []
    epochs: list[int] = []
    for item in core.read(run.run_id, 0, run.log.head + 1):
        if isinstance(item, Record):
            lines += item.data
            epochs += [item.epoch] * len(item.data)
    if lines != run.log.lines or epochs != run.log.epochs:
        pairs = zip(zip(lines, epochs, strict=True), zip(run.log.lines, run.log.epochs, strict=True), strict=False)
        seq = next((n for n, (stored, told) in enumerate(pairs, 1) if stored != told), len(lines))
        detail = f"The stored log of {run.run_id} differs at {seq} from what was told of it."
        raise Violation("log-rewritten", detail, run_id=run.run_id, seq=seq)


def ends_segment(run: RunState) -> bool:
    """Whether the run's last record ended a segment or a hand's work: there the folds are checked."""
    return run.now.seq == run.log.head and (run.now.status != RUNNING or run.takeovers > 0)


def _first(found: Sequence[Any], expected: Sequence[Any]) -> str:
    for n, (one, other) in enumerate(zip(found, expected, strict=False)):
        if one != other:
            return f"message {n} is {one!r:.200}, not {other!r:.200}"
    return f"there are {len(found)} messages, not {len(expected)}"
