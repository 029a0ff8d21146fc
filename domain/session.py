"""Session: a conversation. At most one of its runs is active, at most one client owns its writes, its memory is one
sequence. The table is SESSION_TABLE in `transitions.py`, the facts are in `session_facts.py`.
"""

from typing import Any, ClassVar, Final

from pydantic import AwareDatetime, JsonValue

from .aggregate import Aggregate
from .errors import HandoffConflict, IllegalTransition, SessionBusy, SessionFinalized, StaleToken
from .identifiers import RunId, SessionId
from .memory import Continuity, chain_hash
from .session_facts import (
    Attached,
    Deleted,
    Detached,
    Finalized,
    Handoff,
    HandoffEnded,
    HandoffReady,
    HandoffRequested,
    MemoryAppended,
    SessionCreated,
    SessionFact,
    SessionWarning,
    SummaryClaim,
    SummaryClaimed,
    SummaryCompleted,
    SummaryStaged,
    TurnEnded,
    TurnQueued,
    TurnStarted,
    TurnWithdrawn,
    Warned,
)
from .transitions import SessionStatus

QUEUE_MAX: Final = 32
"""Inputs that may wait for their turn in one session."""

TURNS_QUEUED_MAX: Final = 4 * QUEUE_MAX
"""Turns that may be ahead in one session, those of inputs that were cancelled meanwhile included."""

_REFUSED_FINALIZED: Final = (TurnStarted, TurnQueued, MemoryAppended, Attached)
"""Facts that a client asks for, and is told why it gets none."""

_QUIET: Final = (SummaryClaimed, SummaryStaged, SummaryCompleted)
"""Facts that are no activity: a session does not become busier by being summarized."""


