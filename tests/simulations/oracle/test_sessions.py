"""What may not happen to a session: each promise broken by one fact, and the oracle names it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import JsonValue

from reattach.domain.identifiers import JobId, RunId, SessionId
from reattach.domain.memory import Memory
from reattach.domain.ports import SessionMoved, SessionView
from reattach.domain.session_facts import (
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
    SummaryClaimed,
    SummaryCompleted,
    SummaryStaged,
    TurnEnded,
    TurnQueued,
    TurnStarted,
    TurnWithdrawn,
)
from reattach.simulations.oracle.log import Log
from reattach.simulations.oracle.sessions import Sessions
from reattach.simulations.process import EPOCH
from reattach.simulations.violation import Violation

SESSION = SessionId("ses_0000000000000000000000000a")
GRACE_S = 2.0


class Facts:
    """A store that has nothing but facts."""

    def __init__(self) -> None:
        self.facts: list[SessionFact] = []

    def session_facts(self, after: int) -> Sequence[tuple[int, SessionId, SessionFact]]:
        return [(n, SESSION, fact) for n, fact in enumerate(self.facts[after:], after + 1)]

    def session_view(self, session_id: SessionId) -> SessionView | None:
        return None

    def memories(self, session_id: SessionId, after: int, limit: int) -> Sequence[Memory]:
        return ()

    def handoff(self, session_id: SessionId, handoff_id: str) -> Handoff | None:
        return None


class Story:
    """A session's life, a second a fact. Its owners' leases last ten."""

    def __init__(self) -> None:
        self.rows, self.now, self.marks = Facts(), EPOCH, list[str]()
        self.told: list[SessionFact] = []
        self.sessions = Sessions(
            self.rows,
            Log(),
            lambda: self.now,
            self.marks.append,
            tell=lambda _, fact: self.told.append(fact),
            grace_s=GRACE_S,
        )
        self.happens(SessionCreated(at=self.now, session_id=SESSION, tenant="default", metadata={}))

    def happens(self, *facts: SessionFact, moved: bool = True) -> None:
        for fact in facts:
            self.now += timedelta(seconds=1)
            self.rows.facts.append(fact.model_copy(update={"at": self.now}))
            self.sessions.facts([SessionMoved(SESSION)] if moved else [])
            if isinstance(fact, Attached):
                self.sessions.logs[SESSION].lease = self.now + timedelta(seconds=10)

    def later(self, seconds: float) -> datetime:
        return self.now + timedelta(seconds=seconds)


def attached(owner: str, epoch: int, how: Any = "resumed", superseded: str | None = None) -> Attached:
    return Attached(at=EPOCH, owner=owner, epoch=epoch, how=how, superseded=superseded)


def remembered(sequence: int, epoch: int = 0, by: str | None = None, wish: str = "tea") -> MemoryAppended:
    content: JsonValue = {"wish": wish}
    return MemoryAppended(at=EPOCH, sequence=sequence, content=content, by=by, epoch=epoch, hash=f"{sequence}")


def turn(kind: Any, number: int, run: str) -> Any:
    fields: dict[str, Any] = {"at": EPOCH, "turn": number, "run_id": RunId(run)}
    return kind(**fields) if kind is TurnEnded else kind(**fields, job_id=JobId("job"))


def asked(barrier: int, handoff_id: str = "h", epoch: int = 1) -> HandoffRequested:
    until = EPOCH + timedelta(seconds=100)
    return HandoffRequested(at=EPOCH, handoff_id=handoff_id, source="a", epoch=epoch, barrier=barrier, expires_at=until)


def ready() -> HandoffReady:
    return HandoffReady(at=EPOCH, handoff_id="h", epoch=1)


def over(outcome: Any = "abandoned", **fields: Any) -> HandoffEnded:
    return HandoffEnded(at=EPOCH, handoff_id="h", outcome=outcome, epoch=1, **fields)


def claimed(through: int, token: str = "t") -> SummaryClaimed:
    until = EPOCH + timedelta(seconds=100)
    return SummaryClaimed(at=EPOCH, token=token, by="s", through=through, expires_at=until)


STAGED = SummaryStaged(at=EPOCH, token="t", result=1)
DONE = SummaryCompleted(at=EPOCH, token="t", through=1)
OWNED = attached("a", 1)
GONE = TurnWithdrawn(at=EPOCH, run_id=RunId("r2"))

BROKEN: Sequence[tuple[str, Sequence[SessionFact]]] = (
    ("session-epoch-step", (attached("a", 2),)),
    ("owner-ousted", (OWNED, attached("b", 2, superseded="a"))),
    ("owner-ousted", (OWNED, Detached(at=EPOCH, owner="a", epoch=1, reason="lapsed"))),
    ("superseded-wrong", (OWNED, attached("b", 2, "taken_over"))),
    ("handoff-not-ready", (OWNED, asked(0), attached("b", 2, "handed_over", "a"))),
    ("memory-order", (remembered(2),)),
    ("memory-order", (OWNED, remembered(1, epoch=0, by="a"))),
    ("memory-doubled", (remembered(1), remembered(2))),
    ("ended-session-written", (Finalized(at=EPOCH), remembered(1))),
    ("ended-session-written", (Deleted(at=EPOCH), OWNED)),
    ("input-lost", (turn(TurnStarted, 1, "r1"), turn(TurnQueued, 2, "r2"), Finalized(at=EPOCH))),
    ("session-busy-twice", (turn(TurnStarted, 1, "r1"), turn(TurnStarted, 2, "r2"))),
    ("turn-twice", (turn(TurnStarted, 1, "r1"), turn(TurnEnded, 1, "r1"), turn(TurnStarted, 2, "r1"))),
    ("turn-order", (turn(TurnStarted, 1, "r1"), turn(TurnEnded, 1, "r2"))),
    ("queue-order", (turn(TurnQueued, 1, "r1"), turn(TurnQueued, 2, "r2"), turn(TurnStarted, 2, "r2"))),
    ("withdrawn-wrong", (TurnWithdrawn(at=EPOCH, run_id=RunId("r1")),)),
    ("withdrawn-wrong", (turn(TurnStarted, 1, "r1"), turn(TurnQueued, 2, "r2"), *2 * (GONE,))),
    ("handoff-barrier", (OWNED, asked(0), turn(TurnQueued, 1, "r1"), turn(TurnStarted, 1, "r1"))),
    ("handoff-wrong", (OWNED, asked(1))),
    ("handoff-wrong", (OWNED, asked(0), over("completed", target="b"))),
    ("handoff-twice", (OWNED, asked(0), asked(0, "other"))),
    ("handoff-twice", (OWNED, asked(0), over(), ready())),
    ("handoff-twice", (OWNED, asked(0), over(), asked(0))),
    ("handoff-not-drained", (OWNED, turn(TurnStarted, 1, "r1"), asked(1), ready())),
    ("handoff-early", (OWNED, asked(0), over(reason="expired"))),
    ("summary-early", (remembered(1), claimed(1))),
    ("summary-stale", (STAGED,)),
)


@pytest.mark.parametrize(("name", "facts"), BROKEN)
def test_what_may_not_happen_is_named(name: str, facts: Sequence[SessionFact]) -> None:
    story = Story()
    story.happens(*facts[:-1])
    with pytest.raises(Violation) as broken:
        story.happens(facts[-1])
    assert broken.value.name == name, broken.value


def test_a_move_that_nobody_is_told_of_is_named() -> None:
    with pytest.raises(Violation, match="session-news-missing"):
        Story().happens(OWNED, moved=False)


def test_a_summary_is_claimed_once_and_leaves_nothing_out() -> None:
    story = Story()
    story.happens(remembered(1))
    story.now = story.later(GRACE_S)
    story.happens(claimed(1), STAGED)
    with pytest.raises(Violation, match="summary-claimed-twice"):
        story.happens(claimed(1, "u"))
    story = Story()
    story.happens(remembered(1))
    story.now = story.later(GRACE_S)
    story.happens(claimed(1), STAGED, remembered(2, wish="milk"))
    with pytest.raises(Violation, match="summary-omits"):
        story.happens(DONE)


def test_a_life_without_a_fault_breaks_no_promise() -> None:
    story = Story()
    story.happens(OWNED, remembered(1, 1, "a"), turn(TurnStarted, 1, "r1"), turn(TurnQueued, 2, "r2"), asked(2))
    story.happens(turn(TurnQueued, 3, "r3"), turn(TurnEnded, 1, "r1"), turn(TurnStarted, 2, "r2"))
    story.happens(
        turn(TurnEnded, 2, "r2"), ready(), attached("b", 2, "handed_over", "a"), over("completed", target="b")
    )
    story.happens(turn(TurnStarted, 3, "r3"), turn(TurnEnded, 3, "r3"), attached("b", 3), Finalized(at=EPOCH))
    assert [fact.topic for fact in story.told][:3] == ["session.created", "session.attached", "session.memory_appended"]
    assert {"held-inputs-released", "handoff-completed", "owner-came-back", "session-finalized"} <= set(story.marks)
