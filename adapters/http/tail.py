"""The resume tail: what was said, what waits for a person, what runs and from which cursor, in one bounded answer."""

from typing import Final

from ...domain.errors import NotFound
from ...domain.identifiers import SessionId
from ...domain.ports import Store
from ...domain.transitions import SessionStatus
from .history import as_configured
from .resources import Resource, active_run_resource, session_resource

IDLE: Final = "idle"
"""The status of a session that has no active run."""


async def tail_resource(store: Store, session_id: SessionId, limit: int) -> Resource:
    """The tail with at most `limit` primary messages. Raises NotFound and whatever the store raises: never a guess."""
    tail = await store.tail(session_id, limit)
    if tail is None or tail.view.session.status is SessionStatus.DELETED:  # a resume that is repeated may come too late
        raise NotFound(f"There is no session {session_id!r:.80}.", session_id=session_id)
    active = active_run_resource(tail.active.run) if tail.active is not None else None
    return {
        "session": session_resource(tail.view),
        "messages": as_configured(tail.messages),
        "pending_approvals": active["pending_approvals"] if active is not None else [],
        "status": active["status"] if active is not None else IDLE,
        "active_run": active,
        "cursor": str(tail.cursor),
    }
