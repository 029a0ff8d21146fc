"""Facts that the machine of a run does not allow, stolen leases, and approvals that are not what was asked."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from reattach.domain.agent import ApprovalRequest
from reattach.domain.ports import Append
from reattach.infrastructure.eventstore.writer import Work
from reattach.simulations.oracle.asked import circumstances
from reattach.simulations.store.core import records

from .recording import Recording, following
from .tampering import breaks

Found = tuple[int, int]


def fact(recording: Recording, at: Found, kind: str, **fields: Any) -> dict[str, Any]:
    """A frame of a fact of the run at this place, at this time."""
    return {"type": kind, "run_id": recording.news(at).run_id, "at": recording.steps[at[0]].at.isoformat()} | fields


def at_epoch(recording: Recording, at: Found, epoch: int) -> None:
    news = recording.news(at)
    recording.put(at, replace(news, record=replace(news.record, epoch=epoch)))


@breaks("zombie-write")
def output_of_the_epoch_before(recording: Recording) -> None:
    taken = recording.find("run.claimed", "step.reset")
    nth = sum(recording.find("text.delta", nth=n) < taken for n in range(4))
    at_epoch(recording, recording.find("text.delta", nth=nth), 1)


@breaks("output-while-not-running")
def output_while_it_waits(recording: Recording) -> None:
    at = recording.find("run.suspended")
    recording.insert(at[0], following(recording.news(at), {"type": "step.start", "step": 2}))


@breaks("record-shape")
def a_reset_without_a_claim(recording: Recording) -> None:
    at = recording.find("run.claimed", nth=0)
    recording.edit(at, "run.claimed", type="step.reset", to_seq=0, closes=[])


@breaks("record-shape")
def an_approval_outside_of_a_suspension(recording: Recording) -> None:
    at = recording.find("run.suspended")
    news = recording.news(at)
    recording.put(at, replace(news, record=replace(news.record, data=news.record.data[:-1])))


@breaks("record-shape")
def output_and_a_fact_in_one_record(recording: Recording) -> None:
    recording.edit(recording.find("run.released", "step.reset"), "step.reset", type="step.start", step=1)


@breaks("illegal-transition")
def a_running_run_is_claimed(recording: Recording) -> None:
    at = recording.find("run.claimed")
    claim = fact(recording, at, "run.claimed", epoch=2, worker="w9")
    recording.insert(at[0], following(recording.news(at), claim, epoch=2))


@breaks("illegal-transition")
def a_running_run_is_decided(recording: Recording) -> None:
    at = recording.find("run.claimed")
    said = fact(recording, at, "approval.decided", approval_id="x", outcome="deny", reason=None, arguments=None, by="a")
    recording.insert(at[0], following(recording.news(at), said))


@breaks("illegal-transition")
def a_run_is_created_twice(recording: Recording) -> None:
    at = recording.find("run.created")
    recording.insert(at[0], following(recording.news(at), fact(recording, at, "run.created")))


@breaks("epoch-fell")
def a_release_under_an_older_epoch(recording: Recording) -> None:
    at_epoch(recording, recording.find("run.released"), 1)


@breaks("epoch-step")
def a_take_over_without_a_new_epoch(recording: Recording) -> None:
    at = recording.find("run.claimed", "step.reset")
    recording.edit(at, "run.claimed", epoch=1)
    at_epoch(recording, at, 1)


@breaks("epoch-step")
def a_claim_that_skips_an_epoch(recording: Recording) -> None:
    at_epoch(recording, recording.find("run.claimed"), 2)


@breaks("fact-foreign")
def a_fact_of_another_run(recording: Recording) -> None:
    recording.edit(recording.find("run.claimed"), "run.claimed", run_id="run_other")


@breaks("fact-epoch")
def a_frame_that_names_another_epoch(recording: Recording) -> None:
    recording.edit(recording.find("run.claimed"), "run.claimed", epoch=7)


@breaks("fact-time")
def a_fact_by_a_clock_that_is_ahead(recording: Recording) -> None:
    at = recording.find("run.claimed")
    ahead = recording.steps[at[0]].at + timedelta(seconds=1)
    recording.edit(at, "run.claimed", at=ahead.isoformat())


@breaks("session-busy-twice")
def two_active_runs_of_a_session(recording: Recording) -> None:
    first, second = recording.find("run.created"), recording.find("run.created", nth=1)
    session = recording.news(first).session_id
    recording.put(second, replace(recording.news(second), session_id=session))
    recording.edit(second, "run.created", session_id=session)
    recording.steps.insert(first[0] + 1, recording.steps.pop(second[0]))


@breaks("turn-order")
def a_turn_is_left_out(recording: Recording) -> None:
    recording.edit(recording.find("run.created", nth=1), "run.created", turn=3)


@breaks("lease-stolen")
def a_take_over_before_the_lease_is_over(recording: Recording) -> None:
    at = recording.find("run.claimed", "step.reset")
    longer(recording, at)


@breaks("lease-stolen")
def a_worker_is_lost_before_its_lease_is_over(recording: Recording) -> None:
    lost = [
        n
        for n, s in enumerate(recording.steps)
        if any(b"worker_lost" in d for c in records(s.written.news) for d in c.record.data)
    ]
    longer(recording, (lost[0], 0))


def longer(recording: Recording, at: Found) -> None:
    """The lease that ended when somebody took it was in truth longer."""
    run_id, held = recording.news(at).run_id, recording.steps[at[0] - 1].rows.leases
    ended = held[run_id]
    for step in recording.steps[: at[0]]:
        if step.rows.leases.get(run_id) == ended:
            step.rows.leases[run_id] = recording.steps[at[0]].at + timedelta(microseconds=1)


@breaks("takeovers-exceeded")
def a_fourth_take_over(recording: Recording) -> None:
    at = recording.find("run.failed", nth=1)
    news = recording.news(at)
    claim = fact(recording, at, "run.claimed", epoch=5, worker="w9")
    reset = fact(recording, at, "step.reset", to_seq=0, closes=[])
    before = replace(news, record=replace(news.record, first_seq=news.record.first_seq - 1, data=(b"",)))
    recording.put(at, following(before, claim, reset, epoch=5))


@breaks("reset-target")
def a_reset_to_no_checkpoint(recording: Recording) -> None:
    recording.edit(recording.find("step.reset"), "step.reset", to_seq=3)


@breaks("reset-target")
def a_reset_to_the_start_past_a_checkpoint(recording: Recording) -> None:
    recording.edit(recording.find("run.released", "step.reset"), "step.reset", to_seq=0)


@breaks("reset-missing")
def a_release_that_voids_nothing(recording: Recording) -> None:
    at = recording.find("run.released", "step.reset")
    news = recording.news(at)
    recording.put(at, replace(news, record=replace(news.record, data=news.record.data[:1])))


@breaks("release-foreign")
def a_release_by_somebody_else(recording: Recording) -> None:
    recording.edit(recording.find("run.released"), "run.released", worker="w9")


# Approvals.


@breaks("approval-reused")
def an_approval_is_asked_for_twice(recording: Recording) -> None:
    at = recording.find("run.suspended", nth=1)
    recording.edit(at, "approval.requested", approval_id="1.1.a1")


@breaks("approval-unbound")
def other_arguments_than_the_digest(recording: Recording) -> None:
    recording.edit(recording.find("run.suspended"), "approval.requested", arguments={"sum": 1000})


@breaks("approval-unlisted")
def a_wait_that_does_not_say_for_what(recording: Recording) -> None:
    recording.edit(recording.find("run.suspended"), "run.suspended", approvals=["1.1.a1"])


@breaks("approval-unknown")
def a_decision_about_nothing(recording: Recording) -> None:
    recording.edit(recording.find("approval.decided"), "approval.decided", approval_id="1.1.a9")


@breaks("decided-twice")
def an_approval_is_decided_twice(recording: Recording) -> None:
    recording.edit(recording.find("run.resumed"), "approval.decided", approval_id="1.1.a2")


@breaks("resume-wrong")
def a_run_goes_on_with_approvals_open(recording: Recording) -> None:
    at = recording.find("approval.decided")
    news = recording.news(at)
    resumed = following(news, fact(recording, at, "run.resumed", epoch=1)).record.data
    recording.put(at, replace(news, record=replace(news.record, data=news.record.data + resumed)))


@breaks("resume-wrong")
def a_run_waits_for_nothing(recording: Recording) -> None:
    at = recording.find("run.resumed")
    news = recording.news(at)
    recording.put(at, replace(news, record=replace(news.record, data=news.record.data[:-1])))


@breaks("expired-early")
def an_approval_expires_before_its_deadline(recording: Recording) -> None:
    recording.edit(recording.find("approval.decided"), "approval.decided", by="reattach", reason="expired")


@breaks("approval-deadline")
def an_approval_stays_open_for_longer_than_asked(recording: Recording) -> None:
    step = next(n for n, s in enumerate(recording.steps) if _asks_for_ten_seconds(s.group[0]))
    recording.edit((step, 0), "approval.requested", expires_at="2099-01-01T00:00:00Z")


def _asks_for_ten_seconds(work: Work) -> bool:
    requests: list[ApprovalRequest] = [] if isinstance(work, Append) else circumstances(work).get("requests", [])
    return [request.timeout_s for request in requests] == [10]


@breaks("decided-late")
def an_approval_is_given_after_its_deadline(recording: Recording) -> None:
    expired = [
        n
        for n, s in enumerate(recording.steps)
        for c in records(s.written.news)
        if b'"reason":"expired"' in c.record.data[0]
    ]
    recording.edit((expired[0], 0), "approval.decided", outcome="approve", reason=None, by="ada")


@breaks("approval-left-open")
def a_cancel_leaves_an_approval_open(recording: Recording) -> None:
    at = recording.find("approval.decided", "run.cancelled")
    news = recording.news(at)
    first = recording.news(at).record.first_seq
    cancelled = news.record.data[-1].replace(b'"seq":%d' % (first + 1), b'"seq":%d' % first)
    recording.put(at, replace(news, record=replace(news.record, data=(cancelled,))))


@breaks("approval-left-open")
def a_cancel_closes_an_approval_as_given(recording: Recording) -> None:
    recording.edit(recording.find("approval.decided", "run.cancelled"), "approval.decided", outcome="approve")
