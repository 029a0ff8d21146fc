"""The rows that follow from a session's facts: deadlines, memories, handoffs, and which run waits for its turn."""

from typing import Any

from pydantic import ValidationError

from ...domain.identifiers import SessionId
from ...domain.memory import Memory
from ...domain.session import Session
from ...domain.session_facts import (
    Handoff,
    HandoffEnded,
    HandoffReady,
    HandoffRequested,
    MemoryAppended,
    SessionFact,
    TurnQueued,
    TurnStarted,
)
from ..codec import damaged, microseconds, stream_id
from ..driver import Connection
from . import session_statements as owner_sql
from . import statements as sql


def session_columns(session_id: SessionId, session: Session) -> dict[str, Any]:
    """The columns of the session's own row, beside those of every aggregate."""
    handoff = session.handing_off
    due = microseconds(handoff.expires_at) if handoff is not None else None
    return {"session_id": stream_id(session_id), "handoff_due": due, "lease_until": None}


def follow_session(connection: Connection, before: Session, session: Session, fact: SessionFact) -> None:
    """Update the other rows."""
    stream = stream_id(session.session_id)
    match fact:
        case MemoryAppended():
            body = Memory.of(fact).model_dump_json().encode()
            connection.execute(owner_sql.INSERT_MEMORY, {"session_id": stream, "sequence": fact.sequence, "body": body})
        case HandoffRequested() | HandoffReady() | HandoffEnded() if session.handoff is not None:
            handoff = session.handoff
            row = {"session_id": stream, "handoff_id": handoff.handoff_id, "state": handoff.model_dump_json().encode()}
            connection.execute(owner_sql.SAVE_HANDOFF, row)
        case TurnQueued():
            connection.execute(sql.QUEUE_RUN, {"id": stream_id(fact.run_id), "queued": 1})
        case TurnStarted() if fact.run_id in before.queue:
            connection.execute(sql.QUEUE_RUN, {"id": stream_id(fact.run_id), "queued": 0})
        case _:
            pass


def stored_handoff(connection: Connection, session_id: SessionId, handoff_id: str) -> Handoff | None:
    """One of the session's handoffs. Raises RecordDamaged."""
    key = {"id": stream_id(session_id), "handoff_id": handoff_id}
    row = connection.execute(owner_sql.SELECT_HANDOFF, key).fetchone()
    if row is None:
        return None
    try:
        return Handoff.model_validate_json(row[0])
    except ValidationError as error:
        raise damaged(session_id, 0) from error


def stored_memories(connection: Connection, session_id: SessionId, after: int, limit: int) -> list[Memory]:
    """The session's memories after this sequence number, in order. Raises RecordDamaged."""
    bounds = {"id": stream_id(session_id), "after": after, "limit": limit}
    try:
        return [
            Memory.model_validate_json(row[0])
            for row in connection.execute(owner_sql.SELECT_MEMORIES, bounds).fetchall()
        ]
    except ValidationError as error:
        raise damaged(session_id, after + 1) from error
