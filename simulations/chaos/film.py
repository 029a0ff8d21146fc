"""What happened, as the timeline draws it: the last of it, because chaos goes on for long."""

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from ...domain.identifiers import RunId
from ...domain.ports import Damaged
from ..process import EPOCH
from ..trace import FORMAT, TIME_DECIMALS, Record, Recording
from ..violation import Violation
from .judge import Judge
from .rows import Rows

EVENTS_MAX: Final = 60_000
"""Events that are remembered."""

SHOWN_S: Final = 30.0
"""Seconds before the end that are drawn."""

SHOWN_MAX: Final = 1_500
"""Events that are drawn: more than that nobody looks at, and no browser likes."""

_PROCESS: Final = ("up", "down", "pause", "resume", "cut", "clog", "fault", "phase")


class Film:
    """Takes events as a trace does. `now` gives seconds since the world's beginning, `start` is when the film does."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.start = now()
        self._now = now
        self._events: deque[Record] = deque(maxlen=EVENTS_MAX)
        self.pids: dict[int, str] = {}
        """The label of each process there ever was."""

    def emit(self, kind: str, /, *, proc: str | None = None, **fields: Any) -> None:
        """Record an event that happens now."""
        self.at(self._now(), kind, proc=proc, **fields)

    def at(self, t: float, kind: str, /, *, proc: str | None = None, **fields: Any) -> None:
        """Record one that happened at another time."""
        self._events.append({"t": round(t - self.start, TIME_DECIMALS), "kind": kind, "proc": proc, **fields})

    def commits(self, rows: Rows, judge: Judge) -> None:
        """Tell of a session's commits, once they are known. Output does not say when it was written: right before the
        first reader saw it, or right after what stands before it."""
        seen = self._first_seen()
        for run_id, records in rows.records.items():
            writer, t = "", self.start
            for record in records:
                if isinstance(record, Damaged):
                    continue
                run = judge.log.run(run_id)
                kind, at = _last(record.data[-1])
                if at is not None:
                    t = (at - EPOCH).total_seconds()
                else:
                    t = max(t, min(seen.get((run_id, record.last_seq), math.inf), seen.get((run_id, 0), t)))
                state = judge.safety.runs.get(run_id)
                moment = state.at(record.last_seq) if state is not None else None
                writer = self._label(moment.worker) if moment is not None and moment.worker else writer
                news = {"run": run_id, "first": record.first_seq, "last": record.last_seq, "epoch": record.epoch}
                if run is not None:
                    self.at(t, "commit", proc=writer or None, news=[{**news, "type": kind}])

    def _first_seen(self) -> Mapping[tuple[RunId, int], float]:
        """When anybody first saw a frame, by run and the last seq of what came with it."""
        first: dict[tuple[RunId, int], float] = {}
        for event in self._events:
            if event["kind"] == "saw":
                first.setdefault((event["run"], event["last"]), event["t"] + self.start)
        return first

    def _label(self, worker: str) -> str:
        """A worker's process: its name is host:pid:random."""
        pid = worker.split(":")[1] if worker.count(":") == 2 else ""
        return self.pids.get(int(pid), worker) if pid.isdecimal() else worker

    def recording(self, violation: Violation | None, header: Mapping[str, Any]) -> Recording:
        """The end of the film. What befell processes is shown from further back than what befell readers."""
        events = sorted(self._events, key=lambda event: event["t"])
        end = events[-1]["t"] if events else 0.0
        if violation is not None:
            shown = _about(events, violation)
        else:
            shown = [event for event in events if event["t"] >= end - SHOWN_S]
        shown = shown[-SHOWN_MAX:]
        begin = shown[0]["t"] if shown else 0.0
        alive = _alive_at(events, begin)
        if violation is not None:
            fields = {name: str(value) for name, value in violation.fields.items()}
            told = {"name": violation.name, "detail": violation.detail, **fields}
            shown.append({"t": end, "kind": "violation", "proc": None, **told})
        records = [{**event, "n": n} for n, event in enumerate([*alive, *shown])]
        return Recording({"format": FORMAT, **header}, records, {"digest": ""})


def _about(events: Iterable[Record], violation: Violation) -> list[Record]:
    """Processes, and whatever names the run or the session that the violation does."""
    names = {str(value) for value in violation.fields.values() if str(value).startswith(("run_", "ses_"))}
    about = [event for event in events if event["kind"] in _PROCESS or any(name in str(event) for name in names)]
    own = [event["t"] for event in about if event["kind"] not in _PROCESS]
    begin, end = (min(own), max(own)) if own else (-math.inf, math.inf)
    return [event for event in about if begin - 1 <= event["t"] <= end + 1]


def _alive_at(events: Iterable[Record], begin: float) -> list[Record]:
    """The processes that were alive then, as if they had been started at that moment."""
    alive: dict[str, Record] = {}
    for event in events:
        if event["t"] >= begin:
            break
        if event["kind"] == "up":
            alive[event["proc"]] = {**event, "t": begin}
        elif event["kind"] == "down" and event.get("how") != "term":
            alive.pop(event["proc"], None)
    return list(alive.values())


def _last(line: bytes) -> tuple[str, datetime | None]:
    """A frame's type, and its time if it is a fact's."""
    kind = line[9 : line.index(b'"', 9)].decode()
    at = line.find(b'"at":"') if kind.startswith(("run.", "approval.", "step.reset")) else -1
    return kind, datetime.fromisoformat(line[at + 6 : line.index(b'"', at + 6)].decode()) if at >= 0 else None
