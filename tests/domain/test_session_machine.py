"""Session under any sequence of facts: judged by the table and a little bookkeeping of our own, replay equals live."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reattach.domain.errors import HandoffConflict, IllegalTransition, SessionBusy, SessionFinalized, StaleToken
from reattach.domain.identifiers import RunId
from reattach.domain.memory import Continuity, Memory, chain_hash, first_break
from reattach.domain.session import QUEUE_MAX, TURNS_QUEUED_MAX, Session
from reattach.domain.session_facts import (
    Attached,
    Deleted,
    Detached,
    Finalized,
    HandoffEnded,
    HandoffOutcome,
    HandoffReady,
    HandoffRequested,
    MemoryAppended,
    SessionCreated,
    SessionFact,
    SessionWarning,
    SummaryClaimed,
    SummaryCompleted,
    SummaryStaged,
    TurnEnded,
    TurnQueued,
    TurnStarted,
    TurnWithdrawn,
    Warned,
)
from reattach.domain.transitions import SESSION_TABLE, SessionStatus, targets

from .log import JOB, SESSION, START, FactLog
from .strategies import JSON

RIGHT = st.sampled_from([0, 0, 0, 0, -1, 1])
CLIENTS = st.sampled_from(["ada", "bob"])
HANDOFFS = st.sampled_from(["h1", "h2"])
TOKENS = st.sampled_from(["t1", "t2"])
OPEN = SessionStatus.OPEN
FORBIDDEN_LATE = (TurnStarted, TurnQueued, MemoryAppended, Attached)


class SessionMachine(RuleBasedStateMachine):
    """Any fact in any state, right or wrong in one field."""

    def __init__(self) -> None:
        super().__init__()
        self.log = FactLog(Session())
        self.now = START
        self.runs = self.turns = 0
        self.active: RunId | None = None
        self.queue: list[RunId] = []
        self.withdrawn: list[RunId] = []
        self.owner: str | None = None
        self.epoch = 0
        self.memories: list[Memory] = []
        self.handoff: tuple[str, str, int] | None = None  # its id, its status, its barrier
        self.claim: list[Any] | None = None  # token, through, end, whether staged, the result
        self.summary: tuple[int, Any] = (0, None)
        self.deleted: Session | None = None

    def attempt(self, fact: SessionFact, target: str, *errors: type[Exception]) -> bool:
        """Record it. It must succeed if the table says so and no error is expected, and leave no trace if not."""
        before = (self.log.state, len(self.log.facts))
        allowed = target in targets(SESSION_TABLE, self.log.state.status, fact.command)
        if allowed and not errors:
            self.log.record(fact)
            assert self.log.state.status == target
            return True
        late = self.log.state.status is SessionStatus.FINALIZED and isinstance(fact, FORBIDDEN_LATE)
        with pytest.raises(errors if allowed else SessionFinalized if late else IllegalTransition):
            self.log.record(fact)
        assert (self.log.state, len(self.log.facts)) == before
        return False

    @property
    def same(self) -> str:
        return self.log.state.status or OPEN

    def fresh(self) -> RunId:
        self.runs += 1
        return RunId(f"run_{self.runs}")

    @initialize(turns=st.integers(-1, 2), queued=st.sampled_from([0, 0, 1, QUEUE_MAX]), owned=st.booleans())
    def begin(self, turns: int, queued: int, owned: bool) -> None:
        """Somewhere in its life, or not at all."""
        if turns < 0:
            return
        self.create({})
        for place in range(turns):
            self.start_turn(0, fresh=False)
            if place + 1 < turns:
                self.end_turn(0, right=True)
        for _ in range(queued):
            self.queue_turn(0)
        if owned:
            self.attach("ada", 0)

    @rule(metadata=st.dictionaries(st.text(max_size=3), JSON, max_size=2))
    def create(self, metadata: dict[str, Any]) -> None:
        self.attempt(SessionCreated(at=self.now, session_id=SESSION, tenant="t", metadata=metadata), OPEN)

    @rule()
    def warn(self) -> None:
        warning = SessionWarning(code="SESSION_NOT_FOUND", detail="d", asked="nope")
        self.attempt(Warned(at=self.now, warning=warning), OPEN)

    @rule(seconds=st.sampled_from([1, 9, 10]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    # Turns.

    @property
    def held_back(self) -> bool:
        return self.handoff is not None and self.handoff[1] != "ended" and self.turns >= self.handoff[2]

    @rule(off=RIGHT, fresh=st.booleans())
    def start_turn(self, off: int, fresh: bool) -> None:
        """The one whose turn it is, or (`fresh`) one that comes from nowhere."""
        run_id = self.fresh() if fresh or not self.queue else self.queue[0]
        errors: list[type[Exception]] = []
        if self.active:
            errors = [SessionBusy]
        elif off or (self.queue and run_id != self.queue[0]) or (self.held_back if self.queue else self.handing_off):
            errors = [IllegalTransition]
        fact = TurnStarted(at=self.now, turn=self.turns + 1 + off, run_id=run_id, job_id=JOB)
        if self.attempt(fact, OPEN, *errors):
            self.turns, self.active = self.turns + 1, run_id
            self.queue = self.queue[1:]
            self.withdrawn = [other for other in self.withdrawn if other != run_id]

    @rule(off=RIGHT)
    def queue_turn(self, off: int) -> None:
        run_id = self.fresh()
        full = len(self.waiting) >= QUEUE_MAX or len(self.queue) >= TURNS_QUEUED_MAX
        errors: list[type[Exception]] = [SessionBusy] if full else [IllegalTransition] if off else []
        turn = self.turns + len(self.queue) + 1 + off
        if self.attempt(TurnQueued(at=self.now, turn=turn, run_id=run_id, job_id=JOB), OPEN, *errors):
            self.queue.append(run_id)

    @property
    def waiting(self) -> list[RunId]:
        return [run_id for run_id in self.queue if run_id not in self.withdrawn]

    @rule(place=st.integers(0, QUEUE_MAX), again=st.booleans())
    def withdraw_turn(self, place: int, again: bool) -> None:
        known = (self.withdrawn if again else self.waiting) or [RunId("run_x")]
        fact = TurnWithdrawn(at=self.now, run_id=known[place % len(known)])
        if self.attempt(fact, OPEN, *([IllegalTransition] if again or not self.waiting else [])):
            self.withdrawn.append(fact.run_id)

    @rule(off=RIGHT, right=st.booleans())
    def end_turn(self, off: int, right: bool) -> None:
        run_id = self.active if right and self.active else RunId("run_x")
        wrong = [] if run_id == self.active and not off else [IllegalTransition]
        if self.attempt(TurnEnded(at=self.now, turn=self.turns + off, run_id=run_id), self.same, *wrong):
            self.active = None

    # Owners and memory.

    @rule(client=CLIENTS, off=RIGHT)
    def attach(self, client: str, off: int) -> None:
        fact = Attached(at=self.now, owner=client, epoch=self.epoch + 1 + off, how="resumed")
        if self.attempt(fact, OPEN, *([IllegalTransition] if off else [])):
            self.owner, self.epoch = client, self.epoch + 1

    @rule(client=CLIENTS, off=RIGHT)
    def detach(self, client: str, off: int) -> None:
        wrong = [] if client == self.owner and not off else [IllegalTransition]
        fact = Detached(at=self.now, owner=client, epoch=self.epoch + off, reason="left")
        if self.attempt(fact, self.same, *wrong):
            self.owner = None

    @rule(content=JSON, flaw=st.sampled_from(["", "", "", "sequence", "epoch", "hash", "link"]))
    def append_memory(self, content: Any, flaw: str) -> None:
        last = self.memories[-1].hash if self.memories else None
        sequence = len(self.memories) + 1 + (flaw == "sequence")
        epoch = self.epoch - (flaw == "epoch")
        entry = MemoryAppended(
            at=self.now, sequence=sequence, content=content, by=self.owner, epoch=epoch, hash="0" * 64
        )
        if flaw != "hash":
            link = "f" * 64 if flaw == "link" else last
            entry = entry.model_copy(update={"hash": chain_hash(link, SESSION, entry)})
        if self.attempt(entry, OPEN, *([IllegalTransition] if flaw else [])):
            self.memories.append(Memory.of(entry))

    # Handoff.

    @property
    def handing_off(self) -> bool:
        return self.handoff is not None and self.handoff[1] != "ended"

    @rule(handoff_id=HANDOFFS)
    def request_handoff(self, handoff_id: str) -> None:
        barrier = self.turns + len(self.queue)
        expires_at = self.now + timedelta(seconds=10)
        fact = HandoffRequested(
            at=self.now, handoff_id=handoff_id, source="ada", epoch=self.epoch, barrier=barrier, expires_at=expires_at
        )
        refused = self.handing_off or self.owner is None
        if self.attempt(fact, OPEN, *([HandoffConflict] if refused else [])):
            self.handoff = handoff_id, "requested", barrier

    @rule(handoff_id=HANDOFFS)
    def ready_handoff(self, handoff_id: str) -> None:
        done = self.active is None and self.handoff is not None and self.turns >= self.handoff[2]
        right = self.handoff is not None and self.handoff[:2] == (handoff_id, "requested") and done
        fact = HandoffReady(at=self.now, handoff_id=handoff_id, epoch=self.epoch)
        if self.attempt(fact, OPEN, *([] if right else [HandoffConflict])) and self.handoff is not None:
            self.handoff = handoff_id, "ready", self.handoff[2]

    @rule(handoff_id=HANDOFFS, outcome=st.sampled_from(["completed", "abandoned"]))
    def end_handoff(self, handoff_id: str, outcome: HandoffOutcome) -> None:
        right = self.handing_off and self.handoff is not None and self.handoff[0] == handoff_id
        fact = HandoffEnded(at=self.now, handoff_id=handoff_id, outcome=outcome, epoch=self.epoch)
        if self.attempt(fact, OPEN, *([] if right else [HandoffConflict])):
            self.handoff = handoff_id, "ended", 0

    # Summaries.

    @rule(token=TOKENS, off=RIGHT)
    def claim_summary(self, token: str, off: int) -> None:
        count = len(self.memories)
        live = self.claim is not None and self.now < self.claim[2]
        wrong = live or off or self.summary[0] == count
        until = self.now + timedelta(seconds=10)
        fact = SummaryClaimed(at=self.now, token=token, by="s", through=count + off, expires_at=until)
        if self.attempt(fact, self.same, *([IllegalTransition] if wrong else [])):
            kept = self.claim[3:] if self.claim and self.claim[1] == count else [False, None]
            self.claim = [token, count, until, *kept]

    def token_error(self, token: str) -> list[type[Exception]]:
        held = self.claim is not None and self.claim[0] == token and self.claim[1] == len(self.memories)
        return [] if held else [StaleToken]

    @rule(token=TOKENS, result=JSON)
    def stage_summary(self, token: str, result: Any) -> None:
        fact = SummaryStaged(at=self.now, token=token, result=result)
        if self.attempt(fact, self.same, *self.token_error(token)) and self.claim is not None:
            self.claim[3:] = True, result

    @rule(token=TOKENS, off=RIGHT)
    def complete_summary(self, token: str, off: int) -> None:
        errors = self.token_error(token)
        through = (self.claim[1] if self.claim else 0) + off
        if not errors and self.claim is not None and (off or not self.claim[3]):
            errors = [IllegalTransition]
        fact = SummaryCompleted(at=self.now, token=token, through=through)
        if self.attempt(fact, self.same, *errors) and self.claim is not None:
            self.summary, self.claim = (through, self.claim[4]), None
            assert through == len(self.memories)  # H9: none is left out

    # The end.

    def in_the_way(self) -> list[type[Exception]]:
        return [SessionBusy] if self.queue else [HandoffConflict] if self.handing_off else []

    @rule()
    def finalize(self) -> None:
        self.attempt(Finalized(at=self.now), SessionStatus.FINALIZED, *self.in_the_way())

    @rule()
    def delete(self) -> None:
        errors = [SessionBusy] if self.active else self.in_the_way()
        self.attempt(Deleted(at=self.now), SessionStatus.DELETED, *errors)

    @invariant()
    def replay_equals_live(self) -> None:
        session = self.log.state
        assert self.log.replayed() == session
        assert (session.queue, session.waiting) == (tuple(self.queue), tuple(self.waiting))
        assert (session.turns, session.active_run_id) == (self.turns, self.active)
        assert (session.owner, session.epoch) == (self.owner, self.epoch)
        assert (session.watermark, session.summary) == self.summary
        assert (session.handing_off is not None) == self.handing_off

    @invariant()
    def the_memory_is_one_chain(self) -> None:
        count, head = len(self.memories), self.memories[-1].hash if self.memories else None
        evidence = Continuity(count=count, first=1 if count else None, last=count or None, head_hash=head)
        assert self.log.state.continuity == evidence
        assert first_break(SESSION, self.memories) is None

    @invariant()
    def a_deleted_session_stays(self) -> None:
        gone = self.log.state.status is SessionStatus.DELETED
        self.deleted = self.deleted or (self.log.state if gone else None)
        done = not (self.active or self.queue)  # what it had taken could otherwise never end
        assert self.deleted is None or (done and self.deleted == self.log.state)


TestSessionMachine = SessionMachine.TestCase
