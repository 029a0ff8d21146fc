"""The use cases, in the order of the flow: submit, claim, renew, append, suspend, decide, complete, fail, cancel.

Each is one transaction: load, ask the aggregates, record. Conflicts meet in the log; nothing here waits or polls.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, cast

from pydantic import JsonValue

from .agent import Agent, ApprovalRequest
from .errors import (
    Invalid,
    NotFound,
    UnknownAgent,
)
from .frames import RunError
from .handoffs import Handoffs
from .identifiers import (
    JOB_PREFIX,
    RUN_PREFIX,
    SESSION_PREFIX,
    JobId,
    RunId,
    SessionId,
    identifier,
)
from .ports import Append, Ids, RunView, SessionView, Store, Transaction
from .requests import APPROVAL_TIMEOUT_S_MAX, APPROVALS_MAX, Assignment, Idempotency, Limits, StartRun
from .run import Run
from .run_facts import (
    WORKER_LOST,
    Approval,
    Completed,
    Decision,
    Failed,
    Released,
    RunFact,
    Suspended,
    digest_of,
)
from .scribe import Checkpointed, encode_state
from .session import Session
from .session_facts import SessionCreated
from .sessions import Sessions
from .steps import (
    advance,
    as_run,
    as_session,
    as_writer,
    begin_turn,
    busy,
    expire,
    expire_handoff,
    held_by,
    its_run,
    once,
    owned,
    record_decisions,
    settle,
    view_of,
)
from .summaries import Summaries
from .transitions import Status

INTERRUPTED: Final = "interrupted"
"""The reason of a cancel by the input that takes the run's place."""

SWEEP_LIMIT: Final = 100
"""Runs one sweep handles in one transaction."""


