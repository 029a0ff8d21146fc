"""Planned handoffs: a session's owner lets go at a turn boundary, and another client goes on.

request (anybody) -> what was accepted finishes, what comes later waits -> ready (the owner) -> the target resumes with
the handoff's id, or the deadline passes and the owner goes on. Every step is a fact, so both sides may restart.
"""

from datetime import timedelta
from typing import Final

from pydantic import BaseModel, ConfigDict

from .errors import Invalid, NotFound
from .ports import Ids, Store, Transaction
from .requests import HANDOFF_TIMEOUT_S_MAX, Idempotency, Limits
from .session import Session
from .session_facts import Handoff, HandoffReady, HandoffRequested
from .steps import as_session, end_handoff, in_session, once, owned, writable

HANDOFF_ID_CHARS_MAX: Final = 80
"""Characters of a handoff's id, which the client may choose."""


class Asked(BaseModel):
    """The answer to a request."""

    model_config = ConfigDict(frozen=True)
    handoff: Handoff
    new: bool


class Handoffs:
    """The use cases over one store."""

    def __init__(self, store: Store, ids: Ids, limits: Limits) -> None:
        self._store = store
        self._ids = ids
        self._limits = limits

    async def request(
        self,
        tenant: str,
        session_id: str,
        handoff_id: str | None,
        timeout_s: float | None,
        idempotency: Idempotency | None = None,
    ) -> tuple[Handoff, bool]:
        """Ask the owner to hand over at its next turn boundary; the handoff as it is now, and whether it is new.

        The same id, or Idempotency-Key, again is the same handoff. Raises HandoffConflict (another is under way, nobody
        owns it), Invalid, IdempotencyMismatch.
        """
        timeout = self._limits.handoff_timeout_s if timeout_s is None else timeout_s
        if not 0 < timeout <= HANDOFF_TIMEOUT_S_MAX:
            raise Invalid(f"timeout_s is over 0 and at most {HANDOFF_TIMEOUT_S_MAX:.0f}.", field="timeout_s")
        if handoff_id is not None and not 0 < len(handoff_id) <= HANDOFF_ID_CHARS_MAX:
            raise Invalid(f"handoff_id has 1 to {HANDOFF_ID_CHARS_MAX} characters.", field="handoff_id")
        name = handoff_id or f"{self._ids.uuid()}"

        def work(tx: Transaction, session: Session) -> Asked:
            known = _handoff_of(tx, session, name)
            if known is not None:
                return Asked(handoff=known, new=False)
            fact = HandoffRequested(
                at=tx.now,
                handoff_id=name,
                source=session.owner or "",
                epoch=session.epoch,
                barrier=session.turns + len(session.queue),
                expires_at=tx.now + timedelta(seconds=timeout),
            )
            return Asked(handoff=known_handoff(tx, tx.record(session, fact), name), new=True)

        asked = await self._store.transact(once(tenant, idempotency, Asked, in_session(tenant, session_id, work)))
        if idempotency is not None and idempotency.replayed:
            return await self.get(tenant, session_id, asked.handoff.handoff_id), False
        return asked.handoff, asked.new

    async def ready(self, tenant: str, session_id: str, handoff_id: str, epoch: int) -> Handoff:
        """The source lets go: the target may come. Raises HandoffConflict as long as accepted inputs are not done."""

        def work(tx: Transaction, session: Session) -> Handoff:
            known = _handoff_of(tx, session, handoff_id)
            if known is not None and _said_ready(known, epoch):
                return known  # it was said before, and nobody heard the answer
            session = writable(tx, session, epoch)
            known = known_handoff(tx, session, handoff_id)
            if known.status == "ready":
                return known
            fact = HandoffReady(at=tx.now, handoff_id=handoff_id, epoch=session.epoch)
            return known_handoff(tx, tx.record(session, fact), handoff_id)

        return await self._store.transact(in_session(tenant, session_id, work))

    async def abandon(self, tenant: str, session_id: str, handoff_id: str) -> Handoff:
        """Call it off: the source goes on, and what waited begins. One that has ended is answered as it is."""

        def work(tx: Transaction, session: Session) -> Handoff:
            known = known_handoff(tx, session, handoff_id)
            if not known.active:
                return known
            return known_handoff(tx, end_handoff(tx, session, known, "abandoned"), handoff_id)

        return await self._store.transact(in_session(tenant, session_id, work))

    async def get(self, tenant: str, session_id: str, handoff_id: str) -> Handoff:
        """A handoff as it is now. Raises NotFound."""
        session = owned(await self._store.session(as_session(session_id)), tenant, "session", session_id)
        known = await self._store.handoff(session.session_id, handoff_id)
        if known is None:
            raise _no_handoff(handoff_id)
        return known


def known_handoff(tx: Transaction, session: Session, handoff_id: str) -> Handoff:
    """The session's handoff of that id, the last one or one before. Raises NotFound."""
    known = _handoff_of(tx, session, handoff_id)
    if known is None:
        raise _no_handoff(handoff_id)
    return known


def _handoff_of(tx: Transaction, session: Session, handoff_id: str) -> Handoff | None:
    last = session.handoff
    return last if last is not None and last.handoff_id == handoff_id else tx.handoff(session.session_id, handoff_id)


def _said_ready(handoff: Handoff, epoch: int) -> bool:
    """Whether whoever held this epoch has let go. From the request to the target's coming all epochs are the source's:
    it may have restarted in between, and anybody else would have ended the handoff.
    """
    until = handoff.epoch_after if handoff.status == "completed" else handoff.epoch + 1
    return handoff.status in ("ready", "completed") and handoff.epoch <= epoch < (until or 0)


def _no_handoff(handoff_id: str) -> NotFound:
    return NotFound(f"There is no handoff {handoff_id!r:.80}.", handoff_id=handoff_id[:HANDOFF_ID_CHARS_MAX])
