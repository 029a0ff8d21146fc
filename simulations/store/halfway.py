"""Each work whole or not at all: one that fails half-way leaves nothing, whatever it had written by then."""

from typing import Final, NoReturn
from uuid import UUID

from ...domain.errors import Invalid
from ...domain.identifiers import SESSION_PREFIX, SessionId, identifier
from ...domain.ports import Transaction
from ...domain.session import Session
from ...domain.session_facts import SessionCreated
from ..violation import Violation
from .core import Core

_NOBODYS: Final = SessionId(identifier(SESSION_PREFIX, UUID(int=7 << 76 | 0b10 << 62)))


def check_halfway(core: Core) -> None:
    """Fail half-way. Raises half-kept."""

    def half(tx: Transaction) -> NoReturn:
        tx.record(Session(), SessionCreated(at=tx.now, session_id=_NOBODYS, tenant="nobody", metadata={}))
        raise Invalid("It fails half-way.")

    core.write([half])
    if core.session_view(_NOBODYS) is not None:
        raise Violation("half-kept", "A work created a session, then failed; the session is there all the same.")