class Application:
    """The use cases over one store. `agents` are the ones that can be asked for here."""

    def __init__(self, store: Store, ids: Ids, agents: Mapping[str, Agent], limits: Limits) -> None:
        self.store = store
        self.agents = agents
        self.sessions = Sessions(store, ids, limits)
        self.handoffs = Handoffs(store, ids, limits)
        self.summaries = Summaries(store, ids, limits)
        self._ids = ids
        self._limits = limits

    # Submit.

    async def create_session(
        self, tenant: str, metadata: dict[str, JsonValue], idempotency: Idempotency | None = None
    ) -> Session:
        """A new, open session."""
        session_id = SessionId(identifier(SESSION_PREFIX, self._ids.uuid()))

        def work(tx: Transaction) -> Session:
            fact = SessionCreated(at=tx.now, session_id=session_id, tenant=tenant, metadata=metadata)
            return tx.record(Session(), fact)

        return await self.store.transact(once(tenant, idempotency, Session, work))

    async def start_run(
        self,
        tenant: str,
        session_id: str,
        request: StartRun,
        idempotency: Idempotency | None = None,
        session_epoch: int | None = None,
    ) -> Run:
        """A turn of the session: a job of one attempt and its run, pending; at once, or `on_busy` when its turn comes.

        Raises UnknownAgent, Invalid (input), NotFound, SessionFinalized, SessionBusy (naming the active run and what
        it waits for), StaleSession, SessionEpochRequired, IdempotencyMismatch. The same Idempotency-Key again gives
        the same run.
        """
        agent = self.agents.get(request.agent)
        if agent is None:
            raise UnknownAgent(f"There is no agent {request.agent!r} here.", agent=request.agent)
        agent.validate(request.input)
        prompt = agent.prompt(request.input)
        ids = JobId(identifier(JOB_PREFIX, self._ids.uuid())), RunId(identifier(RUN_PREFIX, self._ids.uuid()))

        def work(tx: Transaction, session: Session) -> Run:
            active = tx.run(session.active_run_id) if session.active_run_id is not None else None
            free = active is None and not session.queue and session.handing_off is None
            if not free and request.on_busy == "reject":
                raise busy(session, active)
            run = begin_turn(tx, session, request, prompt, ids, now=free)
            if active is not None and request.on_busy == "interrupt" and session.handing_off is None:
                self._cancel(tx, active, INTERRUPTED, tenant)
            return run

        return await self.store.transact(
            once(tenant, idempotency, Run, as_writer(tenant, session_id, session_epoch, work))
        )

    # Work.

    async def claim(self, worker: str, agents: Sequence[str], limit: int) -> Sequence[Assignment]:
        """Runs for this worker: all whose lease expired, then pending ones, oldest first, up to `limit` in all.

        A run that its worker lost is taken over also by one that is busy: it has waited long enough.
        """

        def work(tx: Transaction) -> list[Assignment]:
            assignments: list[Assignment] = []
            for run_id in tx.expired_leases(SWEEP_LIMIT, tx.now):
                assignments += self._take_over(tx, run_id, worker, agents)
            for run_id in tx.pending_runs(agents, max(0, limit - len(assignments))):
                run = tx.run(run_id)
                if run is not None:
                    assignments.append(self._assign(tx, run, run.claim(worker, tx.now)))
            return assignments

        return await self.store.transact(work)

    def _take_over(self, tx: Transaction, run_id: RunId, worker: str, agents: Sequence[str]) -> list[Assignment]:
        run = tx.run(run_id)
        if run is None or run.agent not in agents:
            return []
        closes = tuple(tx.head(run_id).outline.parts)
        if self.agents[run.agent].on_take_over == "fail":
            fact: RunFact = run.fail(WORKER_LOST, tx.now, closes)
        else:
            checkpoint = tx.checkpoint(run_id)
            fact = run.take_over(worker, tx.now, checkpoint.seq if checkpoint else 0, closes)
        if isinstance(fact, Failed):
            settle(tx, tx.record(run, fact), "fail", fact.at)
            return []
        return [self._assign(tx, run, fact)]

    def _assign(self, tx: Transaction, run: Run, fact: RunFact) -> Assignment:
        before = run.status
        run = tx.record(run, fact)
        tx.lease(run.run_id, tx.now + timedelta(seconds=self._limits.lease_s))
        if before is Status.PENDING:
            advance(tx, run, "start", fact.at)
        job = tx.job(run.job_id)
        if job is None:
            raise NotFound(job_id=run.job_id)
        head = tx.head(run.run_id)
        return Assignment(run, job, head.outline, head.seq + 1, tx.checkpoint(run.run_id))

    async def renew(self, worker: str, held: Sequence[tuple[RunId, int]]) -> Sequence[RunId]:
        """Prolong this worker's leases; the runs it has lost meanwhile."""
        if not held:
            return ()
        lease = timedelta(seconds=self._limits.lease_s)
        return await self.store.transact(lambda tx: tx.renew(worker, held, tx.now + lease))

    async def append(self, append: Append) -> None:
        """Append output (see Store.append)."""
        await self.store.append(append)

    async def release(self, run_id: RunId, epoch: int) -> None:
        """Hand a running run back, so that any worker can go on with it from its last checkpoint."""

        def work(tx: Transaction) -> None:
            run = held_by(tx, run_id, epoch)
            head = tx.head(run_id)
            checkpoint = tx.checkpoint(run_id)
            to_seq = checkpoint.seq if checkpoint else 0
            fact = Released(
                at=tx.now,
                epoch=epoch,
                worker=run.worker or "",
                to_seq=to_seq if head.seq > to_seq else None,
                closes=tuple(head.outline.parts),
            )
            advance(tx, tx.record(run, fact), "release", fact.at)

        await self.store.transact(work)

    async def suspend(
        self, run_id: RunId, epoch: int, requests: Sequence[ApprovalRequest], state: JsonValue, step: int
    ) -> None:
        """End the segment: the run waits for these approvals, and goes on from `state` when all are decided.

        Raises Invalid (none, too many, an impossible time-out), StaleEpoch, RunClosed's kin by the table.
        """
        if not 0 < len(requests) <= APPROVALS_MAX:
            raise Invalid(f"A segment asks for 1 to {APPROVALS_MAX} approvals.", field="approvals", limit=APPROVALS_MAX)
        encoded = encode_state(state)

        def work(tx: Transaction) -> None:
            run = held_by(tx, run_id, epoch)
            asked = len(run.approvals)
            approvals = tuple(self._approval(run, asked + n, r, tx.now) for n, r in enumerate(requests, 1))
            fact = Suspended(at=tx.now, epoch=epoch, approvals=approvals, closes=tuple(tx.head(run_id).outline.parts))
            run = tx.record(run, fact)
            tx.save_checkpoint(run_id, Checkpointed(step, tx.head(run_id).seq, encoded))
            advance(tx, run, "suspend", fact.at)

        await self.store.transact(work)

    def _approval(self, run: Run, number: int, request: ApprovalRequest, now: datetime) -> Approval:
        timeout_s = self._limits.approval_timeout_s if request.timeout_s is None else request.timeout_s
        if not 0 <= timeout_s <= APPROVAL_TIMEOUT_S_MAX:
            raise Invalid(f"An approval's timeout_s is 0 to {APPROVAL_TIMEOUT_S_MAX:.0f}.", field="timeout_s")
        return Approval(
            approval_id=f"{run.turn}.{run.attempt}.a{number}",
            tool_call_id=request.tool_call_id,
            tool=request.tool,
            arguments=request.arguments,
            digest=digest_of(request.tool, request.arguments),
            expires_at=now + timedelta(seconds=timeout_s),
        )

    # Decide, and the ends.

    async def decide(self, tenant: str, run_id: str, decisions: Sequence[Decision]) -> RunView:
        """Record decisions; with the last one the run goes on. A repeat is answered with the actual state.

        Raises NotFound, Invalid, UnknownApproval, DecisionConflict (decided otherwise before, or expired). All or
        nothing; what is past its deadline is denied first.
        """

        def overdue(tx: Transaction) -> None:
            expire(tx, its_run(tx, tenant, run_id))

        def work(tx: Transaction) -> RunView:
            run = its_run(tx, tenant, run_id)
            fact = run.decide(tuple(decisions), tx.now)
            return view_of(tx, run if fact is None else record_decisions(tx, run, fact))

        await self.store.transact(overdue)  # on its own: an expiry stands even where the decision is refused
        return await self.store.transact(work)

    async def complete(
        self, run_id: RunId, epoch: int, stop_reason: str = "end_turn", usage: Mapping[str, JsonValue] | None = None
    ) -> None:
        """The agent is done. Raises StaleEpoch or IllegalTransition if the run is not this worker's any more."""

        def work(tx: Transaction) -> None:
            run = held_by(tx, run_id, epoch)
            outline = tx.head(run_id).outline
            if outline != outline.closed():
                raise Invalid("A part, a message or a step is still open; end it before the run.", field="frames")
            fact = Completed(at=tx.now, epoch=epoch, stop_reason=stop_reason, usage=dict(usage) if usage else None)
            settle(tx, tx.record(run, fact), "complete", fact.at)

        await self.store.transact(work)

    async def fail(self, run_id: RunId, epoch: int, error: RunError) -> None:
        """The agent failed. Raises StaleEpoch or IllegalTransition if the run is not this worker's any more."""

        def work(tx: Transaction) -> None:
            run = held_by(tx, run_id, epoch)
            fact = run.fail(error, tx.now, tuple(tx.head(run_id).outline.parts))
            settle(tx, tx.record(run, fact), "fail", fact.at)

        await self.store.transact(work)

    async def cancel(self, tenant: str, run_id: str, reason: str, by: str) -> RunView:
        """End the run now, whatever it is doing. A run that has ended is answered as it is; nothing is appended."""

        def work(tx: Transaction) -> RunView:
            run = its_run(tx, tenant, run_id)
            return view_of(tx, run if run.final else self._cancel(tx, run, reason, by))

        return await self.store.transact(work)

    def _cancel(self, tx: Transaction, run: Run, reason: str, by: str) -> Run:
        fact = run.cancel(reason, by, tx.now, tuple(tx.head(run.run_id).outline.parts))
        run = tx.record(run, fact)
        settle(tx, run, "cancel", fact.at)
        return run

    # Sweep.

    async def sweep(self) -> None:
        """Deny approvals and end handoffs past their deadline, fail what nobody takes over, forget old answers."""

        def work(tx: Transaction) -> None:
            for run_id in tx.expired_approvals(SWEEP_LIMIT):
                run = tx.run(run_id)
                if run is not None:
                    expire(tx, run)
            abandoned = tx.now - timedelta(seconds=self._limits.abandon_s)
            for run_id in tx.expired_leases(SWEEP_LIMIT, abandoned):
                run = tx.run(run_id)
                if run is not None:
                    fact = run.fail(WORKER_LOST, tx.now, tuple(tx.head(run_id).outline.parts))
                    settle(tx, tx.record(run, fact), "fail", fact.at)
            for session_id in tx.expired_handoffs(SWEEP_LIMIT):
                session = tx.session(session_id)
                if session is not None:
                    expire_handoff(tx, session)
            tx.forget_answers(tx.now - timedelta(seconds=self._limits.idempotency_retention_s), SWEEP_LIMIT)

        await self.store.transact(work)

    # Read.

    async def run(self, tenant: str, run_id: str) -> RunView:
        """A run as it is now. Raises NotFound."""
        view = await self.store.run_view(as_run(run_id))
        if view is None or view.run.tenant != tenant:
            raise NotFound(f"There is no run {run_id!r:.80}.", run_id=run_id[:80])
        return view

    async def session(self, tenant: str, session_id: str) -> Session:
        """A session as it is now. Raises NotFound."""
        session = await self.store.session(as_session(session_id))
        return owned(session, tenant, "session", session_id)

    async def session_view(self, tenant: str, session_id: str) -> SessionView:
        """A session as it is now, with its owner's lease. Raises NotFound."""
        view = await self.store.session_view(as_session(session_id))
        owned(view.session if view is not None else None, tenant, "session", session_id)
        return cast("SessionView", view)