class Session(Aggregate):
    """A conversation and who may write to it. `epoch` fences owners; without an owner anyone authorized writes.

    `queue` are the runs whose turn has not come, `withdrawn` those of them that were cancelled meanwhile, `handoff` the
    last one requested, `watermark` the memories that are summarized. The owner's lease is no history and not in here:
    it is a row of its own, judged by the store's clock.
    """

    machine: ClassVar = "session"

    session_id: SessionId = SessionId("")
    tenant: str = ""
    status: SessionStatus | None = None
    owner: str | None = None
    epoch: int = 0
    active_run_id: RunId | None = None
    turns: int = 0
    queue: tuple[RunId, ...] = ()
    withdrawn: tuple[RunId, ...] = ()
    memory_count: int = 0
    memory_hash: str | None = None
    handoff: Handoff | None = None
    watermark: int = 0
    summary: JsonValue = None
    summary_token: str | None = None
    claim: SummaryClaim | None = None
    warning: SessionWarning | None = None
    metadata: dict[str, JsonValue] = {}
    created_at: AwareDatetime | None = None
    active_at: AwareDatetime | None = None

    @property
    def state(self) -> str | None:
        return self.status

    @property
    def continuity(self) -> Continuity:
        """The evidence that its memory is one sequence."""
        count = self.memory_count
        return Continuity(count=count, first=1 if count else None, last=count or None, head_hash=self.memory_hash)

    @property
    def waiting(self) -> tuple[RunId, ...]:
        """The runs that wait for their turn, in its order."""
        return tuple(run_id for run_id in self.queue if run_id not in self.withdrawn)

    @property
    def handing_off(self) -> Handoff | None:
        """The handoff that is under way."""
        return self.handoff if self.handoff is not None and self.handoff.active else None

    @property
    def next_run_id(self) -> RunId | None:
        """The queued run whose turn is now: none runs, and no handoff holds it back."""
        held = self.handing_off is not None and self.turns >= self.handing_off.barrier
        return self.queue[0] if self.queue and self.active_run_id is None and not held else None

    @property
    def drained(self) -> bool:
        """Whether what was accepted before the handoff under way is done."""
        handoff = self.handing_off
        return self.active_run_id is None and (handoff is None or self.turns >= handoff.barrier)

    def granted(self, epoch: int) -> bool:
        """Whether some owner was ever told this epoch."""
        return 0 < epoch <= self.epoch

    def allow(self, fact: SessionFact) -> None:
        """The table, then what it can't say. Raises SessionFinalized, SessionBusy, HandoffConflict, StaleToken or
        IllegalTransition.
        """
        if self.status is SessionStatus.FINALIZED and isinstance(
            fact, TurnStarted | TurnQueued | MemoryAppended | Attached
        ):
            raise SessionFinalized(session_id=self.session_id)
        super().allow(fact)
        match fact:
            case TurnStarted() | TurnQueued() | TurnWithdrawn() | TurnEnded():
                self._allow_turn(fact)
            case Attached() | Detached() | MemoryAppended():
                self._allow_ownership(fact)
            case HandoffRequested() | HandoffReady() | HandoffEnded():
                self._allow_handoff(fact)
            case SummaryClaimed() | SummaryStaged() | SummaryCompleted():
                self._allow_summary(fact)
            case Finalized() | Deleted():
                self._allow_end(fact)
            case _:
                pass

    def _allow_turn(self, fact: TurnStarted | TurnQueued | TurnWithdrawn | TurnEnded) -> None:
        if isinstance(fact, TurnWithdrawn):
            if fact.run_id not in self.waiting:
                raise IllegalTransition(f"{fact.run_id} does not wait for its turn.", run_id=fact.run_id)
            return
        if isinstance(fact, TurnEnded):
            if (fact.run_id, fact.turn) != (self.active_run_id, self.turns):
                raise IllegalTransition(f"{fact.run_id} is not the active run.", run_id=self.active_run_id)
            return
        if isinstance(fact, TurnQueued):
            self._allow_queued()
            following = self.turns + len(self.queue) + 1
        else:
            if self.active_run_id is not None:
                raise SessionBusy(session_id=self.session_id, run_id=self.active_run_id)
            come = fact.run_id == self.next_run_id if self.queue else self.handing_off is None
            if not come:
                raise IllegalTransition(f"The turn of {fact.run_id} has not come.", run_id=fact.run_id)
            following = self.turns + 1
        if fact.turn != following:
            raise IllegalTransition(f"The next turn is {following}, not {fact.turn}.", turns=self.turns)

    def _allow_queued(self) -> None:
        if len(self.waiting) >= QUEUE_MAX:
            raise SessionBusy(f"{QUEUE_MAX} inputs wait already.", session_id=self.session_id, limit=QUEUE_MAX)
        if len(self.queue) >= TURNS_QUEUED_MAX:
            detail = f"{TURNS_QUEUED_MAX} inputs wait, or were cancelled while they did."
            raise SessionBusy(detail, session_id=self.session_id, limit=TURNS_QUEUED_MAX)

    def _allow_ownership(self, fact: Attached | Detached | MemoryAppended) -> None:
        match fact:
            case Attached():
                if fact.epoch != self.epoch + 1:
                    raise IllegalTransition(f"The next epoch is {self.epoch + 1}.", epoch=self.epoch)
            case Detached():
                if self.owner is None or (fact.owner, fact.epoch) != (self.owner, self.epoch):
                    raise IllegalTransition(f"{fact.owner!r:.80} does not own the session.", epoch=self.epoch)
            case MemoryAppended():
                sequence = self.memory_count + 1
                expected = (sequence, self.epoch, chain_hash(self.memory_hash, self.session_id, fact))
                if (fact.sequence, fact.epoch, fact.hash) != expected:
                    raise IllegalTransition(f"The memory goes on at {sequence} of the chain.", sequence=sequence)

    def _allow_handoff(self, fact: HandoffRequested | HandoffReady | HandoffEnded) -> None:
        handoff = self.handing_off
        if isinstance(fact, HandoffRequested):
            if handoff is not None:
                raise HandoffConflict(f"{handoff.handoff_id} is under way.", handoff_id=handoff.handoff_id)
            if self.owner is None:
                raise HandoffConflict("Nobody owns the session: resume it.", session_id=self.session_id)
            return
        if handoff is None or handoff.handoff_id != fact.handoff_id:
            raise HandoffConflict("It has ended.", handoff_id=fact.handoff_id)
        if isinstance(fact, HandoffReady) and (handoff.status != "requested" or not self.drained):
            blocking = self.active_run_id or (self.queue[0] if self.queue else None)
            raise HandoffConflict("What was accepted before it is not done.", run_id=blocking)

    def _allow_summary(self, fact: SummaryClaimed | SummaryStaged | SummaryCompleted) -> None:
        if isinstance(fact, SummaryClaimed):
            if self.claim is not None and self.claim.live(fact.at):
                raise IllegalTransition("Somebody summarizes it already.", lease_expires_at=self.claim.expires_at)
            if fact.through != self.memory_count or self.watermark == self.memory_count:
                raise IllegalTransition("There is nothing new to summarize.", watermark=self.watermark)
            return
        if self.claim is None or self.claim.token != fact.token:
            raise StaleToken(session_id=self.session_id)
        if self.claim.through != self.memory_count:
            raise StaleToken(
                f"Memory {self.memory_count} was accepted after the claim up to {self.claim.through}.",
                session_id=self.session_id,
            )
        if isinstance(fact, SummaryCompleted) and (not self.claim.is_staged or fact.through != self.claim.through):
            raise IllegalTransition("No result is staged.", watermark=self.watermark)

    def _allow_end(self, fact: Finalized | Deleted) -> None:
        if isinstance(fact, Deleted) and self.active_run_id is not None:
            raise SessionBusy(session_id=self.session_id, run_id=self.active_run_id)
        if self.waiting:
            raise SessionBusy("Inputs wait for their turn.", session_id=self.session_id, run_id=self.waiting[0])
        if self.queue:
            detail = "The turns of inputs that were cancelled pass when the run before them ends."
            raise SessionBusy(detail, session_id=self.session_id, run_id=self.active_run_id)
        if self.handing_off is not None:
            raise HandoffConflict("It is being handed off.", handoff_id=self.handing_off.handoff_id)

    def target(self, fact: SessionFact) -> str:
        match fact:
            case Finalized():
                return SessionStatus.FINALIZED
            case Deleted():
                return SessionStatus.DELETED
            case _:
                return self.status or SessionStatus.OPEN

    def changes(self, fact: SessionFact) -> dict[str, Any]:
        changed: dict[str, Any] = {"status": SessionStatus(self.target(fact))}
        if not isinstance(fact, _QUIET):
            changed["active_at"] = fact.at
        match fact:
            case SessionCreated():
                names = ("session_id", "tenant", "metadata")
                return changed | {"created_at": fact.at} | {name: getattr(fact, name) for name in names}
            case Warned():
                return changed | {"warning": fact.warning}
            case TurnQueued():
                return changed | {"queue": (*self.queue, fact.run_id)}
            case TurnWithdrawn():
                return changed | {"withdrawn": (*self.withdrawn, fact.run_id)}
            case TurnStarted():
                queue = tuple(run_id for run_id in self.queue if run_id != fact.run_id)
                withdrawn = tuple(run_id for run_id in self.withdrawn if run_id != fact.run_id)
                turn = {"turns": fact.turn, "active_run_id": fact.run_id}
                return changed | turn | {"queue": queue, "withdrawn": withdrawn}
            case TurnEnded():
                return changed | {"active_run_id": None}
            case Attached():
                return changed | {"owner": fact.owner, "epoch": fact.epoch}
            case Detached():
                return changed | {"owner": None}
            case MemoryAppended():
                return changed | {"memory_count": fact.sequence, "memory_hash": fact.hash}
            case HandoffRequested() | HandoffReady() | HandoffEnded():
                return changed | {"handoff": self._handed(fact)}
            case SummaryClaimed() | SummaryStaged() | SummaryCompleted():
                return changed | self._summarized(fact)
            case _:
                return changed

    def _handed(self, fact: HandoffRequested | HandoffReady | HandoffEnded) -> Handoff | None:
        match fact:
            case HandoffRequested():
                names = ("handoff_id", "source", "epoch", "barrier", "expires_at")
                fields = {name: getattr(fact, name) for name in names}
                return Handoff(status="requested", requested_at=fact.at, **fields)
            case HandoffReady():
                return self.handoff and self.handoff.model_copy(update={"status": "ready"})
            case HandoffEnded():
                ended = {"status": fact.outcome, "reason": fact.reason, "target": fact.target, "ended_at": fact.at}
                return self.handoff and self.handoff.model_copy(update=ended | {"epoch_after": fact.epoch})

    def _summarized(self, fact: SummaryClaimed | SummaryStaged | SummaryCompleted) -> dict[str, Any]:
        claim = self.claim
        match fact:
            case SummaryClaimed():
                fields = {name: getattr(fact, name) for name in ("token", "by", "through", "expires_at")}
                if claim is not None and claim.is_staged and claim.through == fact.through:
                    fields |= {"staged": claim.staged, "is_staged": True}
                return {"claim": SummaryClaim(**fields)}
            case SummaryStaged():
                return {"claim": claim and claim.model_copy(update={"staged": fact.result, "is_staged": True})}
            case SummaryCompleted():
                summary = claim.staged if claim is not None else None
                return {"watermark": fact.through, "summary": summary, "summary_token": fact.token, "claim": None}
