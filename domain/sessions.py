"""The use cases of sessions: resume and who owns it, memory, the end. Handoffs and summaries are next door.

Each is one transaction on the session's own stream. Who may write now is asked in one place, `steps.writable`.
"""

from datetime import datetime, timedelta
from typing import Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue
from pydantic_core import to_json

from .errors import HandoffConflict, Invalid, SessionOwned, TooLarge
from .handoffs import known_handoff
from .identifiers import SESSION_PREFIX, SessionId, identifier, is_identifier
from .memory import MEMORY_BYTES_MAX, Continuity, Memory, chain_hash
from .ports import Ids, Store, Transaction
from .requests import Idempotency, Limits
from .session import Session
from .session_facts import (
    Attached,
    AttachHow,
    Deleted,
    Finalized,
    HandoffEnded,
    MemoryAppended,
    SessionCreated,
    SessionWarning,
    Warned,
)
from .steps import as_writer, disown, end_handoff, expire_handoff, next_turn, once, owned_at
from .transitions import SessionStatus

CLIENT_CHARS_MAX: Final = 200
"""Characters of a client's id."""

ASKED_CHARS_MAX: Final = 80
"""Characters kept of an id that is none of ours."""

ResumeCode = Literal["RESUMED", "INVALID_SESSION_ID", "SESSION_NOT_FOUND", "SESSION_FINALIZED"]

_WARNINGS: Final[dict[str, str]] = {
    "INVALID_SESSION_ID": "The id that was asked for is no session id; this is a new, empty session.",
    "SESSION_NOT_FOUND": "There is no session with the id that was asked for; this is a new, empty session.",
    "SESSION_FINALIZED": "The session that was asked for is finalized; this is a new, empty session.",
}


class Resumed(BaseModel):
    """The answer to a resume: which session, under which epoch until when, and the evidence of its memory."""

    model_config = ConfigDict(frozen=True)
    session_id: SessionId
    resumed: bool
    code: ResumeCode
    epoch: int
    lease_expires_at: AwareDatetime
    warning: SessionWarning | None
    continuity: Continuity


