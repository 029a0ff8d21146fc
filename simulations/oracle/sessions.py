"""Sessions at each commit: who owns them, whose turn it is, what they remember. Facts are judged against the past.

Written beside `domain.session` on purpose: its rules are under test. The rows are compared with what the facts say;
turns and handoffs are judged in `turns.py`, summaries in `summarized.py`.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

from ...domain.identifiers import RunId, SessionId
from ...domain.memory import Memory, first_break
from ...domain.ports import News, SessionMoved, SessionView
from ...domain.session_facts import (
    Attached,
    Deleted,
    Detached,
    Finalized,
    Handoff,
    MemoryAppended,
    SessionCreated,
    SessionFact,
    SummaryClaimed,
    SummaryCompleted,
    SummaryStaged,
    TurnEnded,
    TurnQueued,
    TurnStarted,
    TurnWithdrawn,
    Warned,
)
from ..process import EPOCH
from ..violation import Violation
from . import summarized, turns
from .log import Log
from .sessionlog import DELETED, FINALIZED, SessionLog
from .state import RUNNING, RunState

_ENDS_QUIETLY: Final = (Detached, TurnEnded, Deleted, SummaryClaimed, SummaryStaged, SummaryCompleted)
"""What may still happen to a finalized session."""


class SessionRows(Protocol):
    """What is read of sessions in the instant of a commit."""

    def session_facts(self, after: int) -> Sequence[tuple[int, SessionId, SessionFact]]: ...
    def session_view(self, session_id: SessionId) -> SessionView | None: ...
    def memories(self, session_id: SessionId, after: int, limit: int) -> Sequence[Memory]: ...
    def handoff(self, session_id: SessionId, handoff_id: str) -> Handoff | None: ...


class Sessions:
    """Judges what happens to sessions. `logs` is what it has learned; `tell` gets each fact, and whose it is."""

    def __init__(
        self,
        rows: SessionRows,
        log: Log,
        now: Callable[[], datetime],
        mark: Callable[[str], None],
        *,
        tell: Callable[[SessionId, SessionFact], None],
        grace_s: float,
    ) -> None:
        self.logs = log.sessions
        self._rows = rows
        self._log = log
        self._now = now
        self._mark = mark
        self._tell = tell
        self._grace_s = grace_s
        self._place = 0
        self._before: dict[SessionId, int] = {}

    # Facts, before the group's records are judged.

    def facts(self, news: Sequence[News]) -> tuple[list[RunId], list[tuple[SessionId, RunId, int]]]:
        """Take in what a group has done to sessions: the runs that were queued, and the turns that began.

        Raises a Violation.
        """
        queued: list[RunId] = []
        begun: list[tuple[SessionId, RunId, int]] = []
        self._before.clear()
        happened = self._rows.session_facts(self._place)
        moved = {item.session_id for item in news if isinstance(item, SessionMoved)} if happened else ()
        for place, session_id, fact in happened:
            self._place = place
            if session_id not in moved:
                detail = f"{fact.topic} happened to {session_id}, and nobody is told that it has moved."
                raise Violation("session-news-missing", detail, session_id=session_id)
            log = self.logs.setdefault(session_id, SessionLog(session_id))
            self._before.setdefault(session_id, _last_change(log))
            self._tell(session_id, fact)
            self._fact(log, fact)
            log.note((self._now() - EPOCH).total_seconds())
            if isinstance(fact, TurnQueued):
                queued.append(fact.run_id)
            elif isinstance(fact, TurnStarted):
                begun.append((session_id, fact.run_id, fact.turn))
        return queued, begun

    def _fact(self, log: SessionLog, fact: SessionFact) -> None:
        if log.status == DELETED or (log.status == FINALIZED and not isinstance(fact, _ENDS_QUIETLY)):
            detail = f"{fact.topic} happened to {log.session_id}, which is {log.status}."
            raise Violation("ended-session-written", detail, session_id=log.session_id)
        match fact:
            case Attached():
                self._attached(log, fact)
            case Detached():
                self._detached(log, fact)
            case MemoryAppended():
                self._remembered(log, fact)
            case Warned():
                log.warning = fact.warning.code
                self._mark(f"stand-in-{fact.warning.code.lower().replace('_', '-')}")
            case TurnQueued() | TurnWithdrawn() | TurnStarted() | TurnEnded():
                turns.turn(log, fact, self._mark)
            case SummaryClaimed() | SummaryStaged() | SummaryCompleted():
                summarized.summary(log, fact, self._mark, self._grace_s)
                return  # no activity
            case SessionCreated():
                pass
            case Finalized() | Deleted():
                self._ended(log, fact)
            case _:
                turns.handoff(log, fact, self._mark)
        log.active_at = fact.at

    def _attached(self, log: SessionLog, fact: Attached) -> None:
        """Raises session-epoch-step, owner-ousted, superseded-wrong or handoff-not-ready."""
        where = {"session_id": log.session_id, "epoch": fact.epoch}
        if fact.epoch != log.epoch + 1:
            detail = f"{fact.owner} owns {log.session_id} under epoch {fact.epoch}; it was at {log.epoch}."
            raise Violation("session-epoch-step", detail, **where)
        other = log.owner if log.owner != fact.owner else None
        live = log.lease is not None and self._now() < log.lease
        if other is not None and live and fact.how == "resumed":
            detail = f"{fact.owner} resumes {log.session_id}, which {other} owns until {log.lease}."
            raise Violation("owner-ousted", detail, **where)
        if fact.superseded != other:
            detail = f"{fact.owner} supersedes {fact.superseded} in {log.session_id}; its owner was {log.owner}."
            raise Violation("superseded-wrong", detail, **where)
        if fact.how == "handed_over":
            handing = log.handing_off
            if handing is None or not handing.ready:
                detail = f"{log.session_id} is handed over to {fact.owner}, and its owner was not ready."
                raise Violation("handoff-not-ready", detail, **where)
        if other is not None and not live and fact.how != "handed_over":
            self._mark("lease-lapsed-resume" if self._now() != log.lease else "resumed-on-the-instant")
        self._mark(f"attach-{fact.how.replace('_', '-')}")
        if log.owner == fact.owner:
            self._mark("owner-came-back")
        log.owner, log.epoch, log.lease, log.how = fact.owner, fact.epoch, None, fact.how
        log.owners[fact.epoch] = fact.owner

    def _detached(self, log: SessionLog, fact: Detached) -> None:
        """Raises owner-ousted."""
        live = log.lease is not None and self._now() < log.lease
        if (fact.owner, fact.epoch) != (log.owner, log.epoch) or (fact.reason == "lapsed" and live):
            detail = f"{fact.owner} ({fact.epoch}) is detached from {log.session_id} ({fact.reason}); {log.owner} owns "
            raise Violation("owner-ousted", f"{detail}it under {log.epoch} until {log.lease}.", epoch=log.epoch)
        self._mark("detached" if fact.reason == "left" else "lease-lapsed-write")
        log.owner = None

    def _remembered(self, log: SessionLog, fact: MemoryAppended) -> None:
        """Raises memory-order or memory-doubled."""
        expected = (len(log.hashes) + 1, log.epoch, log.owner)
        if (fact.sequence, fact.epoch, fact.by) != expected:
            detail = f"Memory {fact.sequence} by {fact.by} under {fact.epoch} came to {log.session_id}, not {expected}."
            raise Violation("memory-order", detail, session_id=log.session_id, sequence=fact.sequence)
        log.hashes.append(fact.hash)
        wish = fact.content.get("wish") if isinstance(fact.content, dict) else None
        if isinstance(wish, str) and log.wishes.setdefault(wish, fact.sequence) != fact.sequence:
            detail = f"{log.session_id} holds {wish} as memory {log.wishes[wish]} and {fact.sequence}."
            raise Violation("memory-doubled", detail, session_id=log.session_id, sequence=fact.sequence)
        self._mark("memory" if fact.by is not None else "memory-of-nobodys-session")

    def _ended(self, log: SessionLog, fact: Finalized | Deleted) -> None:
        """Raises input-lost."""
        if log.queue or (isinstance(fact, Deleted) and log.active is not None):
            detail = f"{log.session_id} is {fact.command}d, and {log.queue or log.active} is not done."
            raise Violation("input-lost", detail, session_id=log.session_id)
        log.status = FINALIZED if isinstance(fact, Finalized) else DELETED
        self._mark(f"session-{log.status}")

    # The rows, after the group's records were judged.

    def rows(self, news: Sequence[News]) -> None:
        """What moved stands in the store as its facts say, and nothing waits that could begin. Raises a Violation."""
        for session_id in dict.fromkeys(item.session_id for item in news if isinstance(item, SessionMoved)):
            log = self.logs.get(session_id)
            if log is None:
                detail = f"It is told that {session_id} moved, and nothing that befell it is in the store."
                raise Violation("session-news-unfounded", detail, session_id=session_id)
            self._row(log)

    def leases(self, session_ids: Sequence[SessionId]) -> None:
        """Somebody wrote to these: their owners' leases may be others now."""
        for session_id in session_ids:
            view = self._rows.session_view(session_id)
            if view is not None and session_id in self.logs:
                if view.lease_until != self.logs[session_id].lease:
                    self._mark("session-lease-renewed")
                self.logs[session_id].lease = view.lease_until

    def _row(self, log: SessionLog) -> None:
        """Raises row-missing, session-state, memory-lost, staged-dropped, handoff-row or what `turns` does."""
        view = self._rows.session_view(log.session_id)
        if view is None:
            raise Violation("row-missing", f"There is no row of {log.session_id}.", session_id=log.session_id)
        row = view.session
        claim = (row.claim.token, row.claim.through, row.claim.is_staged) if row.claim is not None else None
        queue, withdrawn = [*row.queue], [*row.withdrawn]
        said = (row.owner, row.epoch, row.active_run_id, row.turns, queue, withdrawn, str(row.status), row.watermark)
        begun, ahead = len(log.turns), (log.queue, log.withdrawn)
        known = (log.owner, log.epoch, log.active, begun, *ahead, log.status, log.watermark)
        if said != known:
            detail = (
                f"{log.session_id}'s row says {said} (owner, epoch, run, turns, queue, withdrawn, status, summarized); "
            )
            raise Violation("session-state", f"{detail}its facts say {known}.", session_id=log.session_id)
        wanted = (log.claim.token, log.claim.through, log.claim.staged) if log.claim is not None else None
        if claim != wanted:
            name = "staged-dropped" if claim and wanted and claim[:2] == wanted[:2] else "session-state"
            detail = f"{log.session_id}'s claim is {claim} (token, through, staged); its facts say {wanted}."
            raise Violation(name, detail, session_id=log.session_id)
        log.lease = view.lease_until
        if log.owner is not None and (log.lease is None or log.active_at is None):
            raise Violation("session-lease-missing", f"{log.owner} owns {log.session_id} without a lease.")
        self._memory(log, row.memory_count, row.memory_hash)
        turns.check(log, self._log, self._rows)

    def _memory(self, log: SessionLog, count: int, head: str | None) -> None:
        known = (len(log.hashes), log.hashes[-1] if log.hashes else None)
        kept = self._rows.memories(log.session_id, max(0, known[0] - 1), 2)
        if (count, head) != known or [entry.hash for entry in kept] != log.hashes[-1:]:
            detail = f"{log.session_id} was given {known[0]} memories; its row counts {count}, the last of it is {kept}"
            raise Violation("memory-lost", f"{detail:.300}.", session_id=log.session_id)

    # The end.

    def check_chains(self) -> None:
        """Every session's memory is one sequence to the end. Raises memory-chain."""
        for session_id, log in self.logs.items():
            entries = self._rows.memories(session_id, 0, len(log.hashes) + 1)
            broken = first_break(session_id, entries)
            if broken is not None or [entry.hash for entry in entries] != log.hashes:
                detail = f"The memory of {session_id} breaks at {broken or len(entries)} of {len(log.hashes)}."
                raise Violation("memory-chain", detail, session_id=session_id)

    def handing(self) -> str | None:
        """A handoff that has not ended."""
        return next((log.handing_off.handoff_id for log in self.logs.values() if log.handing_off is not None), None)

    def check_turn(self, run: RunState) -> None:
        """Something has happened to this run. Raises queued-run-claimed."""
        log = self.logs.get(run.session.session_id)
        if log is not None and run.run_id in log.queue and run.now.status == RUNNING:
            detail = f"{run.run_id} is claimed, and its turn in {log.session_id} has not come."
            raise Violation("queued-run-claimed", detail, run_id=run.run_id)

    def next_end(self, now: float) -> float | None:
        """When the next lease of an owner, claim, or handoff ends: an instant at which everybody must say the same."""
        ends: list[datetime | None] = []
        for log in self.logs.values():
            handing, claim = log.handing_off, log.claim
            ends += [
                log.lease if log.owner is not None else None,
                handing.expires_at if handing is not None else None,
                claim.expires_at if claim is not None else None,
            ]
        seconds = [(end - EPOCH).total_seconds() for end in ends if end is not None]
        return min((end for end in seconds if end > now), default=None)

    def moments(self, session_id: SessionId) -> list[tuple[str | None, int]]:
        """Every owner and epoch the session had from before the group until now."""
        log = self.logs.get(session_id)
        if log is None:
            return []
        before = self._before.get(session_id)
        since = _last_change(log) if before is None else before
        return [(change.owner, change.epoch) for change in log.changes[since:]]


def _last_change(log: SessionLog) -> int:
    return max(0, len(log.changes) - 1)
