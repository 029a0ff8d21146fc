"""The statements of sessions' owners, memories and handoffs."""

from typing import Final

import sqlalchemy as sa

from .compiling import compiled, upsert
from .compiling import p as _p
from .schema import handoffs, memories, sessions

LEASE_SESSION: Final = compiled(
    sa.update(sessions).where(sessions.c.session_id == _p("id")).values(lease_until=_p("until"))
)
TAKE_EXPIRED_HANDOFFS: Final = compiled(
    sa.select(sessions.c.session_id)
    .where(sessions.c.handoff_due.is_not(None), sessions.c.handoff_due <= _p("before"))
    .order_by(sessions.c.handoff_due, sessions.c.session_id)
    .limit(_p("limit"))
    .with_for_update(key_share=True, skip_locked=True)
)
SAVE_HANDOFF: Final = upsert(handoffs, "state")
SELECT_HANDOFF: Final = compiled(
    sa.select(handoffs.c.state).where(handoffs.c.session_id == _p("id"), handoffs.c.handoff_id == _p("handoff_id"))
)
INSERT_MEMORY: Final = compiled(sa.insert(memories))
SELECT_MEMORIES: Final = compiled(
    sa.select(memories.c.body)
    .where(memories.c.session_id == _p("id"), memories.c.sequence > _p("after"))
    .order_by(memories.c.sequence)
    .limit(_p("limit"))
)
SELECT_SESSION_VIEW: Final = compiled(
    sa.select(sessions.c.state, sessions.c.lease_until).where(sessions.c.session_id == _p("id"))
)
