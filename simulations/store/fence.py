"""The specification of the fence: why output is refused, and which output brings history on."""

from ...domain.errors import AppendConflict, ReattachError, RunClosed, StaleEpoch
from ...domain.frames import PART_END_TYPES
from ...domain.ports import Append, Record
from ...domain.run import Run
from ...domain.transitions import Status
from ...domain.wire import type_of
from ...infrastructure.eventstore.projections import FOLD_FRAMES


def refusal(append: Append, run: Run, head_seq: int) -> ReattachError:
    """Why this output does not land where it was to."""
    fields = {"run_id": run.run_id, "epoch": run.epoch, "head_seq": head_seq}
    if append.epoch != run.epoch:
        return StaleEpoch(f"The worker holds epoch {append.epoch}, the run is at {run.epoch}.", **fields)
    if run.status is not Status.RUNNING:
        return RunClosed(f"The run is {run.status}.", **fields, status=run.status)
    return AppendConflict(f"The log ends at {head_seq}; this begins at {append.batch.first_seq}.", **fields)


def is_shown(output: Record) -> bool:
    """Whether history is brought on with this output: it ends a part, or crosses a multiple of FOLD_FRAMES."""
    if output.first_seq // FOLD_FRAMES != (output.last_seq + 1) // FOLD_FRAMES:
        return True
    return any(type_of(line) in PART_END_TYPES for line in output.data)
