"""Tails, judged against the log: what was said, what waits, what runs, and a cursor from which the stream is the rest.

A tail names its active run or its last one; from that and the log all of it follows. What it names must have been so
at some instant between the call and its return.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from pydantic_core import from_json

from ...domain.identifiers import RunId
from ...domain.messages import Fields
from ...domain.ports import StoredMessage
from ...domain.request_config import EVERYTHING
from ...domain.snapshot import Snapshot
from ..process import EPOCH
from ..store.session_model import cut
from ..violation import Violation
from .log import TERMINAL, Log, RunLog, type_at
from .sessionlog import Change, SessionLog

Said = Mapping[str, Any]

SLACK_S: Final = 1e-6
"""Seconds by which the store's clock and a client's may differ: the first counts microseconds."""


class Interval:
    """Between the call and the return, in seconds of the world."""

    def __init__(self, called: float, returned: float) -> None:
        self.called = called - SLACK_S
        self.returned = returned + SLACK_S


def check_tail(
    log: Log, session: SessionLog, tail: Said, limit: int, within: Interval, *, mark: Callable[[str], None]
) -> None:
    """Raises tail-wrong, tail-cursor, tail-messages or approvals-differ."""
    where = {"session_id": session.session_id}
    active = tail["active_run"]
    run_id = RunId(active["run_id"]) if active is not None else None
    moments = [moment for moment in session.during(within.called, within.returned) if moment.active == run_id]
    if not moments or (active is None) != (tail["status"] == "idle"):
        raise Violation("tail-wrong", f"A tail says that {run_id} is active ({tail['status']}); it was not.", **where)
    for moment in moments:
        if tail["cursor"] == _cursor(log, session, moment):
            _messages(log, session, tail["messages"], moment, limit, mark=mark)
            break
    else:
        expected = [_cursor(log, session, moment) for moment in moments]
        raise Violation("tail-cursor", f"A tail goes on from {tail['cursor']}; right is one of {expected}.", **where)
    pending = [one["approval_id"] for one in tail["pending_approvals"]]
    run = log.run(run_id) if run_id is not None else None
    nothing: list[list[str]] = [[]]
    possible = _pending(run, within) if run is not None else nothing
    if pending not in possible:
        detail = f"A tail of {session.session_id} shows the approvals {pending} of {run_id}; its log says {possible}."
        raise Violation("approvals-differ", detail, **where)
    mark("tail-active" if active is not None else "tail-idle" if session.turns else "tail-empty")
    if pending:
        mark("tail-with-approval")


def _cursor(log: Log, session: SessionLog, moment: Change) -> str | None:
    if moment.active is not None:
        return f"{moment.active}.1.0.0"
    if not moment.begun:
        return f"{session.session_id}.1.0.0"
    last = log.run(session.turns[moment.begun - 1])
    return f"{last.run_id}.1.{last.epochs[-1]}.{last.head}" if last is not None and last.terminal else None


def _messages(
    log: Log, session: SessionLog, said: Sequence[Fields], moment: Change, limit: int, *, mark: Callable[[str], None]
) -> None:
    everything = [pair for run_id in session.turns[: moment.begun] for pair in _of_run(log.run(run_id), moment.active)]
    kept = cut([StoredMessage((0, 0, n), raw, EVERYTHING) for n, (raw, _) in enumerate(everything)], limit)
    expected = [everything[place[2]][1] for place, _, _ in kept]
    if list(said) != expected:
        ids = [message["message_id"] for message in said]
        detail = f"The tail of {session.session_id} shows {ids}, not {[one['message_id'] for one in expected]}"
        differs = next((f": {a!r:.200}, not {b!r:.200}" for a, b in zip(said, expected, strict=False) if a != b), "")
        raise Violation("tail-messages", f"{detail}{differs}.", session_id=session.session_id)
    if len(kept) < len(everything):
        mark("tail-cut")


def _of_run(run: RunLog | None, active: RunId | None) -> list[tuple[Fields, Fields]]:
    """A run's messages as they are stored and as they are shown: of the active one only its prompt."""
    if run is None:
        return []
    whole = Snapshot.empty()
    for line in run.lines[:1] if run.run_id == active else run.lines:
        whole.apply(from_json(line))
    return list(zip(whole.state()["messages"], whole.state(run.config)["messages"], strict=True))


def _pending(run: RunLog, within: Interval) -> list[list[str]]:
    """What waited for a decision, at each instant between the two."""
    found: list[list[str]] = []
    waits: list[str] = []
    last = float("-inf")
    for seq, (line, time) in enumerate(zip(run.lines, run.times, strict=True), 1):
        at = (time - EPOCH).total_seconds()
        if at > last and last <= within.returned and at >= within.called:
            found.append([*waits])
        last = at
        kind = type_at(line, seq)
        if kind == "approval.requested":
            waits.append(from_json(line)["approval_id"])
        elif kind == "approval.decided":
            waits = [one for one in waits if one != from_json(line)["approval_id"]]
        elif kind in TERMINAL:
            waits = []
    return [*found, waits] if last <= within.returned else found
