"""Summaries: one claim at a time, under a token; the result is staged before it counts.

A claim covers all memories there are. One that came later voids it: no finished summary leaves out an accepted memory.
"""

from datetime import timedelta
from typing import Final

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue
from pydantic_core import to_json

from .errors import SummaryNotDue, TooLarge
from .identifiers import SessionId
from .ports import Ids, Store, Transaction
from .requests import Idempotency, Limits
from .session import Session
from .session_facts import SummaryClaimed, SummaryCompleted, SummaryStaged
from .steps import in_session, once

SUMMARY_BYTES_MAX: Final = 32_768
"""Bytes of a summary as JSON: it is part of the session's state, which every turn reads."""


class SummaryWork(BaseModel):
    """A claimed summary: the memories after `after` up to `through`, beside the `previous` summary of those before.

    With `is_staged` somebody has made it already (`staged`): complete it, no model needs to be asked.
    """

    model_config = ConfigDict(frozen=True)
    session_id: SessionId
    token: str
    after: int
    through: int
    previous: JsonValue
    is_staged: bool
    staged: JsonValue
    expires_at: AwareDatetime


class Summaries:
    """The use cases over one store."""

    def __init__(self, store: Store, ids: Ids, limits: Limits) -> None:
        self._store = store
        self._ids = ids
        self._limits = limits

    async def claim(self, tenant: str, session_id: str, by: str, idempotency: Idempotency | None = None) -> SummaryWork:
        """The right to summarize what is new, if the session is quiet. Raises SummaryNotDue.

        The same Idempotency-Key again gives the same claim: a lost answer does not lock the session up.
        """
        token = f"{self._ids.uuid()}"

        def work(tx: Transaction, session: Session) -> SummaryWork:
            self._check_due(tx, session)
            until = tx.now + timedelta(seconds=self._limits.summary_lease_s)
            through = session.memory_count
            fact = SummaryClaimed(at=tx.now, token=token, by=by, through=through, expires_at=until)
            claim = tx.record(session, fact).claim
            return SummaryWork(
                session_id=session.session_id,
                token=token,
                after=session.watermark,
                through=through,
                previous=session.summary,
                is_staged=claim is not None and claim.is_staged,
                staged=claim.staged if claim is not None else None,
                expires_at=until,
            )

        return await self._store.transact(once(tenant, idempotency, SummaryWork, in_session(tenant, session_id, work)))

    def _check_due(self, tx: Transaction, session: Session) -> None:
        name = session.session_id
        if session.active_run_id is not None or session.queue or session.handing_off is not None:
            raise SummaryNotDue("The session is in use.", session_id=name, run_id=session.active_run_id)
        if session.watermark == session.memory_count:
            raise SummaryNotDue("There is no new memory.", session_id=name, watermark=session.watermark)
        active_at = session.active_at or tx.now
        left_at = max(active_at, tx.session_lease(name) or active_at)
        due_at = left_at + timedelta(seconds=self._limits.session_grace_s)
        if tx.now < due_at:
            raise SummaryNotDue("Its client may come back.", session_id=name, due_at=due_at)
        if session.claim is not None and session.claim.live(tx.now):
            raise SummaryNotDue("Somebody is at it.", session_id=name, due_at=session.claim.expires_at)

    async def stage(self, tenant: str, session_id: str, token: str, result: JsonValue) -> Session:
        """Keep the result, so that no crash costs a second one. Raises StaleToken."""
        if len(to_json(result)) > SUMMARY_BYTES_MAX:
            raise TooLarge(f"A summary has at most {SUMMARY_BYTES_MAX} bytes.", limit=SUMMARY_BYTES_MAX)

        def work(tx: Transaction, session: Session) -> Session:
            return tx.record(session, SummaryStaged(at=tx.now, token=token, result=result))

        return await self._store.transact(in_session(tenant, session_id, work))

    async def complete(self, tenant: str, session_id: str, token: str) -> Session:
        """The staged result is the summary. Raises StaleToken, also if a memory came after the claim."""

        def work(tx: Transaction, session: Session) -> Session:
            if session.summary_token == token:
                return session  # it was completed before, and did not hear
            through = session.claim.through if session.claim is not None else 0
            return tx.record(session, SummaryCompleted(at=tx.now, token=token, through=through))

        return await self._store.transact(in_session(tenant, session_id, work))
