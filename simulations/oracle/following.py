"""What the Python client makes of its connections, judged frame by frame: once, in order, from where it was asked to.

A `Following` is one call of `Client.follow`. However often the client comes back on its own, whoever iterates sees one
stream; and each time it must come back with the last frame it has handed on, no sooner than it was asked to.
"""

from typing import Any, Final, NoReturn

from pydantic_core import from_json

from ...adapters.client import Patience
from ...adapters.client.frame import RESET, SNAPSHOT, Frame, fold
from ...adapters.client.patience import JITTER
from ...domain.identifiers import RunId
from ..violation import Violation
from .delivery import Asked, unbegun
from .log import TERMINAL, Log
from .views import all_hidden, folded, shown

SOON_S: Final = 0.001
"""Seconds by which a client may be early: what is left of a sum of floats, and more."""


class Following:
    """Feed it frames, and tell it of requests and of the end. Raises a Violation at the first wrong one."""

    def __init__(self, log: Log, asked: Asked, who: str, late_s: float = SOON_S) -> None:
        """`late_s` is by how much it may come back too late: where time is real, nobody can say."""
        self._late_s = late_s
        self._log = log
        self._asked = asked
        self._who = who
        self._frames: list[Frame] = []
        self._begun = asked.snapshot
        self._reset = False
        self._cursor = asked.cursor
        self._place = self._asked_place()
        self._ended_at: float | None = None
        self._vain = 0
        """Times in a row that it came back and got nothing."""

    @property
    def cursor(self) -> str | None:
        """The last frame that was handed on, else what it was asked to begin after."""
        return self._cursor

    def _asked_place(self) -> tuple[RunId, int] | None:
        """The last frame before the stream; None if anything may be the first."""
        if self._asked.snapshot:
            return None
        if self._asked.cursor is not None:
            run_id, _, _, seq = self._asked.cursor.split(".")
            return RunId(run_id), int(seq)
        runs = self._runs()
        return (runs[0], self._asked.seq) if runs else None

    def _runs(self) -> tuple[RunId, ...]:
        if self._asked.run_id is not None:
            return (self._asked.run_id,)
        return tuple(self._log.runs(self._asked.session_id)) if self._asked.session_id is not None else ()

    # Its requests.

    def comes(self, cursor: str | None, seq: int, now: float, wait_s: float, patience: Patience) -> None:
        """It asks for the stream, at this moment. `wait_s` is how long it was asked to stay away.

        Raises resumed-elsewhere, came-back-too-soon or came-back-too-late.
        """
        if cursor != self._cursor or (cursor is None and seq != self._asked.seq):
            self._violate("resumed-elsewhere", f"it came with {cursor or seq}, but had {self._cursor or 'nothing'}")
        if self._ended_at is None:
            return
        waited_s = now - self._ended_at
        due_s = min(max(wait_s, patience.wait_min_s) * 2.0**self._vain, patience.wait_max_s)
        if waited_s < due_s - SOON_S:
            self._violate("came-back-too-soon", f"it came back after {waited_s:.3f} s, not after {due_s:.3f} s")
        longest_s = due_s * (1 + JITTER)
        if wait_s and waited_s > longest_s + self._late_s:
            detail = f"it came back after {waited_s:.3f} s; {longest_s:.3f} s are the most, {self._vain} times in vain"
            self._violate("came-back-too-late", detail)
        self._vain += 1

    def breaks(self, now: float) -> None:
        """A connection of it is over."""
        self._ended_at = now

    # What it hands on.

    def take(self, frame: Frame) -> None:
        """The next frame that whoever iterates gets."""
        self._frames.append(frame)
        self._vain = 0
        if self._over():
            self._violate("after-the-end", f"{frame.type} came after the terminal frame")
        if frame.id is not None:
            self._of_the_log(frame, frame.id)
        elif frame.type == RESET:
            if self._begun and self._cursor != self._asked.cursor:
                self._violate("reset-late", "stream.reset came in the middle of a stream")
            self._reset, self._place = True, None
        elif frame.type == SNAPSHOT:
            self._snapshot(frame)
        else:
            self._violate("stream-malformed", f"{frame.type} is nothing that a client hands on")

    def _of_the_log(self, frame: Frame, cursor: str) -> None:
        run, generation, epoch, seq = cursor.split(".")
        run_id = RunId(run)
        found = self._log.frame(run_id, int(seq))
        if found is None:
            self._violate(
                "not-durable", f"{cursor} was handed on, the log of {run_id} ends at {self._log.head(run_id)}"
            )
        run_log = self._log.run(run_id)
        line = shown(found[1], run_log.config) if run_log is not None else None
        if line is None:
            self._violate("hidden-frame-sent", f"{cursor} is a {frame.type}, which the run's request_config hides")
        if (frame.seq, epoch, generation) != (int(seq), str(found[0]), "1") or from_json(line) != frame.data:
            self._violate("frame-altered", f"{cursor} came as {frame.type}, the log has {line[:80]!r}")
        if self._reset and self._place is None and self._asked.run_id is not None:
            self._violate("snapshot-missing", f"after the reset came {cursor} instead of a snapshot")
        if self._place is not None:
            self._follows(self._place, run_id, int(seq))
        self._place, self._cursor = (run_id, int(seq)), cursor
        self._begun = True

    def _follows(self, place: tuple[RunId, int], run_id: RunId, seq: int) -> None:
        if place == (run_id, seq - 1):
            return
        last_run, last = place
        run = self._log.run(run_id)
        if last_run == run_id and seq > last and run is not None and all_hidden(run, last + 1, seq - 1):
            return
        if last_run == run_id:
            name = "delivery-gap" if seq > last else "delivery-repeat"
            self._violate(name, f"after frame {last} of {run_id} came frame {seq}")
        order = self._runs()
        following = order[order.index(last_run) + 1 :] if last_run in order else ()
        if seq != 1 or not following or following[0] != run_id or last != self._log.terminal(last_run):
            self._violate("delivery-gap", f"after frame {last} of {last_run} came frame {seq} of {run_id}")

    def _snapshot(self, frame: Frame) -> None:
        if not self._reset and not self._asked.snapshot:
            self._violate("snapshot-unasked", "a snapshot came that nobody asked for, and no reset before it")
        state: Any = frame.data["state"]
        run = state["run"].get("run_id") or unbegun(self._log, self._runs(), state)
        self._place = (RunId(run), frame.data["seq"]) if run is not None else None

    # The end.

    def _over(self) -> bool:
        """Whether the terminal frame of the run was there."""
        return self._asked.run_id is not None and any(frame.type in TERMINAL for frame in self._frames[-2:-1])

    def ended(self) -> None:
        """Nothing more comes: only after a run's terminal frame. What was handed on folds to what the run is."""
        run_id = self._asked.run_id
        terminal = self._log.terminal(run_id) if run_id is not None else None
        if run_id is None or self._place is None or self._place != (run_id, terminal):
            self._violate("clean-end", f"it ended at {self._place}, the run's last frame is {terminal}")
        if self._frames and (self._asked_from_start() or self._reset or self._asked.snapshot):
            self._fold(run_id)

    def _asked_from_start(self) -> bool:
        return self._asked.cursor is None and not self._asked.seq

    def _fold(self, run_id: RunId) -> None:
        run = self._log.run(run_id)
        if run is None or fold(self._frames).state() != folded(run):
            self._violate("fold-wrong", f"what it was given of {run_id} folds to something else than its log")

    def raised(self, error: Exception) -> NoReturn:
        """It gave up although nothing was wrong with the stream."""
        self._violate("client-raised", f"{type(error).__name__}: {error}")

    def _violate(self, name: str, detail: str) -> NoReturn:
        place = {} if self._place is None else {"run_id": self._place[0], "seq": self._place[1]}
        raise Violation(name, f"{self._who} (the Python client): {detail}", **place)
