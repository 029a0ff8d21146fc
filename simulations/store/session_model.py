"""The specification of what is read of a session: its tail, its history's pages, and the rows that are kept."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from ...domain.identifiers import Cursor, RunId
from ...domain.messages import Fields
from ...domain.ports import MessagePlace, RunView, SessionView, Span, StoredMessage, Tail
from ...domain.tail import EXTRA_FACTOR, is_primary, orphans
from .core import Row, microseconds
from .tables import Tables

M = TypeVar("M", bound=tuple[MessagePlace, Any, Any])


def within(messages: Sequence[M], span: Span, limit: int) -> list[M]:
    """The newest messages of the span, or the oldest, at most `limit`; in order."""
    found = [
        message
        for message in messages
        if (span.after is None or message[0] > span.after) and (span.before is None or message[0] < span.before)
    ]
    return found[:limit] if span.oldest else found[max(0, len(found) - limit) :]


def tail_of(
    view: SessionView, history: Sequence[StoredMessage], last: RunView | None, limit: int, generation: int
) -> Tail:
    """The tail of a session whose whole history is given; `last` is the run of its latest turn."""
    session = view.session
    active = last if session.active_run_id is not None else None
    if last is None:
        cursor = Cursor(RunId(session.session_id), generation, 0, 0)
    elif active is not None:
        cursor = Cursor(active.run.run_id, generation, 0, 0)
    else:
        cursor = Cursor(last.run.run_id, generation, last.run.epoch, last.head_seq)
    return Tail(view, cut(history, limit), active, cursor)


def cut(history: Sequence[StoredMessage], limit: int) -> list[StoredMessage]:
    """From the `limit`-th primary message on, further back where a result would stand alone; at most so many times."""
    if len(history) < limit:
        return list(history)
    newest = history[max(0, len(history) - EXTRA_FACTOR * limit) :]
    fields: list[Fields] = [message for _, message, _ in newest]
    starts = range(len(fields) - 1, -1, -1)
    enough = (n for n in starts if sum(map(is_primary, fields[n:])) >= limit and not orphans(fields[n:]))
    start = next(enough, None)
    if start is None:
        whole = len(newest) == len(history)
        start = 0 if whole else next((n for n in range(len(fields)) if not orphans(fields[n:])), len(fields))
    return list(newest[start:])


def session_rows(tables: Tables) -> Iterator[Row]:
    """What is kept of sessions beside their state."""
    for session_id, session in sorted(tables.sessions.items()):
        handoff = session.handing_off
        due = microseconds(handoff.expires_at) if handoff is not None else None
        yield "owner", session_id, microseconds(tables.owners.get(session_id)), due
    for run_id, run in sorted(tables.runs.items()):
        if tables.queued(run):
            yield "queued", run_id
    for (session_id, handoff_id), handoff in sorted(tables.handoffs.items()):
        yield "handoff", session_id, handoff_id, handoff.model_dump_json().encode()
    for session_id, entries in sorted(tables.memories.items()):
        for entry in entries:
            yield "memory", session_id, entry.sequence, entry.model_dump_json().encode()
