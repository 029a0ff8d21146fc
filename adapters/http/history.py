"""History: pages of a session's messages, each shown as its run's request_config shows that run's stream."""

import re
from collections.abc import Sequence
from typing import Any, Final

from ...domain.identifiers import RUN_PREFIX, RunId, SessionId, is_identifier
from ...domain.messages import Fields
from ...domain.ports import MessagePlace, Span, Store, StoredMessage
from ...domain.request_config import RequestConfig
from ...domain.session import Session
from ...domain.snapshot import Snapshot
from .problems import UnknownPage

_ORDINAL: Final = re.compile(r"[0-9]{1,9}", re.ASCII)


async def history(store: Store, session_id: SessionId, span: Span, limit: int) -> tuple[list[Fields], bool]:
    """At most `limit` messages of the span, oldest first, and whether it holds more."""
    found = await store.messages(session_id, span, limit + 1)
    kept = found[:limit] if span.oldest else found[-limit:]
    return as_configured(kept), len(found) > limit


def as_configured(messages: Sequence[StoredMessage]) -> list[Fields]:
    """The messages as clients see them."""
    return [_as_shown(message.fields, message.config) for message in messages]


async def place_of(store: Store, session: Session, message_id: str, field: str) -> MessagePlace:
    """Where the message stands that a page ended with. Raises UnknownPage."""
    given, _, rest = message_id.partition(":")
    run_id, _, ordinal = rest.partition(":")
    if given == session.session_id and is_identifier(RUN_PREFIX, run_id) and _ORDINAL.fullmatch(ordinal):
        view = await store.run_view(RunId(run_id))
        if view is not None and view.run.session_id == session.session_id:
            return view.run.turn, view.run.attempt, int(ordinal)
    raise UnknownPage(field=field)


def _as_shown(message: Fields, config: RequestConfig) -> Fields:
    if config.shows_everything:
        return message
    state: dict[str, Any] = {"run": {}, "messages": [message], "pending_approvals": []}
    filtered: Fields = Snapshot.load(state, 0).state(config)["messages"][0]
    return filtered
