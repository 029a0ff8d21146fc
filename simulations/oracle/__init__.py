"""The oracle: told of each committed group, it says whether anything it promises was broken.

`Oracle.committed` is called after each group, before anybody hears of the commit. It keeps its own copy of every log
(`log.py`), judges each record against the past (`safety.py`, `grammar.py`, `approvals.py`), each result against what
landed (`works.py`), the rows that are not history (`rows.py`) and the projections (`projections.py`). Histories of
clients are checked for linearizability by `histories.py`. `marks.py` names what must have been reached.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from ...domain.identifiers import RunId
from ...domain.ports import Append
from ...domain.requests import Limits
from ...infrastructure.eventstore.writer import Work, Written
from ..store.core import records
from . import projections
from .log import Log
from .marks import MARKS
from .rows import Leases, Readable, check_checkpoint
from .safety import Safety
from .state import FINAL, RunState
from .works import Works

__all__ = ["MARKS", "Log", "Oracle", "Readable"]

LOOK_GROWTH: Final = 2.0
"""Times as long the log must be before output makes the oracle fold it again: so a frame costs the same in any log."""


class Oracle:
    """Judges commits. `log` is its copy of every run's log, `safety.runs` what it knows of the runs.

    `now` is the store's clock, `mark` is told of each interesting thing reached (MARKS). `retention_s` is how long
    the store keeps Idempotency-Keys. `intent_of` may tell from a run.created frame which wish of a client it fulfils.
    """

    def __init__(
        self,
        core: Readable,
        now: Callable[[], datetime],
        mark: Callable[[str], None],
        *,
        retention_s: float = Limits().idempotency_retention_s,
        intent_of: Callable[[Mapping[str, Any]], str | None] | None = None,
    ) -> None:
        self.core = core
        self.log = Log()
        self.safety = Safety(self.log, now, mark, intent_of)
        self._works = Works(self.safety, now, mark, retention_s)
        self._leases = Leases(core, now, mark)

    def committed(self, group: Sequence[Work], written: Written) -> None:
        """Judge a group that was just committed. Raises a Violation."""
        heads: dict[RunId, int] = {}
        facts: dict[RunId, RunState] = {}
        looks: list[RunState] = []
        for news in records(written.news):
            heads.setdefault(news.run_id, self.log.head(news.run_id))
            run = self.safety.record(news)
            if news.record.first_seq == 1:
                self._configured(run)
            if run.now.seq == run.log.head:
                facts[news.run_id] = run
            elif run.log.head >= run.look_at:
                run.look_at = int(run.log.head * LOOK_GROWTH) + 1
                looks.append(run)
        self._works.group(group, written, heads)
        appends = [work for work in group if isinstance(work, Append) and work.batch.checkpoint is not None]
        if len(appends) < len(group) and any(not isinstance(work, Append) for work in group):
            self._leases.after(facts.values())
        if facts or appends:
            self._rows(facts, appends)
        for run in looks:
            projections.check_head(self.core, run)
            projections.check_snapshot(self.core, run)

    def _configured(self, run: RunState) -> None:
        """A run has begun: what its readers are shown is settled."""
        view = self.core.run_view(run.run_id)
        if view is not None:
            run.log.config = view.run.request_config

    def _rows(self, facts: Mapping[RunId, RunState], appends: Sequence[Append]) -> None:
        saved = {work.run_id: self.safety.runs[work.run_id] for work in appends if work.run_id in self.safety.runs}
        for run in {**saved, **facts}.values():
            check_checkpoint(self.core, run, appends)
        for run in facts.values():
            projections.check_rows(self.core, run)
            if projections.ends_segment(run):
                projections.check_folds(self.core, run)
            if run.now.status in FINAL:
                projections.check_stored(self.core, run)
