"""A session's turns and its handoffs: inputs in the order in which they were accepted, none lost, none begun twice."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from ...domain.session_facts import (
    HandoffEnded,
    HandoffReady,
    HandoffRequested,
    SessionFact,
    TurnEnded,
    TurnQueued,
    TurnStarted,
    TurnWithdrawn,
)
from ..violation import Violation
from .log import Log
from .sessionlog import Handing, SessionLog

if TYPE_CHECKING:
    from .sessions import SessionRows


Turn = TurnQueued | TurnWithdrawn | TurnStarted | TurnEnded


def turn(log: SessionLog, fact: Turn, mark: Callable[[str], None]) -> None:
    """Raises session-busy-twice, turn-twice, queue-order, handoff-barrier, turn-order or withdrawn-wrong."""
    where = {"session_id": log.session_id, "run_id": fact.run_id}
    match fact:
        case TurnQueued():
            if fact.run_id in log.queue or fact.run_id in log.turns:
                raise Violation("turn-twice", f"{fact.run_id} waits for a second turn in {log.session_id}.", **where)
            log.queue.append(fact.run_id)
            mark("input-queued" if log.handing_off is None else "input-held")
        case TurnWithdrawn():
            if fact.run_id not in log.queue or fact.run_id in log.withdrawn:
                detail = f"{fact.run_id} is said to wait no more in {log.session_id}, and it did not."
                raise Violation("withdrawn-wrong", detail, **where)
            log.withdrawn.append(fact.run_id)
            mark("input-withdrawn")
        case TurnStarted():
            _started(log, fact, mark)
        case TurnEnded():
            if fact.run_id != log.active:
                detail = f"The turn of {fact.run_id} ends in {log.session_id}, where {log.active} is active."
                raise Violation("turn-order", detail, **where)
            log.active = None


def _started(log: SessionLog, fact: TurnStarted, mark: Callable[[str], None]) -> None:
    where = {"session_id": log.session_id, "run_id": fact.run_id}
    if log.active is not None:
        detail = f"The turn of {fact.run_id} begins in {log.session_id} while {log.active} is active."
        raise Violation("session-busy-twice", detail, **where, active=log.active)
    if fact.run_id in log.turns:
        raise Violation("turn-twice", f"The turn of {fact.run_id} begins for the second time.", **where)
    if log.queue and log.queue[0] != fact.run_id:
        detail = f"The turn of {fact.run_id} begins in {log.session_id}; {log.queue[0]} was accepted before it."
        raise Violation("queue-order", detail, **where)
    handing = log.handing_off
    if handing is not None and len(log.turns) >= handing.barrier:
        detail = f"{fact.run_id} begins behind turn {handing.barrier}, at which {handing.handoff_id} holds inputs back."
        raise Violation("handoff-barrier", detail, **where)
    if log.queue:
        mark("queued-turn")
        log.queue.pop(0)
        log.withdrawn = [run_id for run_id in log.withdrawn if run_id != fact.run_id]
    log.turns.append(fact.run_id)
    log.active = fact.run_id


def handoff(log: SessionLog, fact: SessionFact, mark: Callable[[str], None]) -> None:
    """Raises handoff-wrong, handoff-twice, handoff-not-drained or handoff-early."""
    match fact:
        case HandoffRequested():
            _requested(log, fact, mark)
        case HandoffReady():
            handing = _under_way(log, fact.handoff_id, "is ready")
            if log.active is not None or len(log.turns) < handing.barrier:
                detail = f"{fact.handoff_id} is ready, and {log.active or log.queue[:1]} was accepted before it."
                raise Violation("handoff-not-drained", detail, session_id=log.session_id)
            handing.ready = True
            mark("handoff-ready")
        case HandoffEnded():
            _ended(log, fact, mark)
        case _:
            raise Violation("fact-unknown", f"{fact.topic} happened to {log.session_id}.", session_id=log.session_id)


def _requested(log: SessionLog, fact: HandoffRequested, mark: Callable[[str], None]) -> None:
    if log.handing_off is not None or fact.handoff_id in log.handoffs:
        detail = f"{fact.handoff_id} of {log.session_id} is requested; {[*log.handoffs]} were before."
        raise Violation("handoff-twice", detail, session_id=log.session_id)
    barrier = len(log.turns) + len(log.queue)
    if (fact.source, fact.epoch, fact.barrier) != (log.owner, log.epoch, barrier) or fact.expires_at <= fact.at:
        detail = f"{fact.handoff_id} lets {fact.source} ({fact.epoch}) finish {fact.barrier} turns; "
        raise Violation("handoff-wrong", f"{detail}{log.owner} ({log.epoch}) was given {barrier}.")
    log.handing = log.handoffs[fact.handoff_id] = Handing(fact.handoff_id, fact.source, barrier, fact.expires_at)
    mark("handoff-requested")
    if log.queue:
        mark("handoff-behind-a-queue")


def _ended(log: SessionLog, fact: HandoffEnded, mark: Callable[[str], None]) -> None:
    handing = _under_way(log, fact.handoff_id, "ends")
    if fact.outcome == "completed" and not (handing.ready and fact.target == log.owner):
        detail = f"{fact.handoff_id} is completed by {fact.target}; ready: {handing.ready}, the owner is {log.owner}."
        raise Violation("handoff-wrong", detail, session_id=log.session_id)
    if fact.reason == "expired" and fact.at < handing.expires_at:
        detail = f"{fact.handoff_id} expires at {fact.at}; it was good until {handing.expires_at}."
        raise Violation("handoff-early", detail, session_id=log.session_id)
    handing.outcome = fact.outcome
    mark(f"handoff-{fact.reason.replace('_', '-')}" if fact.reason else "handoff-completed")
    if log.queue:
        mark("held-inputs-released")


def _under_way(log: SessionLog, handoff_id: str, what: str) -> Handing:
    handing = log.handing_off
    if handing is None or handing.handoff_id != handoff_id or (what == "is ready" and handing.ready):
        detail = f"{handoff_id} of {log.session_id} {what}, and it is not under way."
        raise Violation("handoff-twice", detail, session_id=log.session_id)
    return handing


def check(log: SessionLog, runs: Log, rows: "SessionRows") -> None:
    """After a group: whose turn it is has it, and what waits is told.

    Raises queue-stuck, turn-left-open, input-lost, withdrawn-wrong or handoff-row.
    """
    handing = log.handing_off
    held = handing is not None and len(log.turns) >= handing.barrier
    if log.queue and log.active is None and not held:
        detail = f"{log.queue[0]} waits in {log.session_id}, where nothing is active and no handoff holds it back."
        raise Violation("queue-stuck", detail, session_id=log.session_id, run_id=log.queue[0])
    if log.active is not None and runs.terminal(log.active) is not None:
        detail = f"{log.active} has ended, and its turn in {log.session_id} has not."
        raise Violation("turn-left-open", detail, session_id=log.session_id, run_id=log.active)
    for run_id in log.queue:
        if (runs.terminal(run_id) is not None) != (run_id in log.withdrawn):
            detail = f"{run_id} is or is not said to wait in {log.session_id}, wrongly."
            raise Violation("withdrawn-wrong", detail, session_id=log.session_id, run_id=run_id)
    for run_id in runs.runs(log.session_id):
        if runs.terminal(run_id) is None and run_id != log.active and run_id not in log.queue:
            detail = f"{run_id} of {log.session_id} was accepted; it is neither active nor does it wait."
            raise Violation("input-lost", detail, session_id=log.session_id, run_id=run_id)
    if log.handing is not None:
        row, known = rows.handoff(log.session_id, log.handing.handoff_id), log.handing
        status = known.outcome or ("ready" if known.ready else "requested")
        if row is None or row.status != status:
            detail = f"{known.handoff_id} is kept as {row and row.status}; its facts say {status}."
            raise Violation("handoff-row", detail, session_id=log.session_id)
