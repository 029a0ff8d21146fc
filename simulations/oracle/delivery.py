"""What readers get, judged block by block against the log: nothing lost, doubled, reordered, altered or too early.

A `Delivery` is one connection's stream. It knows what was asked for, what the log was then, and from there which
block may come next; the four endings are never confused.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from pydantic_core import from_json

from ...adapters.http import walk
from ...domain.identifiers import RunId, SessionId
from ..violation import Violation
from .log import TERMINAL, Log
from .notices import SUPERSEDED, WARNING, Notices
from .views import all_hidden, folded, folded_on, parted, shown

GENERATION: Final = 1
"""The store's generation: no world restores one."""

_BLOCK: Final = re.compile(rb"(retry: [0-9]+\n)?event: ([a-z_.]+)\n(?:id: ([!-~]+)\n)?data: ([^\r\n]*)\n\n")
_CURSOR: Final = re.compile(r"(run_[0-9a-z]{26})\.([0-9]+)\.([0-9]+)\.([0-9]+)")
_KEEPALIVE: Final = b": keepalive\n\n"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a reader asked a stream for: of a run or of a session, after this cursor or bare seq, from its start
    without either."""

    run_id: RunId | None
    session_id: SessionId | None
    cursor: str | None = None
    seq: int = 0
    follow: bool = True
    snapshot: bool = False
    epoch: int | None = None
    """The session's that the reader says it holds."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One block that a reader took: its type, its place if it is of the log, and its data."""

    kind: str
    run_id: RunId | None
    seq: int
    cursor: str | None
    data: bytes


