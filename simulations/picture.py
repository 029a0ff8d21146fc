"""What a timeline shows: lanes, bars, leases, commits and packets, laid out from a recording."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from . import words
from .axis import START, Axis
from .packets import Packets
from .trace import Record, Recording

_NAME: Final = re.compile(r"\b[A-Za-z]\w*(?:\.\d+)?")

NOT_LANES: Final = frozenset({None, "world", "loop", "net", "store"})
"""Who acts without being drawn as a process."""


@dataclass(slots=True)
class Lane:
    """A row: an incarnation of a process, or the log of a run."""

    id: str
    kind: str
    """`client`, `process` or `log`."""
    label: str
    bars: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Stretches: `from`, `to`, `state` (alive, paused), `how` it ended."""
    leases: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Runs it works on: `from`, `to`, `run`, `epoch`, `color`, `row`."""


@dataclass(slots=True)
class Picture:
    """All that is drawn, in units of the picture; every item names the event (`n`) it stands for."""

    width: float = 0.0
    lanes: list[Lane] = field(default_factory=list[Lane])
    commits: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    reads: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    packets: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    points: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    faults: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    phases: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    gaps: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    colors: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    names: dict[str, str] = field(default_factory=dict[str, str])
    """What stands for which identifier."""
    violation: dict[str, Any] | None = None


def draw(recording: Recording) -> Picture:
    """Lay a recording out."""
    return _Painter(recording.records).paint()


class _Painter:
    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self._axis = Axis(records)
        self._picture = Picture(width=self._axis.end)
        self._lanes: dict[str, Lane] = {}
        self._names = words.Nicknames()
        self._colors: dict[tuple[str, int], int] = {}
        self._held: set[tuple[str, int]] = set()
        self._open: dict[tuple[str, int], tuple[Lane, dict[str, Any]]] = {}
        self._packets = Packets()

    def paint(self) -> Picture:
        """Walk through the records once."""
        painted: dict[str, Callable[[Record, float], None]] = {
            "up": self._up, "down": self._down, "pause": self._pause, "resume": self._skip, "mark": self._skip,
            "commit": self._commit, "fact": self._fact, "saw": self._saw,
            "request": self._request, "answer": self._reply,
            "send": self._reply, "end": self._reply, "arrive": self._packets.arrive, "deliver": self._packets.deliver,
            "reset": self._reset, "refused": self._reset, "cut": self._cut, "clog": self._cut,
            "phase": self._phase, "violation": self._violation, "wake": self._wake,
        }  # fmt: skip
        for record, place in zip(self._records, self._axis.places, strict=True):
            painted.get(record["kind"], self._point)(record, place)
            self._list(record, place)
        self._close()
        picture = self._picture
        picture.names = {short: long for long, short in self._names.given.items()}
        picture.lanes = sorted(self._lanes.values(), key=_order)
        picture.gaps = [{"from": a, "to": b, "s": round(s, 2)} for a, b, s in self._axis.gaps]
        picture.colors = [{"run": run, "epoch": epoch, "color": color} for (run, epoch), color in self._colors.items()]
        return picture

    # Lanes.

    def _lane(self, label: str | None, kind: str | None = None) -> Lane | None:
        if label in NOT_LANES or label is None:
            return None
        lane = self._lanes.get(label)
        if lane is None:
            lane = self._lanes[label] = Lane(label, kind or ("process" if "." in label else "client"), label)
            lane.bars.append({"from": START, "to": None, "state": "alive", "n": None})
        return lane

    def _log(self, run: str) -> Lane:
        return self._lanes.setdefault(f"log {run}", Lane(f"log {run}", "log", f"log of {run}"))

    def _incarnation(self, process: str) -> str:
        """Which incarnation of a process is (or was last) alive."""
        labels = [label for label in self._lanes if label.rpartition(".")[0] == process]
        return labels[-1] if labels else process

    def _run(self, run: object) -> str:
        """A name for a run that fits into a picture."""
        return self._names.spoken(str(run))

    def _up(self, record: Record, place: float) -> None:
        lane = self._lane(record["proc"])
        if lane is not None and len(lane.bars) == 1:
            lane.bars[0].update({"from": place, "n": record["n"]})

    def _down(self, record: Record, place: float) -> None:
        lane = self._lane(record["proc"])
        if lane is None or lane.bars[-1]["to"] is not None:
            return  # who was killed has ended as well
        if record.get("how") == "term":
            self._point(record, place)
            return
        lane.bars[-1].update({"to": place, "how": record.get("how"), "end_n": record["n"]})
        for key in [key for key, (owner, _) in self._open.items() if owner is lane]:
            self._open.pop(key)[1]["to"] = place
        self._point(record, place)

    def _pause(self, record: Record, place: float) -> None:
        lane = self._lane(record["proc"])
        if lane is not None:
            until = self._axis.at(record["t"] + float(record.get("s") or 0))
            lane.bars.insert(0, {"from": place, "to": until, "state": "paused", "n": record["n"]})

    def _skip(self, record: Record, place: float) -> None:
        """Shown elsewhere, or only counted."""

    # The log.

    def _commit(self, record: Record, place: float) -> None:
        writer = self._lane(record["proc"])
        if not record.get("news"):
            self._point(record, place)
        for piece in record.get("news", ()):
            run, epoch = self._run(piece["run"]), int(piece.get("epoch") or 0)
            color = self._colors.setdefault((run, epoch), len(self._colors))
            self._picture.commits.append(
                {
                    "n": record["n"], "x": place, "from": writer.id if writer else None, "lane": self._log(run).id,
                    "seqs": words.frames(piece["first"], piece["last"]), "type": piece.get("type"), "color": color,
                    "epoch": epoch, "run": run,
                }
            )  # fmt: skip
            if piece.get("type") in _ENDS:
                self._end_lease(run, epoch, place)
            elif epoch and writer is not None and writer.kind == "process":
                self._hold(writer, {"from": place, "to": None, "run": run, "epoch": epoch, "color": color})

    def _fact(self, record: Record, place: float) -> None:
        """What befell a session stands in a row of its own."""
        lane, how = self._log(self._run(record.get("session"))), self._names.spoken(words.fact(record))
        self._picture.points.append(
            {"n": record["n"], "x": place, "lane": lane.id, "kind": "fact", "how": how, "trouble": False}
        )

    def _hold(self, worker: Lane, lease: dict[str, Any]) -> None:
        """A lease is held from the first commit of its epoch on, until it is given up or the next epoch begins."""
        run, epoch = key = lease["run"], lease["epoch"]
        if key in self._held:
            return
        self._held.add(key)
        for other in [key for key in self._open if key[0] == run and key[1] < epoch]:
            self._end_lease(*other, lease["from"])
        worker.leases.append(lease)
        self._open[key] = (worker, lease)

    def _end_lease(self, run: str, epoch: int, place: float) -> None:
        if (run, epoch) in self._open:
            self._open.pop((run, epoch))[1]["to"] = place

    def _saw(self, record: Record, place: float) -> None:
        lane = self._lane(record["proc"])
        if lane is not None:
            seqs, run = words.frames(record.get("first"), record.get("last")), self._run(record.get("run"))
            color = next((c for (name, _), c in reversed(self._colors.items()) if name == run), None)
            self._picture.reads.append(
                {"n": record["n"], "x": place, "lane": lane.id, "seqs": seqs, "run": run, "color": color}
            )

    # Packets, faults and the rest.

    def _request(self, record: Record, place: float) -> None:
        client, server = self._lane(record["proc"]), self._incarnation(str(record.get("to")))
        if client is not None:
            self._lane(server, "process")
            path = self._names.spoken(str(record.get("path")))
            self._packets.request({**record, "path": path}, place, client.id, server)

    def _reply(self, record: Record, place: float) -> None:
        server = self._lane(record["proc"])
        if server is not None:
            self._packets.reply(record, place, server.id)

    def _reset(self, record: Record, place: float) -> None:
        self._packets.lose(record, place)
        self._point(record, place)

    def _cut(self, record: Record, place: float) -> None:
        until = self._axis.at(record["t"] + float(record.get("s") or 0))
        lanes = [str(record.get(side)) for side in ("a", "b") if record.get(side)]
        word = "cut" if record["kind"] == "cut" else "slow"
        before = self._picture.faults[-1] if self._picture.faults else None
        if before and before["t"] == record["t"] and before["with"] == record.get("b") and before["word"] == word:
            lanes = [*before["lanes"][:-1], *lanes]  # one node and several others at once: one fault
            self._picture.faults.pop()
        label = f"{', '.join(lanes[:-1])} – {lanes[-1]} {word}"  # noqa: RUF001  - typography
        self._picture.faults.append(
            {
                "n": record["n"], "from": place, "to": until, "label": label, "lanes": lanes,
                "t": record["t"], "with": record.get("b"), "word": word,
            }
        )  # fmt: skip

    def _phase(self, record: Record, place: float) -> None:
        self._picture.phases.append({"n": record["n"], "from": place, "name": record.get("name")})

    def _violation(self, record: Record, place: float) -> None:
        fields = {str(value) for name, value in record.items() if name not in ("name", "detail", "t", "n", "kind")}
        guilty = self._lanes_of(fields) or self._lanes_of(set(_NAME.findall(str(record.get("detail")))))
        self._picture.violation = {
            "n": record["n"],
            "x": place,
            "t": record["t"],
            "name": record.get("name"),
            "detail": self._names.spoken(str(record.get("detail"))),
            "lanes": guilty,
        }

    def _lanes_of(self, names: set[str]) -> list[str]:
        """The lanes of these processes, clients and runs."""
        wanted = names | {f"log {self._run(name)}" for name in sorted(names)}
        return sorted(lane for lane in self._lanes if lane in wanted)

    def _wake(self, record: Record, place: float) -> None:
        self._point({**record, "proc": self._incarnation(str(record.get("to")))}, place)

    def _point(self, record: Record, place: float) -> None:
        lane = self._lane(record["proc"])
        if lane is not None:
            trouble = words.is_fault(record) or record["kind"] in ("refused",)
            how = record.get("how") or record.get("does") or record.get("why") or ""
            self._picture.points.append(
                {"n": record["n"], "x": place, "lane": lane.id, "kind": record["kind"], "how": how, "trouble": trouble}
            )

    def _list(self, record: Record, place: float) -> None:
        self._picture.events.append(
            {
                "n": record["n"], "x": place, "t": record["t"], "proc": record.get("proc"), "kind": record["kind"],
                "text": self._names.spoken(words.event(record)), "minor": words.is_minor(record),
                "fault": words.is_fault(record),
            }
        )  # fmt: skip

    def _close(self) -> None:
        """What still lasts, lasts to the picture's end; so is what is under way."""
        for lane in self._lanes.values():
            for stretch in (*lane.bars, *lane.leases):
                if stretch["to"] is None:
                    stretch["to"] = self._axis.end
            _stack(lane.leases)
        self._packets.close()
        self._picture.packets = self._packets.all


_ENDS: Final = frozenset({"run.completed", "run.failed", "run.cancelled", "run.suspended", "run.released"})
"""Frames after which nobody holds the run."""


def _stack(leases: Iterable[dict[str, Any]]) -> None:
    """Leases that overlap get rows of their own."""
    ends: list[float] = []
    for lease in leases:
        row = next((n for n, end in enumerate(ends) if end <= lease["from"]), len(ends))
        ends[row : row + 1] = [lease["to"]]
        lease["row"] = row


def _order(lane: Lane) -> tuple[int, str, int]:
    """Clients, processes, logs; each by its name and number: run 2 stands before run 10."""
    name = lane.id.rstrip("0123456789")
    return {"client": 0, "process": 1, "log": 2}[lane.kind], name, int(lane.id[len(name) :] or 0)