class Sessions:
    """The use cases over one store."""

    def __init__(self, store: Store, ids: Ids, limits: Limits) -> None:
        self._store = store
        self._ids = ids
        self._limits = limits

    # Resume, and who owns it.

    async def resume(
        self,
        tenant: str,
        asked: object,
        client: str,
        *,
        takeover: bool = False,
        handoff_id: str | None = None,
        idempotency: Idempotency | None = None,
    ) -> Resumed:
        """Own the session from now on, under a new epoch; the same client may always come back.

        An id that is none, unknown, another tenant's or finalized is answered with a new session and a warning, in the
        same transaction. Raises SessionOwned (another live client, no `takeover`), HandoffConflict, Invalid.
        """
        if not 0 < len(client) <= CLIENT_CHARS_MAX:
            raise Invalid(f"client_id has 1 to {CLIENT_CHARS_MAX} characters.", field="client_id")
        new_id = SessionId(identifier(SESSION_PREFIX, self._ids.uuid()))

        def work(tx: Transaction) -> Resumed:
            session, code = _found(tx, tenant, asked)
            if session is not None and code == "RESUMED":
                return self._attach(tx, session, client, takeover=takeover, handoff_id=handoff_id)
            warning = SessionWarning(code=code, detail=_WARNINGS[code], asked=f"{asked}"[:ASKED_CHARS_MAX])
            created = SessionCreated(at=tx.now, session_id=new_id, tenant=tenant, metadata={})
            session = tx.record(tx.record(Session(), created), Warned(at=tx.now, warning=warning))
            return self._owned(tx, session, client, "resumed", code)

        return await self._store.transact(once(tenant, idempotency, Resumed, work))

    def _attach(
        self, tx: Transaction, session: Session, client: str, *, takeover: bool, handoff_id: str | None
    ) -> Resumed:
        session = expire_handoff(tx, session)
        handoff = session.handing_off
        how: AttachHow = "resumed"
        until = tx.session_lease(session.session_id)
        if handoff_id is not None:
            known = known_handoff(tx, session, handoff_id)
            if known.status == "completed" and (session.owner, session.epoch) == (client, known.epoch_after):
                return self._answer(session, self._lease(tx, session), "RESUMED")  # it came before, and did not hear
            if known.status != "ready":
                raise HandoffConflict(f"The handoff is {known.status}.", handoff_id=handoff_id, status=known.status)
            how = "handed_over"
        elif session.owner not in (None, client) and owned_at(until, tx.now):
            if not takeover:
                raise _owned_by_another(session, until)
            how = "taken_over"
        if handoff is not None and how != "handed_over" and client != handoff.source:
            session = end_handoff(tx, session, handoff, "superseded")
        return self._owned(tx, session, client, how, "RESUMED")

    def _owned(self, tx: Transaction, session: Session, client: str, how: AttachHow, code: ResumeCode) -> Resumed:
        handoff = session.handing_off
        superseded = session.owner if session.owner != client else None
        attached = Attached(at=tx.now, owner=client, epoch=session.epoch + 1, how=how, superseded=superseded)
        session = tx.record(session, attached)
        if handoff is not None and how == "handed_over":
            ended = HandoffEnded(
                at=tx.now, handoff_id=handoff.handoff_id, outcome="completed", target=client, epoch=session.epoch
            )
            session = next_turn(tx, tx.record(session, ended))
        until = self._lease(tx, session)
        return self._answer(session, until, code)

    def _lease(self, tx: Transaction, session: Session) -> datetime:
        until = tx.now + timedelta(seconds=self._limits.session_lease_s)
        tx.lease_session(session.session_id, until)
        return until

    def _answer(self, session: Session, until: datetime, code: ResumeCode) -> Resumed:
        return Resumed(
            session_id=session.session_id,
            resumed=code == "RESUMED",
            code=code,
            epoch=session.epoch,
            lease_expires_at=until,
            warning=session.warning if code != "RESUMED" else None,
            continuity=session.continuity,
        )

    async def renew(self, tenant: str, session_id: str, epoch: int) -> Session:
        """Prolong the owner's lease. Raises StaleSession."""

        def work(tx: Transaction, session: Session) -> Session:
            self._lease(tx, session)
            return session

        return await self._store.transact(as_writer(tenant, session_id, epoch, work))

    async def detach(self, tenant: str, session_id: str, epoch: int) -> Session:
        """Own it no more. A handoff that was not ready ends; one that is still waits for its target."""

        def work(tx: Transaction, session: Session) -> Session:
            tx.lease_session(session.session_id, None)
            return disown(tx, session, session.owner or "", "left")

        return await self._store.transact(as_writer(tenant, session_id, epoch, work))

    # Memory.

    async def append_memory(
        self,
        tenant: str,
        session_id: str,
        content: JsonValue,
        epoch: int | None,
        idempotency: Idempotency | None = None,
    ) -> Memory:
        """Append an entry at the end of the chain. Raises SessionFinalized, StaleSession, SessionEpochRequired."""
        if len(to_json(content)) > MEMORY_BYTES_MAX:
            raise TooLarge(f"A memory has at most {MEMORY_BYTES_MAX} bytes.", limit=MEMORY_BYTES_MAX)

        def work(tx: Transaction, session: Session) -> Memory:
            entry = MemoryAppended(
                at=tx.now,
                sequence=session.memory_count + 1,
                content=content,
                by=session.owner,
                epoch=session.epoch,
                hash="",
            )
            fact = entry.model_copy(update={"hash": chain_hash(session.memory_hash, session.session_id, entry)})
            tx.record(session, fact)
            return Memory.of(fact)

        return await self._store.transact(once(tenant, idempotency, Memory, as_writer(tenant, session_id, epoch, work)))

    # The end.

    async def finalize(self, tenant: str, session_id: str, epoch: int | None) -> Session:
        """No more turns and memories. A finalized session is answered as it is."""

        def work(tx: Transaction, session: Session) -> Session:
            return session if session.status is SessionStatus.FINALIZED else tx.record(session, Finalized(at=tx.now))

        return await self._store.transact(as_writer(tenant, session_id, epoch, work))

    async def delete(self, tenant: str, session_id: str, epoch: int | None) -> None:
        """Gone for everybody. Raises SessionBusy while a run is active."""
        await self._store.transact(
            as_writer(tenant, session_id, epoch, lambda tx, session: tx.record(session, Deleted(at=tx.now)))
        )


def _found(tx: Transaction, tenant: str, asked: object) -> tuple[Session | None, ResumeCode]:
    """The session that can be resumed, or why there is none. Another tenant's is unknown."""
    if not isinstance(asked, str) or not is_identifier(SESSION_PREFIX, asked):
        return None, "INVALID_SESSION_ID"
    session = tx.session(SessionId(asked))
    if session is None or session.tenant != tenant or session.status is SessionStatus.DELETED:
        return None, "SESSION_NOT_FOUND"
    return (session, "RESUMED") if session.status is SessionStatus.OPEN else (None, "SESSION_FINALIZED")


def _owned_by_another(session: Session, until: datetime | None) -> SessionOwned:
    detail = f"{session.owner!r:.80} owns it under epoch {session.epoch}."
    fields = {"session_id": session.session_id, "owner": session.owner, "epoch": session.epoch}
    return SessionOwned(detail, **fields, lease_expires_at=until)