class Delivery:
    """One connection. Feed it bytes, tell it how the connection ended. Raises a Violation at the first wrong block."""

    def __init__(self, log: Log, asked: Asked, who: str, mark: Callable[[str], None]) -> None:
        self._log = log
        self._asked = asked
        self._who = who
        self._mark = mark
        self._rest = b""
        self._heads = {run_id: log.head(run_id) for run_id in self._runs()}
        self._reset: str | None = None
        self._place: tuple[RunId, int] | None = None
        self._started = False
        self._over: str | None = None
        self._ends_with = "" if asked.follow else "replay"
        session = log.sessions.get(asked.session_id) if asked.session_id is not None else None
        fresh = asked.cursor is None and not asked.seq
        self._notices = Notices(session, who, asked.epoch, fresh=fresh) if session is not None else None
        self.frames = 0

    def _runs(self) -> tuple[RunId, ...]:
        if self._asked.run_id is not None:
            return (self._asked.run_id,)
        return tuple(self._log.runs(self._asked.session_id)) if self._asked.session_id is not None else ()

    # The answer's head.

    def nothing_more(self) -> None:
        """204: only exactly at the terminal frame."""
        run_id, seq = self._asked_place()
        if run_id is None or self._log.terminal(run_id) != seq:
            self._violate("stream-refused", f"204 although the log of {run_id} does not end at {seq}.")

    def _asked_place(self) -> tuple[RunId | None, int]:
        if self._asked.cursor is not None:
            match = _CURSOR.fullmatch(self._asked.cursor)
            return (RunId(match[1]), int(match[4])) if match else (None, 0)
        return self._asked.run_id, self._asked.seq

    # The body.

    def feed(self, data: bytes) -> list[Seen]:
        """Take bytes; the whole blocks in them."""
        self._rest += data
        seen: list[Seen] = []
        while (end := self._rest.find(b"\n\n")) >= 0:
            block, self._rest = self._rest[: end + 2], self._rest[end + 2 :]
            if block != _KEEPALIVE:
                seen.append(self._block(block))
        return seen

    def _block(self, block: bytes) -> Seen:
        match = _BLOCK.fullmatch(block)
        if match is None:
            self._violate("stream-malformed", f"this is no block of an event stream: {block[:80]!r}")
        retry, kind, cursor, data = match[1], match[2].decode(), match[3], match[4]
        if retry is None and not self._started:
            self._violate("retry-missing", "the first block carries no `retry:`")
        if retry is not None and self._started and kind != "stream.reconnect":
            self._violate("retry-repeated", f"{kind} carries a `retry:` although it is not the first block")
        self._started = True
        if self._over is not None:
            self._violate("after-the-end", f"{kind} came after {self._over}")
        if cursor is not None:
            return self._frame(kind, cursor.decode(), data)
        self._between(kind, from_json(data))
        return Seen(kind, None, 0, None, data)

    def _frame(self, kind: str, cursor: str, data: bytes) -> Seen:
        match = _CURSOR.fullmatch(cursor)
        if match is None or len(cursor) > 64:
            self._violate("cursor-malformed", f"{cursor!r} is no cursor")
        run_id, generation, epoch, seq = RunId(match[1]), int(match[2]), int(match[3]), int(match[4])
        frame = self._log.frame(run_id, seq)
        if frame is None:
            self._violate("not-durable", f"{cursor} was sent, but the log of {run_id} ends at {self._log.head(run_id)}")
        run = self._log.run(run_id)
        line = shown(frame[1], run.config) if run is not None else None
        if line is None:
            self._violate("hidden-frame-sent", f"{cursor} is a {kind}, which the run's request_config hides")
        if (
            (frame[0], line) != (epoch, data)
            or generation != GENERATION
            or not data.startswith(b'{"type":"%b"' % kind.encode())
        ):
            self._violate("frame-altered", f"{cursor} came as {kind} {data[:80]!r}, the log has {line[:80]!r}")
        if self._reset is not None and self._place is None and self._heads:
            self._violate("snapshot-missing", f"after the reset ({self._reset}) came {cursor} instead of a snapshot")
        if self._notices is not None:
            self._notices.first_frame()
        self._follows(run_id, seq)
        self._place = (run_id, seq)
        self.frames += 1
        if kind in TERMINAL and self._asked.run_id is not None:
            self._over = "the terminal frame"
        return Seen(kind, run_id, seq, cursor, data)

    def _follows(self, run_id: RunId, seq: int) -> None:
        """Whether this frame may come next."""
        place = self._place if self._place is not None else self._first_place()
        if place is None:
            return
        if place == (run_id, seq - 1):
            return
        last_run, last = place
        run = self._log.run(run_id)
        if run_id == last_run and seq > last and run is not None and all_hidden(run, last + 1, seq - 1):
            return
        if run_id == last_run:
            name = "delivery-gap" if seq > last + 1 else "delivery-repeat"
            self._violate(name, f"after frame {last} of {last_run} came frame {seq}")
        order = self._runs()
        following = order[order.index(last_run) + 1 :] if last_run in order else ()
        if seq != 1 or not following or following[0] != run_id or last != self._log.terminal(last_run):
            self._violate("delivery-gap", f"after frame {last} of {last_run} came frame {seq} of {run_id}")

    def _first_place(self) -> tuple[RunId, int] | None:
        """Where the stream has to begin, if the cursor was honoured; None if anything may come."""
        if self._reset is not None or self._asked.snapshot:
            return None
        run_id, seq = self._asked_place()
        if run_id is None:
            order = self._runs()
            return (order[0], 0) if order else None
        if self._asked.cursor is not None and (why := self._refusal(self._asked.cursor)):
            self._violate("forged-cursor-honoured", f"{self._asked.cursor} was honoured; it had to be refused: {why}")
        return run_id, seq

    def _refusal(self, cursor: str) -> str | None:
        """Why this cursor must be refused at any time up to now, or None."""
        match = _CURSOR.fullmatch(cursor)
        if match is None:
            return "malformed"
        run_id, generation, epoch, seq = RunId(match[1]), int(match[2]), int(match[3]), int(match[4])
        if run_id not in self._runs():
            return "foreign"
        if generation != GENERATION:
            return "generation"
        if seq > self._log.head(run_id):
            return "ahead"
        frame = self._log.frame(run_id, seq)
        return "epoch" if frame is not None and frame[0] != epoch else None

    # What is not in the log.

    def _between(self, kind: str, fields: dict[str, Any]) -> None:
        if kind == "stream.reset":
            self._on_reset(fields["reason"])
        elif kind == "stream.snapshot":
            self._on_snapshot(fields)
        elif kind == "stream.reconnect":
            self._over = "stream.reconnect"
            self._mark("asked-to-reconnect")
        elif kind in (SUPERSEDED, WARNING) and self._notices is not None:
            self._notices.take(kind, fields)
            self._mark(f"told-{fields.get('code', 'superseded').lower().replace('_', '-')}")
        else:
            self._violate("stream-malformed", f"{kind} has no id, and should have one")

    def _on_reset(self, reason: str) -> None:
        cursor = self._asked.cursor
        if self._place is not None or self._reset is not None:
            self._violate("reset-late", "stream.reset came in the middle of a stream")
        self._reset = reason
        why = self._refusal(cursor) if cursor is not None else "ahead" if self._ahead() else None
        # What the log has grown to meanwhile may have made a cursor good that was ahead when it was judged.
        was_ahead = reason == "ahead" and self._ahead()
        if why != reason and not was_ahead:
            self._violate("cursor-refused", f"{cursor or self._asked.seq} was refused as {reason}; that is wrong")
        self._mark(f"reset-{reason}")

    def _ahead(self) -> bool:
        """Whether the place was beyond the log when it was asked for."""
        run_id, seq = self._asked_place()
        return run_id is not None and seq > self._heads.get(run_id, 0)

    def _on_snapshot(self, fields: dict[str, Any]) -> None:
        state, seq = fields["state"], fields["seq"]
        runs = self._runs()
        run_id = RunId(state["run"]["run_id"]) if state["run"] else unbegun(self._log, runs, state)
        if run_id is None or (self._reset is None and not self._asked.snapshot):
            self._violate("snapshot-unasked", "a snapshot came that nobody asked for")
        run = self._log.run(run_id)
        if run is None or not 0 <= seq < run.head:
            self._violate("not-durable", f"a snapshot at {seq} of {run_id}, whose log ends at {self._log.head(run_id)}")
        # The law: folded on with what follows, it is the fold of all frames. (What stands in it may be ahead already.)
        pages_on = state.get("before")
        earlier, state = parted(state, run_id)
        before = [self._log.run(other) for other in runs[: runs.index(run_id)]] if run_id in runs else []
        said = [message for other in before if other is not None for message in folded(other)["messages"]]
        kept = said[-walk.SNAPSHOT_MESSAGES :]
        if earlier != kept:
            self._violate("history-wrong", f"the snapshot of {run_id} has other messages before it than its session")
        if pages_on != (kept[0]["message_id"] if len(said) > len(kept) else None):
            self._violate("history-wrong", f"the snapshot of {run_id} pages on from {pages_on}")
        if folded(run) != folded_on(state, seq, run):
            self._violate(
                "snapshot-wrong", f"the snapshot of {run_id} at {seq}, folded on, is not the fold of all frames"
            )
        self._place = (run_id, seq)
        self._mark("snapshot")

    # The end.

    def ended(self) -> None:
        """The body came to its clean end: only after something that says so."""
        if self._rest:
            self._violate("stream-malformed", f"the stream ended within a block: {self._rest[:80]!r}")
        if self._over is not None:
            return
        if self._ends_with == "replay":
            self._check_replay()
            return
        self._violate("clean-end", "the stream ended, but neither the run nor the connection was said to be over")

    def _check_replay(self) -> None:
        """?follow=false: everything that was there when it was asked for."""
        for run_id in self._runs():
            run, place = self._log.run(run_id), self._place
            if run is None or place is None or place[0] != run_id:
                continue
            if not all_hidden(run, place[1] + 1, self._heads.get(run_id, 0)):
                self._violate("delivery-gap", f"the replay of {run_id} ended at {place[1]}")
        self._mark("replayed")

    def _violate(self, name: str, detail: str) -> NoReturn:
        place = {} if self._place is None else {"run_id": self._place[0], "seq": self._place[1]}
        raise Violation(name, f"{self._who}: {detail}", **place)


def unbegun(log: Log, runs: Sequence[RunId], state: Mapping[str, Any]) -> RunId | None:
    """Whose snapshot this is if it stands before the run's first frame: it follows the last run that it shows."""
    shown = [message["message_id"].split(":")[1] for message in state["messages"]]
    after = [run_id for run_id in runs if not shown or runs.index(run_id) > runs.index(RunId(shown[-1]))]
    silent = [run_id for run_id in after if (run := log.run(run_id)) and not folded(run)["messages"]]
    return next((run_id for run_id in after if run_id not in silent), after[-1] if after else None)
