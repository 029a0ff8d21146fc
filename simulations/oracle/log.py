"""The oracle's own copy of every run's log, taken from the news of commits and from nothing else.

What must hold for any log stands here: seqs from 1 without gap or overlap, lines that say themselves where they
stand, and nothing after a terminal frame. What the frames mean is the other checkers' business.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from ...domain.identifiers import RunId, SessionId
from ...domain.ports import Committed
from ...domain.request_config import RequestConfig
from ..violation import Violation
from .sessionlog import SessionLog

TERMINAL: Final = frozenset({"run.completed", "run.failed", "run.cancelled"})

_HEAD: Final = b'{"type":"'


class RunLog:
    """One run's frames as they were committed: `lines`, and for each the epoch of its record and its time.

    `records` are where records begin; `terminal` is the seq of the terminal frame. `config` is what its readers are
    shown, as it was when the run was created.
    """

    __slots__ = ("config", "epochs", "lines", "records", "run_id", "session_id", "terminal", "times")

    def __init__(self, run_id: RunId, session_id: SessionId) -> None:
        self.run_id = run_id
        self.session_id = session_id
        self.lines: list[bytes] = []
        self.epochs: list[int] = []
        self.times: list[datetime] = []
        self.records: set[int] = set()
        self.terminal: int | None = None
        self.config = RequestConfig()

    @property
    def head(self) -> int:
        """The seq of the last frame."""
        return len(self.lines)

    def holds(self, first_seq: int, epoch: int, data: Sequence[bytes]) -> bool:
        """Whether exactly this record was committed."""
        begin, end = first_seq - 1, first_seq - 1 + len(data)
        if first_seq not in self.records or not data or self.lines[begin:end] != list(data):
            return False
        whole = end == self.head or end + 1 in self.records
        return whole and self.epochs[begin] == epoch


class Log:
    """All runs' logs. Sessions know their runs in the order of their turns; `sessions` is what befell them."""

    def __init__(self) -> None:
        self.sessions: dict[SessionId, SessionLog] = {}
        self._runs: dict[RunId, RunLog] = {}
        self._sessions: dict[SessionId, list[RunId]] = {}

    def frame(self, run_id: RunId, seq: int) -> tuple[int, bytes] | None:
        """The epoch and the line at this seq, or None if nothing was committed there."""
        run = self._runs.get(run_id)
        if run is None or not 1 <= seq <= run.head:
            return None
        return run.epochs[seq - 1], run.lines[seq - 1]

    def committed_at(self, run_id: RunId, seq: int) -> datetime | None:
        """When this frame became durable, by the store's clock."""
        run = self._runs.get(run_id)
        return run.times[seq - 1] if run is not None and 1 <= seq <= run.head else None

    def head(self, run_id: RunId) -> int:
        """The last seq; 0 for a run nobody has heard of."""
        run = self._runs.get(run_id)
        return run.head if run is not None else 0

    def terminal(self, run_id: RunId) -> int | None:
        """The seq of the terminal frame, or None while the run has not ended."""
        run = self._runs.get(run_id)
        return run.terminal if run is not None else None

    def run(self, run_id: RunId) -> RunLog | None:
        """One run's log."""
        return self._runs.get(run_id)

    def runs(self, session_id: SessionId) -> Sequence[RunId]:
        """The session's runs in the order of their turns."""
        return self._sessions.get(session_id, ())

    def begun(self, session_id: SessionId) -> Sequence[RunId]:
        """Those of the session's runs whose turn has come."""
        log, runs = self.sessions.get(session_id), self.runs(session_id)
        return runs if log is None or not log.queue else tuple(run_id for run_id in runs if run_id not in log.queue)

    def unended(self) -> Sequence[RunId]:
        """Every run without a terminal frame."""
        return tuple(run_id for run_id, run in self._runs.items() if run.terminal is None)

    def all(self) -> Sequence[RunId]:
        """Every run, in the order of creation."""
        return tuple(self._runs)

    def extend(self, news: Committed, at: datetime) -> tuple[RunLog, list[str]]:
        """Take the record in; its run and its frames' types.

        Raises stream-gap, stream-overlap, frame-misplaced, after-terminal, record-empty or session-changed.
        """
        record, run_id = news.record, news.run_id
        run = self._runs.get(run_id)
        if run is None:
            run = self._runs[run_id] = RunLog(run_id, news.session_id)
            self._sessions.setdefault(news.session_id, []).append(run_id)
        if record.first_seq != run.head + 1:
            gap = record.first_seq > run.head + 1
            name, what = ("stream-gap", "leaves a gap") if gap else ("stream-overlap", "stands over older frames")
            detail = f"A record at seq {record.first_seq} {what}: the log of {run_id} ends at {run.head}."
            raise Violation(name, detail, run_id=run_id, seq=record.first_seq, head=run.head)
        if run.terminal is not None:
            detail = f"A record follows the terminal frame {run.terminal} of {run_id}."
            raise Violation("after-terminal", detail, run_id=run_id, seq=record.first_seq, terminal=run.terminal)
        if not record.data:
            raise Violation("record-empty", f"A record of {run_id} carries no frame.", run_id=run_id, seq=run.head)
        if news.session_id != run.session_id:
            detail = f"{run_id} of {run.session_id} has become one of {news.session_id}."
            raise Violation("session-changed", detail, run_id=run_id, session_id=news.session_id)
        kinds = self._take(run, record.first_seq, record.data)
        count = len(record.data)
        run.records.add(record.first_seq)
        run.lines += record.data
        run.epochs += [record.epoch] * count
        run.times += [at] * count
        return run, kinds

    @staticmethod
    def _take(run: RunLog, first_seq: int, data: Sequence[bytes]) -> list[str]:
        kinds: list[str] = []
        for seq, line in enumerate(data, first_seq):
            kind = type_at(line, seq)
            if kind is None:
                detail = f"The line at seq {seq} of {run.run_id} says otherwise of itself: {line[:60]!r}."
                raise Violation("frame-misplaced", detail, run_id=run.run_id, seq=seq)
            if run.terminal is not None:
                detail = f"A frame follows the terminal frame {run.terminal} of {run.run_id} in its record."
                raise Violation("after-terminal", detail, run_id=run.run_id, seq=seq, terminal=run.terminal)
            if kind in TERMINAL:
                run.terminal = seq
            kinds.append(kind)
        return kinds


def type_at(line: bytes, seq: int) -> str | None:
    """The type of a stored line, or None unless it begins as a line at this seq does. Parses nothing."""
    end = line.find(b'"', len(_HEAD))
    after = b',"seq":%d' % seq
    if end < 0 or not line.startswith(_HEAD) or not line.startswith(after, end + 1):
        return None
    following = end + 1 + len(after)
    return line[len(_HEAD) : end].decode() if line[following : following + 1] in (b",", b"}") else None
