"""Rows that do not say what the log says: leases, checkpoints, and every projection."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Any

from reattach.domain.identifiers import RunId
from reattach.domain.ports import Record, RunView, StoredMessage
from reattach.domain.scribe import Checkpointed
from reattach.domain.snapshot import Snapshot
from reattach.domain.transitions import Status

from .recording import Recording, Step
from .tampering import breaks
from .tampers_results import asks, the


def after(recording: Recording, *kinds: str, nth: int = 0) -> tuple[Step, RunId]:
    """The step that committed this record, and its run."""
    at = recording.find(*kinds, nth=nth)
    return recording.steps[at[0]], recording.news(at).run_id


# Leases and checkpoints.


@breaks("lease-left-behind")
def a_lease_on_a_released_run(recording: Recording) -> None:
    step, run_id = after(recording, "run.released")
    step.rows.leases[run_id] = step.at


@breaks("lease-missing")
def a_claim_without_a_lease(recording: Recording) -> None:
    step, run_id = after(recording, "run.claimed")
    del step.rows.leases[run_id]


@breaks("lease-missing")
def a_claim_whose_lease_is_over(recording: Recording) -> None:
    step, run_id = after(recording, "run.claimed")
    step.rows.leases[run_id] = step.at


@breaks("lease-shortened")
def a_renewal_that_takes_time_away(recording: Recording) -> None:
    step = the(recording, asks("held"))
    for run_id in step.rows.leases:
        step.rows.leases[run_id] -= timedelta(seconds=10)


@breaks("checkpoint-ahead")
def a_checkpoint_ahead_of_the_log(recording: Recording) -> None:
    step, run_id = after(recording, "step.end")
    step.rows.checkpoints[run_id] = Checkpointed(1, step.rows.views[run_id].head_seq + 1, b"{}")


@breaks("checkpoint-stale")
def a_checkpoint_that_was_not_saved(recording: Recording) -> None:
    step, run_id = after(recording, "step.end")
    del step.rows.checkpoints[run_id]


@breaks("checkpoint-stale")
def a_zombie_overwrites_the_checkpoint(recording: Recording) -> None:
    step, run_id = after(recording, "run.claimed", "step.reset")
    step.rows.checkpoints[run_id] = Checkpointed(2, 5, b"{}")


@breaks("checkpoint-stale")
def a_suspension_without_its_checkpoint(recording: Recording) -> None:
    step, run_id = after(recording, "run.suspended")
    del step.rows.checkpoints[run_id]


@breaks("checkpoint-altered")
def a_checkpoint_with_another_state(recording: Recording) -> None:
    step, run_id = after(recording, "step.end")
    step.rows.checkpoints[run_id] = replace(step.rows.checkpoints[run_id], state=b'{"done":99}')


# Projections.


@breaks("row-missing")
def a_run_without_a_row(recording: Recording) -> None:
    step, run_id = after(recording, "run.created")
    del step.rows.views[run_id]


def row(recording: Recording, kind: str, **changed: Any) -> None:
    """The run's row says otherwise after the first record of this kind."""
    step, run_id = after(recording, kind)
    view = step.rows.views[run_id]
    step.rows.views[run_id] = RunView(view.run.model_copy(update=changed), view.head_seq)


@breaks("run-row")
def the_end_is_in_the_log_before_it_is_in_the_row(recording: Recording) -> None:
    row(recording, "run.completed", status=Status.RUNNING)


@breaks("run-row")
def the_row_keeps_an_older_epoch(recording: Recording) -> None:
    row(recording, "run.claimed", epoch=0)


@breaks("run-row")
def the_row_keeps_a_worker_that_is_gone(recording: Recording) -> None:
    row(recording, "run.released", worker="w2")


@breaks("run-row")
def the_row_forgets_what_is_pending(recording: Recording) -> None:
    row(recording, "run.suspended", approvals=())


@breaks("run-row")
def the_row_knows_a_shorter_log(recording: Recording) -> None:
    step, run_id = after(recording, "run.completed")
    view = step.rows.views[run_id]
    step.rows.views[run_id] = RunView(view.run, view.head_seq - 1)


