"""The steps that several use cases share: who may, what follows from a run's move, what is done only once."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel

from .errors import (
    IdempotencyMismatch,
    IllegalTransition,
    NotFound,
    SessionBusy,
    SessionEpochRequired,
    SessionFinalized,
    StaleEpoch,
    StaleSession,
)
from .identifiers import RUN_PREFIX, SESSION_PREFIX, JobId, RunId, SessionId, is_identifier, message_id
from .job import Advanced, Attempted, Job, JobCreated, Retry
from .ports import Answer, RunView, Transaction
from .requests import Idempotency, StartRun
from .run import Run
from .run_facts import Created, Decided
from .session import Session
from .session_facts import Detached, Handoff, HandoffEnded, TurnEnded, TurnQueued, TurnStarted, TurnWithdrawn
from .transitions import SessionStatus, Status

M = TypeVar("M", Session, Run)
B = TypeVar("B", bound=BaseModel)
T = TypeVar("T")


def once(
    tenant: str, idempotency: Idempotency | None, model: type[B], work: Callable[[Transaction], B]
) -> Callable[[Transaction], B]:
    """`work`, done at most once for an Idempotency-Key; later calls get what the first one returned."""
    if idempotency is None:
        return work

    def remembered(tx: Transaction) -> B:
        answer = tx.answer(tenant, idempotency.key)
        idempotency.replayed = answer is not None
        if answer is None:
            made = work(tx)
            tx.remember(tenant, idempotency.key, Answer(idempotency.fingerprint, made.model_dump_json().encode()))
            return made
        if answer.fingerprint != idempotency.fingerprint:
            raise IdempotencyMismatch(key=idempotency.key)
        return model.model_validate_json(answer.payload)

    return remembered


def as_run(text: str) -> RunId:
    """The id of a run, if the text has its form. Raises NotFound."""
    if not is_identifier(RUN_PREFIX, text):
        raise NotFound(f"There is no run {text!r:.80}.", run_id=text[:80])
    return RunId(text)


def as_session(text: str) -> SessionId:
    """The id of a session, if the text has its form. Raises NotFound."""
    if not is_identifier(SESSION_PREFIX, text):
        raise NotFound(f"There is no session {text!r:.80}.", session_id=text[:80])
    return SessionId(text)


def owned(aggregate: M | None, tenant: str, kind: str, text: str) -> M:
    """The aggregate, if it is there and this tenant's. Raises NotFound, the same for both."""
    if aggregate is None or aggregate.tenant != tenant or aggregate.state == SessionStatus.DELETED:
        raise NotFound(f"There is no {kind} {text!r:.80}.", **{f"{kind}_id": text[:80]})
    return aggregate


def its_run(tx: Transaction, tenant: str, run_id: str) -> Run:
    """The tenant's run, unless its session was deleted. Raises NotFound."""
    run = owned(tx.run(as_run(run_id)), tenant, "run", run_id)
    owned(tx.session(run.session_id), tenant, "run", run_id)
    return run


def in_session(tenant: str, session_id: str, work: Callable[[Transaction, Session], T]) -> Callable[[Transaction], T]:
    """`work` on the session, for which a handoff past its deadline is over. Raises NotFound."""

    def found(tx: Transaction) -> T:
        return work(tx, expire_handoff(tx, owned(tx.session(as_session(session_id)), tenant, "session", session_id)))

    return found


def as_writer(
    tenant: str, session_id: str, epoch: int | None, work: Callable[[Transaction, Session], T]
) -> Callable[[Transaction], T]:
    """`work` on the session, for who may write now. Raises NotFound, StaleSession, SessionEpochRequired."""
    return in_session(tenant, session_id, lambda tx, session: work(tx, writable(tx, session, epoch)))


def held_by(tx: Transaction, run_id: RunId, epoch: int) -> Run:
    """The run, if the worker with this epoch still holds it."""
    run = tx.run(run_id)
    if run is None:
        raise NotFound(f"There is no run {run_id!r:.80}.", run_id=run_id)
    if run.epoch != epoch:
        raise StaleEpoch(f"The worker holds epoch {epoch}, the run is at {run.epoch}.", run_id=run_id, epoch=run.epoch)
    if run.status is not Status.RUNNING:
        raise IllegalTransition(f"The run is {run.status}.", run_id=run_id, status=run.status)
    return run


def writable(tx: Transaction, session: Session, epoch: int | None) -> Session:
    """The session, if its owner asks (`epoch` is what it was told) or if nobody owns it.

    Raises StaleSession or SessionEpochRequired. Whoever writes after the owner's lease has ended ends its ownership.
    """
    if epoch is not None:
        if session.owner is None or epoch != session.epoch:
            now = f"it is at {session.epoch}" if session.owner is not None else "nobody does"
            detail = f"Session-Epoch {epoch} does not own the session: {now}."
            if not session.granted(epoch):
                detail = f"Session-Epoch {epoch} was never granted: the session is at {session.epoch}."
            raise StaleSession(detail, session_id=session.session_id, epoch=session.epoch, owner=session.owner)
        return session
    if session.owner is None:
        return session
    until = tx.session_lease(session.session_id)
    if owned_at(until, tx.now):
        detail = f"{session.owner!r:.80} owns it."
        raise SessionEpochRequired(detail, session_id=session.session_id, owner=session.owner, lease_expires_at=until)
    return disown(tx, session, session.owner, "lapsed")


