"""Job under any sequence of facts: judged by the table and a little bookkeeping, replay equals live. Turns."""

from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reattach.domain.errors import IllegalTransition, SessionBusy, SessionFinalized
from reattach.domain.identifiers import RunId
from reattach.domain.job import Advanced, Attempted, Job, JobCreated, JobFact, Retry
from reattach.domain.session import Session
from reattach.domain.session_facts import Deleted, Finalized, SessionCreated, SessionFact, TurnEnded, TurnStarted
from reattach.domain.transitions import JOB_TABLE, SessionStatus, Status, Transition, targets

from .log import JOB, SESSION, START, FactLog
from .strategies import JSON

RUNS = st.sampled_from(["run_a", "run_b", "run_c"]).map(RunId)
STEPS = st.sampled_from(sorted({row.command for row in JOB_TABLE} | {"explode"}))


class JobMachine(RuleBasedStateMachine):
    """Any fact in any state."""

    def __init__(self) -> None:
        super().__init__()
        self.log = FactLog(Job())
        self.runs: list[str] = []
        self.final: Job | None = None

    def attempt(self, fact: JobFact, target: str, *, possible: bool = True) -> bool:
        """Record it. It must succeed if the table says so, and leave no trace if not."""
        before = (self.log.state, len(self.log.facts))
        if possible and target in targets(JOB_TABLE, self.log.state.status, fact.command):
            self.log.record(fact)
            assert self.log.state.status == target
            return True
        with pytest.raises(IllegalTransition):
            self.log.record(fact)
        assert (self.log.state, len(self.log.facts)) == before
        return False

    @initialize(steps=st.lists(st.sampled_from(JOB_TABLE), max_size=8))
    def go_on(self, steps: list[Transition]) -> None:
        """Along the table, where it has a way: left to chance alone, most of what is tried would be refused."""
        for command, _, ends in steps:
            if command == "create":
                self.create({})
            elif command == "attempt":
                self.attempted(RunId("run_a"))
            else:
                self.advance(command, Status(ends[0]))

    @rule(content=JSON)
    def create(self, content: Any) -> None:
        fact = JobCreated(
            at=START, job_id=JOB, tenant="t", session_id=SESSION, agent="echo", input=content, retry=Retry()
        )
        self.attempt(fact, Status.PENDING)

    @rule(run_id=RUNS)
    def attempted(self, run_id: RunId) -> None:
        if self.attempt(Attempted(at=START, run_id=run_id), Status.PENDING):
            self.runs.append(run_id)

    @rule(step=STEPS, to=st.sampled_from(Status))
    def advance(self, step: str, to: Status) -> None:
        self.attempt(Advanced(at=START, to=to, step=step), to, possible=step not in ("create", "attempt"))

    @invariant()
    def replay_equals_live(self) -> None:
        assert self.log.replayed() == self.log.state
        assert self.log.state.runs == tuple(self.runs)

    @invariant()
    def a_final_state_stays(self) -> None:
        job = self.log.state
        if self.final is None and job.status is not None and job.status.final:
            self.final = job
        assert self.final in (None, job)


TestJobMachine = JobMachine.TestCase


def busy_session() -> FactLog[Session]:
    log = FactLog(Session())
    log.record(SessionCreated(at=START, session_id=SESSION, tenant="t", metadata={}))
    log.record(TurnStarted(at=START, turn=1, run_id=RunId("run_a"), job_id=JOB))
    return log


def test_a_finalized_session_says_so() -> None:
    log = FactLog(Session())
    log.record(SessionCreated(at=START, session_id=SESSION, tenant="t", metadata={}))
    log.record(Finalized(at=START))
    with pytest.raises(SessionFinalized):
        log.record(TurnStarted(at=START, turn=1, run_id=RunId("run_a"), job_id=JOB))


def test_a_run_may_end_after_its_session_was_finalized() -> None:
    log = busy_session()
    log.record(Finalized(at=START))
    log.record(TurnEnded(at=START, turn=1, run_id=RunId("run_a")))
    assert (log.state.status, log.state.active_run_id) == (SessionStatus.FINALIZED, None)


@pytest.mark.parametrize(
    ("fact", "error"),
    [
        (Deleted(at=START), SessionBusy),  # its run could never end
        (TurnStarted(at=START, turn=2, run_id=RunId("run_b"), job_id=JOB), SessionBusy),
        (TurnEnded(at=START, turn=1, run_id=RunId("run_b")), IllegalTransition),
        (TurnEnded(at=START, turn=2, run_id=RunId("run_a")), IllegalTransition),
    ],
)
def test_what_an_active_run_forbids(fact: SessionFact, error: type[Exception]) -> None:
    log = busy_session()
    before = log.state
    with pytest.raises(error):
        log.record(fact)
    assert (log.state, len(log.facts)) == (before, 2)


def test_turns_are_counted() -> None:
    log = busy_session()
    log.record(TurnEnded(at=START, turn=1, run_id=RunId("run_a")))
    for turn in (1, 3):
        with pytest.raises(IllegalTransition):
            log.record(TurnStarted(at=START, turn=turn, run_id=RunId("run_b"), job_id=JOB))
    log.record(TurnStarted(at=START, turn=2, run_id=RunId("run_b"), job_id=JOB))
    assert (log.state.turns, log.state.active_run_id) == (2, "run_b")


def test_a_second_turn_names_what_it_waits_for() -> None:
    with pytest.raises(SessionBusy) as refusal:
        busy_session().record(TurnStarted(at=START, turn=2, run_id=RunId("run_b"), job_id=JOB))
    assert refusal.value.fields["run_id"] == "run_a"
