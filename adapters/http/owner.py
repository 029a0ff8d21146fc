"""The owner's watch: tells a session stream's reader who said which epoch it holds what becomes of its ownership.

These frames are derived from the session when the reader attaches and whenever the session moves; the log does not
hold them, so they carry no id.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from ...domain.errors import ReattachError, StoreUnavailable
from ...domain.session import Session
from ...domain.session_facts import Handoff
from . import sse
from .broadcaster import Broadcaster
from .reader import Reader

SUPERSEDED: Final = "session.superseded"
WARNING: Final = "session.warning"

_log: Final = logging.getLogger("reattach.stream")


class Watch:
    """One reader, the epoch it holds, and what it was told already: everything once."""

    __slots__ = ("_again", "_broadcaster", "_epoch", "_forget", "_looking", "_owned", "_reader", "_session_id", "_told")

    def __init__(self, broadcaster: Broadcaster, reader: Reader, session: Session, epoch: int) -> None:
        self._broadcaster = broadcaster
        self._reader = reader
        self._session_id = session.session_id
        self._epoch = epoch
        handoff = session.handoff
        self._told = _step(handoff) if handoff is not None and not handoff.active else None
        self._owned = True
        self._looking: asyncio.Task[None] | None = None
        self._again = False
        self._forget: Callable[[], None] = broadcaster.watch_session(session.session_id, self.wake)

    def stop(self) -> None:
        """Nothing more is told."""
        self._forget()
        if self._looking is not None:
            self._looking.cancel()

    def wake(self) -> None:
        """The session may have moved: look."""
        self._again = True
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def _look(self) -> None:
        while self._again and self._owned and not self._reader.closed:
            self._again = False
            try:
                session = await self._broadcaster.store.session(self._session_id)
            except StoreUnavailable:
                self._again = True
                await asyncio.sleep(self._broadcaster.times.retry_s)
                continue
            except ReattachError as error:  # nobody awaits this task: what goes wrong in it is said here
                _log.error("an owner could not be watched", exc_info=error)
                self._broadcaster.reconnect(self._reader, "unavailable")
                return
            if session is not None:
                self._broadcaster.interject(self._reader, self.news(session))

    def news(self, session: Session) -> bytes:
        """What the reader has not been told yet."""
        if not session.granted(self._epoch):
            self._owned = False
            detail = f"Epoch {self._epoch} was never granted; the session is at {session.epoch}. Resume it to own it."
            return sse.event(
                WARNING,
                {"session_id": session.session_id, "code": "UNKNOWN_EPOCH", "detail": detail, "held": self._epoch},
            )
        if session.epoch != self._epoch:
            self._owned = False
            fields: dict[str, Any] = {"session_id": session.session_id, "epoch": session.epoch, "owner": session.owner}
            return sse.event(SUPERSEDED, {**fields, "held": self._epoch})
        if session.owner is None:
            self._owned = False
            detail = "Nobody owns the session any more; resume it before you write."
            return sse.event(WARNING, {"session_id": session.session_id, "code": "DETACHED", "detail": detail})
        handoff = session.handoff
        if handoff is None or _step(handoff) == self._told or handoff.status == "completed":
            return b""
        self._told = _step(handoff)
        fields = {"session_id": session.session_id, "code": f"HANDOFF_{handoff.status.upper()}"}
        return sse.event(WARNING, {**fields, "handoff_id": handoff.handoff_id, "reason": handoff.reason})


def _step(handoff: Handoff) -> tuple[str, str]:
    return handoff.handoff_id, handoff.status
