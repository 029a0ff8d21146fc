"""The oracle: told of each committed group, it says whether anything it promises was broken.

`Oracle.committed` is called after each group, before anybody hears of the commit. It keeps its own copy of every log
(`log.py`), judges each record against the past (`safety.py`, `grammar.py`, `approvals.py`), each result against what
landed (`works.py`), the rows that are not history (`rows.py`) and the projections (`projections.py`). Histories of
clients are checked for linearizability by `histories.py`. `marks.py` names what must have been reached.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from ...domain.identifiers import RunId, SessionId
from ...domain.ports import Append
from ...domain.requests import Limits
from ...domain.session_facts import SessionFact
from ...infrastructure.eventstore.writer import Work, Written
from ..store.core import records
from . import projections
from .asked import circumstances
from .log import Log
from .marks import MARKS
from .rows import Leases, Readable, check_checkpoint
from .safety import Safety
from .sessions import SessionRows, Sessions
from .state import FINAL, RunState
from .works import Works
from .writers import Writers

__all__ = ["MARKS", "Log", "Oracle", "Readable"]

LOOK_GROWTH: Final = 2.0
"""Times as long the log must be before output makes the oracle fold it again: so a frame costs the same in any log."""


class Oracle:
    """Judges commits. `log` is its copy of every run's log, `safety.runs` what it knows of the runs.

    `now` is the store's clock, `mark` is told of each interesting thing reached (MARKS). `retention_s` is how long
    the store keeps Idempotency-Keys. `rows` are the same store's sessions, if they are to be judged; `tell` gets each
    of their facts, `grace_s` is how long a session is left alone before it may be summarized. `intent_of` may tell from
    a run.created frame which wish of a client it fulfils.
    """

    def __init__(
        self,
        core: Readable,
        now: Callable[[], datetime],
        mark: Callable[[str], None],
        *,
        retention_s: float = Limits().idempotency_retention_s,
        intent_of: Callable[[Mapping[str, Any]], str | None] | None = None,
        rows: SessionRows | None = None,
        tell: Callable[[SessionId, SessionFact], None] = lambda _, __: None,
        grace_s: float = Limits().session_grace_s,
    ) -> None:
        self.core = core
        self.log = Log()
        self.safety = Safety(self.log, now, mark, intent_of)
        self._works = Works(self.safety, now, mark, retention_s)
        self._leases = Leases(core, now, mark)
        self.sessions: Sessions | None = None
        if rows is not None:
            self.sessions = Sessions(rows, self.log, now, mark, tell=tell, grace_s=grace_s)
            self._writers = Writers(self.sessions, now, mark)

    def committed(self, group: Sequence[Work], written: Written) -> None:
        """Judge a group that was just committed. Raises a Violation."""
        heads: dict[RunId, int] = {}
        facts: dict[RunId, RunState] = {}
        looks: list[RunState] = []
        begun = self._sessions_moved(written)
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
        for session_id, run_id, turn in begun:
            self.safety.begin(session_id, run_id, turn)
        asked = [None if isinstance(work, Append) else circumstances(work) for work in group]
        self._works.group(group, written, asked, heads)
        if self.sessions is not None:
            for run in facts.values():
                self.sessions.check_turn(run)
            if written.news:
                self.sessions.rows(written.news)
            self._judge_writers(self.sessions, asked, written)
        appends = [work for work in group if isinstance(work, Append) and work.batch.checkpoint is not None]
        if len(appends) < len(group) and any(not isinstance(work, Append) for work in group):
            self._leases.after(facts.values())
        if facts or appends:
            self._rows(facts, appends)
        for run in looks:
            projections.check_head(self.core, run)
            projections.check_snapshot(self.core, run)

    def next_end(self, after: float) -> float | None:
        """The next second of the world at which a session's lease, claim or handoff ends."""
        return self.sessions.next_end(after) if self.sessions is not None else None

    def handing(self) -> str | None:
        """A handoff that has not ended."""
        return self.sessions.handing() if self.sessions is not None else None

    def settled(self) -> None:
        """Everybody is served: what sessions remember is whole, and no handoff is left. Raises a Violation."""
        if self.sessions is not None:
            self.sessions.check_chains()

    def _sessions_moved(self, written: Written) -> list[tuple[SessionId, RunId, int]]:
        """What the group's session facts say; the turns that began of runs that had waited."""
        if self.sessions is None:
            return []
        queued, begun = self.sessions.facts(written.news)
        if queued:
            self.safety.queued |= dict.fromkeys(queued)
        return [turn for turn in begun if turn[1] in self.safety.queued] if begun else []

    def _judge_writers(self, sessions: Sessions, asked: Sequence[Mapping[str, Any] | None], written: Written) -> None:
        pairs = zip(asked, written.results, strict=True)
        wrote = [named for one, result in pairs if one is not None and (named := self._writers.judge(one, result))]
        sessions.leases(wrote)

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