@breaks("head-row")
def the_row_does_not_see_new_output(recording: Recording) -> None:
    step, run_id = after(recording, "text.delta")
    view = step.rows.views[run_id]
    step.rows.views[run_id] = RunView(view.run, view.head_seq - 1)


def session(recording: Recording, kind: str, **changed: Any) -> None:
    step, run_id = after(recording, kind)
    session_id = step.rows.views[run_id].run.session_id
    step.rows.sessions[session_id] = step.rows.sessions[session_id].model_copy(update=changed)


@breaks("session-row")
def the_session_is_busy_with_a_run_that_ended(recording: Recording) -> None:
    session(recording, "run.completed", active_run_id=RunId("run_other"))


@breaks("session-row")
def the_session_has_not_counted_the_turn(recording: Recording) -> None:
    session(recording, "run.created", turns=0)


@breaks("job-row")
def the_job_has_not_followed(recording: Recording) -> None:
    step, run_id = after(recording, "run.suspended")
    job_id = step.rows.views[run_id].run.job_id
    step.rows.jobs[job_id] = step.rows.jobs[job_id].model_copy(update={"status": Status.RUNNING})


History = list[StoredMessage]


def history(recording: Recording, change: Callable[[History], object], kind: str = "run.completed") -> None:
    step, run_id = after(recording, kind)
    session_id = step.rows.views[run_id].run.session_id
    items = deepcopy(step.rows.histories[session_id])
    change(items)
    step.rows.histories[session_id] = items


@breaks("messages-differ")
def a_message_is_not_in_the_history(recording: Recording) -> None:
    history(recording, lambda items: items.pop())


@breaks("messages-differ")
def a_message_is_twice_in_the_history(recording: Recording) -> None:
    history(recording, lambda items: items.insert(0, items[0]))


@breaks("messages-differ")
def a_voided_message_is_shown(recording: Recording) -> None:
    def show(items: History) -> None:
        next(message for _, message, _ in items if message["status"] == "abandoned")["status"] = "complete"

    history(recording, show, "step.reset")


@breaks("messages-differ")
def a_suspended_run_s_text_is_not_stored(recording: Recording) -> None:
    history(recording, lambda items: items[-1][1]["parts"].clear(), "run.suspended")


def snapshot(recording: Recording, kind: str, change: Callable[[dict[str, Any]], object], seq: int = 0) -> None:
    step, run_id = after(recording, kind)
    taken = step.rows.snapshots[run_id]
    state = deepcopy(taken.state())
    change(state)
    step.rows.snapshots[run_id] = Snapshot.load(state, taken.seq + seq)


@breaks("snapshot-seq")
def a_snapshot_is_stale(recording: Recording) -> None:
    snapshot(recording, "run.completed", lambda _: None, seq=-1)


@breaks("snapshot-differs")
def a_snapshot_forgets_what_is_pending(recording: Recording) -> None:
    snapshot(recording, "run.suspended", lambda state: state["pending_approvals"].clear())


@breaks("snapshot-differs")
def a_live_snapshot_has_other_text(recording: Recording) -> None:
    snapshot(recording, "text.delta", lambda state: state["messages"][-1]["parts"].clear())


def stored(recording: Recording, change: Callable[[Record], Record]) -> None:
    step, run_id = after(recording, "run.completed")
    first, *rest = step.rows.records[run_id]
    assert isinstance(first, Record)
    step.rows.records[run_id] = [change(first), *rest]


@breaks("log-rewritten")
def a_stored_line_is_composed_anew(recording: Recording) -> None:
    stored(recording, lambda r: replace(r, data=(r.data[0].replace(b":", b": "), *r.data[1:])))


@breaks("log-rewritten")
def a_stored_record_has_another_epoch(recording: Recording) -> None:
    stored(recording, lambda r: replace(r, epoch=r.epoch + 1))


@breaks("log-rewritten")
def a_record_is_not_stored(recording: Recording) -> None:
    step, run_id = after(recording, "run.completed")
    step.rows.records[run_id] = list(step.rows.records[run_id])[:-1]
