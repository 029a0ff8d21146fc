"""Answers that are not what landed: to appends, to commands, to renewals, under Idempotency-Keys."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

from reattach.domain.errors import AppendConflict, IdempotencyMismatch, SessionBusy, StaleEpoch
from reattach.domain.identifiers import RunId
from reattach.domain.ports import Append, RunView
from reattach.domain.requests import Assignment
from reattach.domain.run import Run
from reattach.domain.transitions import Status
from reattach.infrastructure.eventstore.writer import Result
from reattach.simulations.oracle.asked import circumstances

from .recording import Recording, Step, nothing
from .tampering import breaks


def the(recording: Recording, wanted: Callable[[Step], Any], nth: int = 0) -> Step:
    """The nth step that is like that."""
    return [step for step in recording.steps if wanted(step)][nth]


def result(step: Step) -> Result:
    return step.written.results[0]


def appends(step: Step) -> bool:
    return len(step.group) == 1 and isinstance(step.group[0], Append)


def asks(*names: str) -> Callable[[Step], bool]:
    """Steps whose work was made for these."""

    def wanted(step: Step) -> bool:
        return set(names) <= set(asked(step))

    return wanted


def asked(step: Step) -> Mapping[str, Any]:
    work = step.group[0]
    return {} if isinstance(work, Append) else circumstances(work)


def landed(step: Step) -> bool:
    return appends(step) and bool(step.written.news)


def assigned(step: Step) -> list[Assignment]:
    value = result(step).value
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [item for item in items if isinstance(item, Assignment)]


@breaks("result-missing")
def a_work_without_a_result(recording: Recording) -> None:
    recording.steps[3].written.results.clear()


@breaks("acknowledged-loser")
def a_fenced_append_is_acknowledged(recording: Recording) -> None:
    result(the(recording, lambda s: appends(s) and result(s).error is not None)).error = None


@breaks("acknowledged-loser")
def a_loser_in_a_group_is_acknowledged(recording: Recording) -> None:
    group = the(recording, lambda s: len(s.group) > 1 and any(r.error for r in s.written.results))
    for each in group.written.results:
        each.error = None


@breaks("landed-but-refused")
def a_repeat_is_refused(recording: Recording) -> None:
    step = the(recording, lambda s: appends(s) and not s.written.news and result(s).error is None)
    result(step).error = AppendConflict()


@breaks("refused-without-cause")
def an_append_that_fits_is_refused(recording: Recording) -> None:
    step = the(recording, landed)
    step.written.news.clear()
    result(step).error = AppendConflict()


@breaks("loser-landed")
def a_refused_append_lands(recording: Recording) -> None:
    result(the(recording, landed)).error = StaleEpoch()


@breaks("loser-landed")
def a_refused_transaction_lands(recording: Recording) -> None:
    result(recording.steps[recording.find("run.claimed")[0]]).error = StaleEpoch()


@breaks("output-unasked")
def output_that_nobody_appended(recording: Recording) -> None:
    the(recording, landed).group[:] = [nothing]


@breaks("zombie-command")
def a_stale_worker_is_told_that_it_completed(recording: Recording) -> None:
    result(
        the(recording, lambda s: asks("epoch", "run_id")(s) and isinstance(result(s).error, StaleEpoch))
    ).error = None


@breaks("answer-not-in-log")
def a_cancel_of_a_completed_run_says_cancelled(recording: Recording) -> None:
    step = the(recording, lambda s: asks("reason")(s) and not s.written.news)
    view: RunView = result(step).value
    result(step).value = RunView(view.run.model_copy(update={"status": Status.CANCELLED}), view.head_seq)


@breaks("answer-not-in-log")
def an_answer_from_the_future(recording: Recording) -> None:
    step = the(recording, lambda s: isinstance(result(s).value, RunView))
    view: RunView = result(step).value
    result(step).value = RunView(view.run, view.head_seq + 1)


@breaks("answer-not-in-log")
def a_run_that_never_began(recording: Recording) -> None:
    step = the(recording, lambda s: isinstance(result(s).value, Run), nth=3)
    result(step).value = result(step).value.model_copy(update={"run_id": RunId("run_other")})


@breaks("assignment-wrong")
def a_run_is_assigned_to_two_workers(recording: Recording) -> None:
    step = recording.steps[recording.find("run.claimed")[0]]
    result(step).value[0] = _assigned(step, worker="w9")


@breaks("assignment-wrong")
def an_assignment_under_another_epoch(recording: Recording) -> None:
    step = recording.steps[recording.find("run.claimed")[0]]
    result(step).value[0] = _assigned(step, epoch=3)


@breaks("decision-altered")
def a_worker_is_given_other_arguments(recording: Recording) -> None:
    step = the(recording, lambda s: any(assignment.run.decisions for assignment in assigned(s)))
    (assignment,) = result(step).value
    approvals = tuple(a.model_copy(update={"decided_arguments": {"sum": 9}}) for a in assignment.run.approvals)
    result(step).value[0] = _assigned(step, approvals=approvals)


@breaks("decision-altered")
def a_worker_is_not_told_why(recording: Recording) -> None:
    step = the(recording, lambda s: any(assignment.run.decisions for assignment in assigned(s)))
    (assignment,) = result(step).value
    approvals = tuple(a.model_copy(update={"reason": "so"}) for a in assignment.run.approvals)
    result(step).value[0] = _assigned(step, approvals=approvals)


@breaks("decisions-of-another-wait")
def a_worker_is_told_of_an_earlier_wait(recording: Recording) -> None:
    step = the(recording, lambda s: any(assignment.run.decisions for assignment in assigned(s)), nth=1)
    (assignment,) = result(step).value
    result(step).value[0] = _assigned(step, asked=tuple(a.approval_id for a in assignment.run.approvals))


def _assigned(step: Step, **changed: Any) -> Any:
    result(step).value = list(result(step).value)
    assignment = result(step).value[0]
    return replace(assignment, run=assignment.run.model_copy(update=changed))


@breaks("renewed-by-stranger")
def a_stale_worker_prolongs_a_lease(recording: Recording) -> None:
    result(the(recording, lambda s: asks("held")(s) and result(s).value)).value = []


@breaks("lease-denied")
def a_worker_is_told_that_it_lost_what_it_holds(recording: Recording) -> None:
    step = the(recording, asks("held"))
    result(step).value = [run_id for run_id, _ in asked(step)["held"]]


def _keyed(recording: Recording, nth: int) -> Step:
    """A session is made, and again; a run is made, and again; then with another payload."""
    return the(recording, lambda s: asks("idempotency", "tenant")(s) and asked(s)["idempotency"], nth)


@breaks("key-refused")
def a_replay_is_refused(recording: Recording) -> None:
    result(_keyed(recording, 3)).error = IdempotencyMismatch()


@breaks("key-forgotten")
def a_replay_finds_the_session_busy(recording: Recording) -> None:
    step = _keyed(recording, 3)
    result(step).error, result(step).value = SessionBusy(), None


@breaks("key-answered-twice")
def a_replay_is_answered_otherwise(recording: Recording) -> None:
    step = _keyed(recording, 3)
    result(step).value = result(step).value.model_copy(update={"run_id": RunId("run_other")})


@breaks("key-reused")
def another_payload_is_accepted(recording: Recording) -> None:
    step = _keyed(recording, 4)
    result(step).error, result(step).value = None, result(_keyed(recording, 3)).value
