"""One Idempotency-Key, one answer: for as long as the store keeps it, and for one request."""

from collections.abc import Callable
from datetime import datetime, timedelta

from ...domain.errors import IdempotencyMismatch, ReattachError, RecordDamaged, StoreUnavailable
from ...domain.memory import Memory
from ...domain.requests import Idempotency
from ...domain.run import Run
from ...domain.session import Session
from ...domain.sessions import Resumed
from ...infrastructure.eventstore.writer import Result
from ..violation import Violation


class Keys:
    """What each key of a tenant stands for."""

    def __init__(self, now: Callable[[], datetime], mark: Callable[[str], None], retention_s: float) -> None:
        self._now = now
        self._mark = mark
        self._retention = timedelta(seconds=retention_s)
        self._answers: dict[tuple[str, str], tuple[str, str, datetime]] = {}

    def judge(self, tenant: str, key: Idempotency, result: Result) -> None:
        """Raises key-answered-twice, key-reused, key-forgotten or key-refused."""
        known = self._answers.get((tenant, key.key))
        kept = known is not None and self._now() - known[2] < self._retention
        if isinstance(result.error, IdempotencyMismatch):
            if known is None or known[1] == key.fingerprint:
                detail = f"The key {key.key} of {tenant} was refused as used otherwise; it was not."
                raise Violation("key-refused", detail, tenant=tenant, key=key.key)
            self._mark("key-mismatch")
        elif known is not None and kept and known[1] == key.fingerprint and _is_answer(result.error):
            detail = f"The key {key.key} of {tenant} is answered with {result.error}; it stands for {known[0]}."
            raise Violation("key-forgotten", detail, tenant=tenant, key=key.key)
        made = _made(result)
        if made is None:
            return
        if known is not None and kept and known[1] != key.fingerprint:
            detail = f"The key {key.key} of {tenant} was taken for another request; it stands for {known[0]}."
            raise Violation("key-reused", detail, tenant=tenant, key=key.key)
        if known is not None and kept and known[0] != made:
            detail = f"The key {key.key} of {tenant} is answered with {made}; it stands for {known[0]}."
            raise Violation("key-answered-twice", detail, tenant=tenant, key=key.key)
        if known is None or known[0] != made:
            self._answers[tenant, key.key] = (made, key.fingerprint, self._now())
        else:
            self._mark("key-replayed")


def _made(result: Result) -> str | None:
    """What an Idempotency-Key stands for from now on."""
    match result.value if result.error is None else None:
        case Run() as run:
            return run.run_id
        case Session() as session:
            return session.session_id
        case Memory() as memory:
            return memory.hash
        case Resumed() as resumed:
            return f"{resumed.session_id} under epoch {resumed.epoch}"
        case _:
            return None


def _is_answer(error: Exception | None) -> bool:
    """Whether this error says something of the request, and not of the store."""
    return isinstance(error, ReattachError) and not isinstance(error, StoreUnavailable | RecordDamaged)
