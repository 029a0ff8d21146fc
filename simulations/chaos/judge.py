"""The judge of one session's life: the simulator's own oracle, told of the log when all of it is known.

What it is told of at each commit in a simulated world (leases, idempotency rows, who waited for whom) is not seen from
outside; what the log itself says, and what everybody was answered and shown, is.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, Final

from pydantic_core import from_json

from ...domain.identifiers import RunId
from ...domain.ports import Committed, Damaged, Record
from ..oracle import projections
from ..oracle.grammar import OUTPUT
from ..oracle.log import Log, type_at
from ..oracle.outputs import check_outputs
from ..oracle.races import check_races
from ..oracle.safety import Safety
from ..oracle.state import FINAL
from ..process import EPOCH
from ..violation import Violation
from ..workload.agents import SPOKEN
from ..workload.board import Board
from .recorder import Mark, RecordedDelivery, RecordedFollowing
from .rows import Rows

CLAIMS: Final = ("run.claimed", "step.reset")
"""The last frames of records under which a worker gets a lease."""


OVERLAP_S: Final = 0.5
"""Seconds by which a run may seem to begin before the one before it has ended: a transaction may take its time from its
beginning, and wait for the session."""


class Judge:
    """Takes a session's rows in, run by run, as they were committed; then what people were shown and answered."""

    def __init__(self, rows: Rows, lease_s: float, mark: Mark) -> None:
        self.log = Log()
        self._rows = rows
        self._lease = timedelta(seconds=lease_s)
        self._mark = mark
        self._now = EPOCH
        self.safety = Safety(self.log, lambda: self._now, mark, _intent)

    def judge(
        self,
        told: Sequence[RunId],
        board: Board,
        deliveries: Sequence[RecordedDelivery],
        followings: Sequence[RecordedFollowing],
    ) -> None:
        """`told` are the runs that somebody was told of when starting them. Raises a Violation."""
        for run_id, records in self._rows.records.items():
            self._run(run_id, records)
        self._all_there(told)
        self._one_by_one()
        for run in self.safety.runs.values():
            projections.check_rows(self._rows, run)
            projections.check_head(self._rows, run)
            projections.check_folds(self._rows, run)
        check_outputs(self._rows, self.safety.runs, SPOKEN, {})
        check_races(board.decisions, board.endings, self.safety)
        for delivery in deliveries:
            delivery.judge(self.log, self._mark)
        for following in followings:
            following.judge(self.log)

    def _run(self, run_id: RunId, records: Sequence[Record | Damaged]) -> None:
        for record in records:
            if isinstance(record, Damaged):
                detail = f"The record at {record.first_seq} of {run_id} can't be read."
                raise Violation("record-damaged", detail, run_id=run_id, seq=record.first_seq)
            last = record.data[-1]
            kind = type_at(last, record.last_seq)
            if kind not in OUTPUT:  # output does not say when it was committed
                self._now = datetime.fromisoformat(from_json(last)["at"])
            state = self.safety.record(Committed(run_id, self._rows.session_id, record))
            if record.first_seq == 1:
                state.log.config = self._rows.views[run_id].run.request_config
            if kind in CLAIMS and state.now.worker is not None:
                state.lease = self._now + self._lease

    def _all_there(self, told: Sequence[RunId]) -> None:
        """Raises run-lost, run-unasked or run-stuck."""
        for run_id in told:
            if run_id not in self.safety.runs:
                raise Violation("run-lost", f"Somebody was told of {run_id}, and it is not there.", run_id=run_id)
        for run_id, run in self.safety.runs.items():
            if run_id not in told:
                raise Violation("run-unasked", f"Nobody was told of {run_id}, and it is there.", run_id=run_id)
            if run.now.status not in FINAL:
                raise Violation("run-stuck", f"{run_id} is still {run.now.status}.", run_id=run_id)

    def _one_by_one(self) -> None:
        """Raises session-busy-twice: the oracle is told of one run after the other, and can't see that two overlap."""
        runs = [run.log for run in self.safety.runs.values()]
        for before, after in pairwise(runs):
            overlap = before.times[-1] - after.times[0]
            if overlap > timedelta(seconds=OVERLAP_S):
                detail = f"{after.run_id} began {overlap} before {before.run_id} had ended."
                raise Violation("session-busy-twice", detail, run_id=after.run_id)


def _intent(frame: Mapping[str, Any]) -> str | None:
    """Every wish has words of its own."""
    prompt = frame["prompt"]
    return prompt if isinstance(prompt, str) else None