def disown(tx: Transaction, session: Session, owner: str, reason: Literal["left", "lapsed"]) -> Session:
    """Nobody owns the session any more. A handoff that was not ready ends with the one who could have said so."""
    handoff = session.handing_off
    if handoff is not None and handoff.status == "requested":
        session = end_handoff(tx, session, handoff, "source_left")
    return tx.record(session, Detached(at=tx.now, owner=owner, epoch=session.epoch, reason=reason))


def owned_at(lease_until: datetime | None, now: datetime) -> bool:
    """Whether an owner's lease holds: up to, but not at, the instant it ends. The one place that says so."""
    return lease_until is not None and now < lease_until


def busy(session: Session, active: Run | None) -> SessionBusy | SessionFinalized:
    """The refusal of a turn, naming what is in its way; of a finalized session no end of a run helps."""
    if session.status is SessionStatus.FINALIZED:
        return SessionFinalized(session_id=session.session_id)
    fields: dict[str, Any] = {"session_id": session.session_id}
    if session.handing_off is not None and active is None:
        fields["handoff_id"] = session.handing_off.handoff_id
        return SessionBusy(f"The handoff {session.handing_off.handoff_id} is under way.", **fields)
    pending = [approval.approval_id for approval in active.pending_approvals] if active else []
    waits = f" It waits for the approvals {', '.join(pending)}." if pending else ""
    detail = f"The run {session.active_run_id} is still active.{waits}"
    return SessionBusy(detail, **fields, run_id=session.active_run_id, pending_approvals=pending)


def begin_turn(
    tx: Transaction, session: Session, request: StartRun, prompt: str | None, ids: tuple[JobId, RunId], *, now: bool
) -> Run:
    """Record the turn: a job of one attempt, its run, and the session, which is busy with it `now` or queues it."""
    job_id, run_id = ids
    at, session_id = tx.now, session.session_id
    turn = session.turns + len(session.queue) + 1
    created = JobCreated(
        at=at,
        job_id=job_id,
        tenant=session.tenant,
        session_id=session_id,
        agent=request.agent,
        input=request.input,
        retry=Retry(),
    )
    tx.record(tx.record(Job(), created), Attempted(at=at, run_id=run_id))
    if now:
        tx.record(session, TurnStarted(at=at, turn=turn, run_id=run_id, job_id=job_id))
    fact = Created(
        at=at,
        run_id=run_id,
        tenant=session.tenant,
        session_id=session_id,
        job_id=job_id,
        turn=turn,
        attempt=1,
        agent=request.agent,
        message_id=message_id(session_id, run_id, 0),
        prompt=prompt,
        request_config=request.request_config,
    )
    run = tx.record(Run(), fact)
    if not now:
        tx.record(session, TurnQueued(at=at, turn=turn, run_id=run_id, job_id=job_id))
    return run


def next_turn(tx: Transaction, session: Session) -> Session:
    """Begin the turn of the input that has waited longest, if it may begin. One that was cancelled meanwhile passes."""
    while session.next_run_id is not None:
        run = tx.run(session.next_run_id)
        if run is None:
            raise NotFound(run_id=session.next_run_id)
        session = tx.record(session, TurnStarted(at=tx.now, turn=run.turn, run_id=run.run_id, job_id=run.job_id))
        if run.final:
            session = tx.record(session, TurnEnded(at=tx.now, turn=run.turn, run_id=run.run_id))
    return session


def expire_handoff(tx: Transaction, session: Session) -> Session:
    """The session, its handoff ended if its deadline has passed."""
    handoff = session.handing_off
    return end_handoff(tx, session, handoff, "expired") if handoff is not None and handoff.due(tx.now) else session


def end_handoff(tx: Transaction, session: Session, handoff: Handoff, reason: str) -> Session:
    """The source goes on, and what waited begins."""
    ended = HandoffEnded(
        at=tx.now, handoff_id=handoff.handoff_id, outcome="abandoned", reason=reason, epoch=session.epoch
    )
    return next_turn(tx, tx.record(session, ended))


def view_of(tx: Transaction, run: Run) -> RunView:
    """The run as it is in this transaction."""
    return RunView(run, tx.head(run.run_id).seq)


def advance(tx: Transaction, run: Run, step: str, at: datetime) -> None:
    """The job follows its run."""
    job = tx.job(run.job_id)
    if job is not None and run.status is not None:
        tx.record(job, Advanced(at=at, to=run.status, step=step))


def settle(tx: Transaction, run: Run, step: str, at: datetime) -> None:
    """The run has ended: so has its job, and its session's turn; or it waits for its turn no more."""
    advance(tx, run, step, at)
    session = tx.session(run.session_id)
    if session is None:
        return
    if session.active_run_id == run.run_id:
        next_turn(tx, tx.record(session, TurnEnded(at=at, turn=run.turn, run_id=run.run_id)))
    elif run.run_id in session.waiting:
        tx.record(session, TurnWithdrawn(at=at, run_id=run.run_id))


def record_decisions(tx: Transaction, run: Run, fact: Decided) -> Run:
    """Record decisions; with the last one the job goes on too."""
    run = tx.record(run, fact)
    if fact.resumes:
        advance(tx, run, "resume", fact.at)
    return run


def expire(tx: Transaction, run: Run) -> None:
    """Deny what is past its deadline."""
    fact = run.expire(tx.now)
    if fact is not None:
        record_decisions(tx, run, fact)
