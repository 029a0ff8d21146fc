"""What became of each work of a group: its result is what landed, no more and no less.

No acknowledged loser, no loser that landed, no append twice; an answer shows what the log says; one key, one answer.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

from ...domain.agent import ApprovalRequest
from ...domain.errors import (
    AppendConflict,
    DecisionConflict,
    IllegalTransition,
    RunClosed,
    SessionBusy,
    StaleEpoch,
)
from ...domain.identifiers import RunId
from ...domain.ports import Append, Committed, RunView
from ...domain.requests import Assignment, Idempotency
from ...domain.run import Run
from ...infrastructure.eventstore.writer import Result, Work, Written
from ..store.core import records
from ..violation import Violation
from .grammar import OUTPUT
from .keys import Keys
from .log import type_at
from .safety import Safety
from .state import FINAL, RUNNING

_REFUSALS: Final = (StaleEpoch, RunClosed, AppendConflict)
_APPEND_MARKS: Final[Mapping[type[Exception], str]] = {
    StaleEpoch: "append-fenced",
    AppendConflict: "append-conflict",
    RunClosed: "append-closed",
}
_COMMAND_MARKS: Final[Mapping[type[Exception], str]] = {
    StaleEpoch: "zombie-refused",
    IllegalTransition: "command-refused",
    SessionBusy: "session-busy",
    DecisionConflict: "decision-conflict",
}
_Key = tuple[RunId, int]

ROUNDING_S: Final = 0.001
"""Seconds by which a time may differ that was written down and read again."""


class Works:
    """Judges results against what `safety` has just learned of the group's news."""

    def __init__(
        self, safety: Safety, now: Callable[[], datetime], mark: Callable[[str], None], retention_s: float
    ) -> None:
        self._safety = safety
        self._log = safety.log
        self._mark = mark
        self._keys = Keys(now, mark, retention_s)

    def group(
        self,
        group: Sequence[Work],
        written: Written,
        asked: Sequence[Mapping[str, Any] | None],
        heads: Mapping[RunId, int],
    ) -> None:
        """`asked` are the circumstances of those that are no appends, `heads` where the logs of the runs in the news
        ended before. Raises a Violation."""
        if len(written.results) != len(group):
            detail = f"{len(group)} works were written and {len(written.results)} have a result."
            raise Violation("result-missing", detail)
        landed, facts = _sorted(records(written.news)) if written.news else ({}, [])
        if len(group) > 1:
            self._mark("group-of-many")
        lost = 0
        for work, result, circumstances in zip(group, written.results, asked, strict=True):
            lost += result.error is not None
            if isinstance(work, Append):
                self._append(work, result, landed, alone=len(group) == 1)
            elif circumstances is not None:
                self._command(circumstances, result, heads)
        if landed:
            self._unasked(group, written, landed)
        if facts and not any(r.error is None and not isinstance(w, Append) for w, r in _pairs(group, written)):
            detail = f"A {facts[0]} record landed in a group without a transaction that succeeded."
            raise Violation("loser-landed", detail, type=facts[0])
        if 0 < lost < len(group):
            self._mark("loser-in-group")

    # Appends.

    def _append(self, work: Append, result: Result, landed: dict[_Key, Committed], *, alone: bool) -> None:
        """Raises acknowledged-loser, landed-but-refused or refused-without-cause."""
        batch, run_id = work.batch, work.run_id
        if result.error is None:
            if _same(work, landed.get((run_id, batch.first_seq))):
                del landed[run_id, batch.first_seq]
            elif self._stands(work):
                self._mark("append-repeated")
            else:
                detail = f"An append to {run_id} at {batch.first_seq} was acknowledged; the log does not have it."
                raise Violation("acknowledged-loser", detail, run_id=run_id, seq=batch.first_seq, epoch=work.epoch)
            return
        if not isinstance(result.error, _REFUSALS):
            return
        if self._stands(work) and not _same(work, landed.get((run_id, batch.first_seq))):
            detail = f"An append to {run_id} at {batch.first_seq} came again and was refused; the log has it."
            raise Violation("landed-but-refused", detail, run_id=run_id, seq=batch.first_seq, epoch=work.epoch)
        run = self._safety.runs.get(run_id)
        fits = run is not None and (batch.first_seq, work.epoch) == (run.log.head + 1, run.now.epoch)
        if alone and fits and run is not None and run.now.status == RUNNING:
            detail = f"An append to {run_id} at {batch.first_seq} was refused ({result.error.code}); it would fit."
            raise Violation("refused-without-cause", detail, run_id=run_id, seq=batch.first_seq)
        self._mark(_APPEND_MARKS[type(result.error)])

    def _stands(self, work: Append) -> bool:
        run = self._log.run(work.run_id)
        return run is not None and run.holds(work.batch.first_seq, work.epoch, work.batch.data)

    def _unasked(self, group: Sequence[Work], written: Written, landed: dict[_Key, Committed]) -> None:
        """Output that no successful work of the group claims. Raises loser-landed or output-unasked."""
        for (run_id, seq), news in landed.items():
            losers = (w for w, r in _pairs(group, written) if r.error is not None and isinstance(w, Append))
            if any(_same(work, news) for work in losers):
                detail = f"An append to {run_id} at {seq} was answered with an error, and landed."
                raise Violation("loser-landed", detail, run_id=run_id, seq=seq)
            raise Violation(
                "output-unasked", f"Nobody appended what landed in {run_id} at {seq}.", run_id=run_id, seq=seq
            )

    # Transactions.

    def _command(self, asked: Mapping[str, Any], result: Result, heads: Mapping[RunId, int]) -> None:
        key, tenant = asked.get("idempotency"), asked.get("tenant")
        if isinstance(key, Idempotency) and isinstance(tenant, str):
            self._keys.judge(tenant, key, result)
        if result.error is not None:
            mark = _COMMAND_MARKS.get(type(result.error))
            if mark is not None:
                self._mark(mark)
            return
        if isinstance(asked.get("epoch"), int) and isinstance(asked.get("run_id"), str):
            self._held(asked["run_id"], asked["epoch"], heads)
            if "requests" in asked:
                self._deadlines(asked["run_id"], asked["requests"])
        value = result.value
        if isinstance(value, RunView):
            self._view(value, heads, repeated="decisions" in asked, cancels="reason" in asked)
        elif isinstance(value, Run):
            self._run(value)
        elif isinstance(value, list | tuple):
            items = cast("Sequence[Any]", value)
            for item in items:
                if isinstance(item, Assignment):
                    self._assignment(item)
            if "held" in asked:
                self._renewed(asked, items, heads)

    def _held(self, run_id: RunId, epoch: int, heads: Mapping[RunId, int]) -> None:
        """A worker's command succeeded. Raises zombie-command unless the run was its worker's."""
        run = self._safety.runs.get(run_id)
        moments = run.since(heads.get(run_id, run.log.head)) if run is not None else []
        if not any(moment.epoch == epoch and moment.status == RUNNING for moment in moments):
            detail = f"A command on {run_id} under epoch {epoch} succeeded; the run was {moments[:1]}."
            raise Violation("zombie-command", detail, run_id=run_id, epoch=epoch)

    def _deadlines(self, run_id: RunId, requests: Sequence[ApprovalRequest]) -> None:
        """Raises approval-deadline unless each approval stays open for as long as was asked."""
        approvals = self._safety.runs[run_id].approvals
        for request, approval_id in zip(requests, approvals.last, strict=True):
            asked = approvals.known[approval_id]
            open_s = (asked.expires_at - datetime.fromisoformat(asked.asked["at"])).total_seconds()
            if request.timeout_s is not None and abs(open_s - request.timeout_s) > ROUNDING_S:
                detail = f"{approval_id} of {run_id} is open for {open_s} s; asked for were {request.timeout_s} s."
                raise Violation("approval-deadline", detail, run_id=run_id, approval_id=approval_id)

    def _view(self, view: RunView, heads: Mapping[RunId, int], *, repeated: bool, cancels: bool) -> None:
        """Raises answer-not-in-log unless the run was what the answer says when its log ended there."""
        run = self._safety.runs.get(view.run.run_id)
        moment = run.at(view.head_seq) if run is not None and view.head_seq <= run.log.head else None
        if moment is None or (moment.status, moment.epoch) != (view.run.status, view.run.epoch):
            detail = f"{view.run.run_id} is answered as {view.run.status} at {view.head_seq}; the log says {moment}."
            raise Violation("answer-not-in-log", detail, run_id=view.run.run_id, head=view.head_seq)
        if view.run.run_id not in heads:
            if cancels and view.run.status in FINAL:
                self._mark("cancel-ended")
            if repeated:
                self._mark("decision-repeated")

    def _run(self, made: Run) -> None:
        """Raises answer-not-in-log unless the run began, in this place."""
        run = self._safety.runs.get(made.run_id)
        place = (run.session.session_id, run.job_id, run.turn, run.attempt) if run is not None else None
        if place != (made.session_id, made.job_id, made.turn, made.attempt):
            detail = f"{made.run_id} is answered as turn {made.turn} of {made.session_id}; the log says {place}."
            raise Violation("answer-not-in-log", detail, run_id=made.run_id)

    def _assignment(self, item: Assignment) -> None:
        """The log has this claim, ends there, and says what was decided.

        Raises assignment-wrong, decisions-of-another-wait or decision-altered.
        """
        run = self._safety.runs.get(item.run.run_id)
        seq = item.next_seq - 1
        moment = run.at(seq) if run is not None and seq <= run.log.head else None
        claimed = moment is not None and (moment.seq, moment.status) == (seq, RUNNING)
        if (
            run is None
            or moment is None
            or not claimed
            or (moment.epoch, moment.worker) != (item.run.epoch, item.run.worker)
        ):
            detail = f"{item.run.run_id} was assigned to {item.run.worker} at {seq}; the log says {moment}."
            raise Violation("assignment-wrong", detail, run_id=item.run.run_id, seq=seq)
        decided = [approval.approval_id for approval in item.run.decisions]
        if decided != run.approvals.last:
            detail = f"{item.run.run_id} goes on with {decided}; what it waited for last is {run.approvals.last}."
            raise Violation("decisions-of-another-wait", detail, run_id=item.run.run_id)
        for approval in item.run.decisions:
            asked = run.approvals.known.get(approval.approval_id)
            said = (approval.outcome, approval.decided_arguments, approval.tool, approval.reason, approval.by)
            if asked is None or said != (
                asked.outcome, asked.arguments, asked.asked["tool"], asked.reason, asked.by
            ):  # fmt: skip
                detail = f"{item.run.run_id} goes on with {approval.approval_id} as {said}; the log says {asked}."
                raise Violation("decision-altered", detail, run_id=item.run.run_id, approval_id=approval.approval_id)

    def _renewed(self, asked: Mapping[str, Any], lost: Sequence[Any], heads: Mapping[RunId, int]) -> None:
        """Raises renewed-by-stranger, or lease-denied: what is not lost is held, and what is lost is not."""
        worker = asked.get("worker")
        for run_id, epoch in asked["held"]:
            run = self._safety.runs.get(run_id)
            moments = run.since(heads.get(run_id, run.log.head)) if run is not None else []
            holds = [m.status == RUNNING and m.epoch == epoch and m.worker == worker for m in moments]
            if run_id not in lost and not any(holds):
                detail = f"{worker} prolonged its lease on {run_id} under epoch {epoch}; the run is {moments}."
                raise Violation("renewed-by-stranger", detail, run_id=run_id, epoch=epoch)
            if run_id in lost and all(holds) and holds:
                detail = f"{worker} was told that it has lost {run_id}, which it holds under epoch {epoch}."
                raise Violation("lease-denied", detail, run_id=run_id, epoch=epoch)
            if run_id in lost:
                self._mark("lease-lost")


def _sorted(news: Sequence[Committed]) -> tuple[dict[_Key, Committed], list[str]]:
    """The records of output by their place, and the types that the records of facts begin with."""
    landed: dict[_Key, Committed] = {}
    facts: list[str] = []
    for item in news:
        kind = type_at(item.record.data[0], item.record.first_seq) or ""
        if kind in OUTPUT:
            landed[item.run_id, item.record.first_seq] = item
        else:
            facts.append(kind)
    return landed, facts


def _pairs(group: Sequence[Work], written: Written) -> Sequence[tuple[Work, Result]]:
    return tuple(zip(group, written.results, strict=True))


def _same(work: Append, news: Committed | None) -> bool:
    return (
        news is not None
        and work.run_id == news.run_id
        and (work.epoch, work.batch.first_seq) == (news.record.epoch, news.record.first_seq)
        and (work.batch.data is news.record.data or work.batch.data == news.record.data)
    )
