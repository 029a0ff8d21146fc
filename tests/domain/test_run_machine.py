"""Run under any sequence of commands: who may succeed is judged by the table, and replay always equals live.

The machine keeps its own books (decisions, epochs, the final state) and never asks the run what should happen.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reattach.domain.agent import Text
from reattach.domain.errors import (
    AppendConflict,
    DecisionConflict,
    IllegalTransition,
    Invalid,
    ReattachError,
    RunClosed,
    StaleEpoch,
    UnknownApproval,
)
from reattach.domain.frames import FactFrame
from reattach.domain.run import TAKEOVERS_MAX, Run
from reattach.domain.run_facts import Decision, TakenOver, digest_of
from reattach.domain.scribe import Scribe
from reattach.domain.snapshot import Snapshot
from reattach.domain.transitions import RUN_TABLE, Status, targets
from reattach.domain.wire import decode

from .log import RUN, RunLog
from .strategies import OUTPUTS

EPOCHS = st.sampled_from([0, 0, 0, -1, 1])
"""How far the epoch that a worker shows is off."""

SELDOM = st.sampled_from([True, *[False] * 3])
"""An end, now and then: a run that has ended has little left to show."""

WAYS = st.lists(st.integers(0, 11), min_size=1, max_size=10)

ARGUMENTS = st.sampled_from([None, 1, True, {"sum": 1}, {"sum": True}])
OUTCOMES = st.sampled_from(["approve", "deny"])


class RunMachine(RuleBasedStateMachine):
    """Any command in any state."""

    def __init__(self) -> None:
        super().__init__()
        self.log = RunLog()
        self.asked: dict[str, tuple[float, str]] = {}  # approval id -> its deadline (s), its digest
        self.decided: dict[str, tuple[str, str | None]] = {}  # approval id -> outcome, digest of the arguments
        self.scribes: list[tuple[int, Scribe]] = []  # of every worker that ever held the run
        self.clock_s = 0.0
        self.takeovers = 0
        self.epochs = [0]
        self.final: Run | None = None

    def attempt(
        self,
        command: str,
        deed: Callable[[], object],
        errors: Sequence[type[ReattachError]] = (),
        *,
        stale: bool = False,
    ) -> bool:
        """Do it. It must succeed if the table has the pair and no error is expected, and leave no trace if not."""
        before = (self.log.run, self.log.lines, self.log.outline, self.log.checkpoint)
        allowed = targets(RUN_TABLE, self.log.run.status, command)
        if allowed and not errors and not stale:
            deed()
            assert self.log.run.status in allowed
            self.epochs.append(self.log.run.epoch)
            return True
        expected = (*errors, *((StaleEpoch,) if stale else ()), *(() if allowed else (IllegalTransition, RunClosed)))
        with pytest.raises(expected):
            deed()
        assert (self.log.run, self.log.lines, self.log.outline, self.log.checkpoint) == before
        return False

    @initialize(prompt=st.none() | st.just("hello"), picks=WAYS)
    def create(self, prompt: str | None, picks: list[int]) -> None:
        self.attempt("claim", self.log.claim)
        self.attempt("create", lambda: self.log.create(prompt))
        self.go_on(picks)

    @rule(picks=WAYS)
    def go_on(self, picks: list[int]) -> None:
        """Along the table: left to chance alone, most of what is tried would be refused."""
        ways: dict[str, Callable[[], None]] = {
            "claim": self.claim,
            "record": lambda: self.write(0, Text("more")),
            "take_over": self.take_over,
            "suspend": lambda: self.suspend(0, [("pay", 1), ("pay", None)], 2),
            "decide": lambda: self.decide([], "approve", None, "first"),
            "release": lambda: self.release(0, now=True),
        }
        for pick in picks:
            open_ways = [way for command, way in ways.items() if targets(RUN_TABLE, self.log.run.status, command)]
            if open_ways:
                open_ways[pick % len(open_ways)]()

    @rule()
    def create_again(self) -> None:
        self.attempt("create", self.log.create)

    @rule()
    def claim(self) -> None:
        if self.attempt("claim", self.log.claim):
            self.scribes.append((self.log.run.epoch, self.log.scribe()))

    @rule()
    def take_over(self) -> None:
        if self.takeovers == TAKEOVERS_MAX and self.log.run.status is Status.RUNNING:
            self.attempt("fail", self.log.take_over)
            assert self.log.run.error is not None
            assert self.log.run.error.type == "worker_lost"
        elif self.attempt("take_over", self.log.take_over):
            self.takeovers += 1
            assert isinstance(self.log.records[-1].fact, TakenOver)
            self.scribes.append((self.log.run.epoch, self.log.scribe()))

    @rule(off=EPOCHS, now=st.booleans())
    def release(self, off: int, now: bool) -> None:
        if now:
            self.attempt("release", lambda: self.log.release(self.log.run.epoch + off), stale=off != 0)

    @precondition(lambda self: self.scribes)
    @rule(worker=st.integers(0, 5), output=OUTPUTS)
    def write(self, worker: int, output: Any) -> None:
        """Any worker that ever held the run goes on writing."""
        epoch, scribe = self.scribes[-1 - worker % len(self.scribes)]
        try:
            scribe.write(output)
        except Invalid:
            return
        batch = scribe.take()
        late: tuple[type[ReattachError], ...] = () if batch.first_seq == self.log.head + 1 else (AppendConflict,)
        self.attempt("record", lambda: self.log.append(batch, epoch), late, stale=epoch != self.log.run.epoch)

    @rule(off=EPOCHS, calls=st.lists(st.tuples(st.just("pay"), ARGUMENTS), max_size=3), timeout_s=st.integers(0, 3))
    def suspend(self, off: int, calls: list[tuple[str, Any]], timeout_s: int) -> None:
        errors = () if calls else (Invalid,)
        epoch = self.log.run.epoch + off
        deed = lambda: self.log.suspend(*calls, epoch=epoch, timeout_s=timeout_s)  # noqa: E731  - a deed like the others
        if self.attempt("suspend", deed, errors, stale=off != 0):
            for approval in self.log.run.approvals[-len(calls) :]:
                self.asked[approval.approval_id] = (self.clock_s + timeout_s, approval.digest)

    @rule(
        numbers=st.lists(st.integers(1, 6), max_size=3),
        outcome=OUTCOMES,
        arguments=ARGUMENTS,
        which=st.sampled_from(["open", "first", "twice", "last", "any"]),
    )
    def decide(self, numbers: list[int], outcome: Any, arguments: Any, which: str) -> None:
        """Decisions in any number: fresh, repeated, opposite, edited, unknown, twice, none, too late."""
        ids = {
            "open": self.open,
            "first": self.open[:1],
            "twice": self.open[:1] * 2,
            "last": list(self.decided)[-1:],
            "any": [f"1.1.a{number}" for number in numbers],
        }[which]
        decisions = [Decision(approval_id=i, outcome=outcome, arguments=arguments, by="ada") for i in ids]
        errors: list[type[ReattachError]] = [] if ids and len(set(ids)) == len(ids) else [Invalid]
        errors += [UnknownApproval for i in ids if i not in self.asked]
        wanted = {i: self.meant(i, outcome, arguments) for i in ids if i in self.asked}
        given = {i: self.standing(i) for i in wanted}
        errors += [DecisionConflict for i, mark in given.items() if mark not in (None, wanted[i])]
        fresh = [i for i, mark in given.items() if mark is None]
        if not errors and not fresh:
            assert self.log.run.decide(tuple(decisions), self.log.now) is None
        elif self.attempt("decide", lambda: self.log.decide(*decisions), errors):
            self.decided |= {i: wanted[i] for i in fresh}
            self.check_decided(fresh)

    @rule()
    def expire(self) -> None:
        due = [i for i in self.open if self.asked[i][0] <= self.clock_s]
        if due:
            self.attempt("decide", self.log.expire)
            self.decided |= dict.fromkeys(due, ("deny", None))
            self.check_decided(due)
        else:
            assert self.log.run.expire(self.log.now) is None

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        self.clock_s += seconds
        self.log.wait(seconds)

    @rule(how=st.sampled_from(["complete", "fail", "cancel"]), off=EPOCHS, now=SELDOM)
    def end(self, how: str, off: int, now: bool) -> None:
        if not (now or self.log.run.final):
            return
        pending = self.open
        if how == "complete":
            self.attempt("complete", lambda: self.log.complete(self.log.run.epoch + off), stale=off != 0)
        elif self.attempt(how, {"fail": self.log.fail, "cancel": self.log.cancel}[how]):
            self.decided |= dict.fromkeys(pending, ("deny", None))
            self.check_decided(pending)
            reason = {"fail": "failed", "cancel": "cancelled"}[how]
            for approval in (a for a in self.log.run.approvals if a.approval_id in pending):
                overdue = self.asked[approval.approval_id][0] <= self.clock_s
                assert approval.reason == ("expired" if overdue else reason)

    # The machine's own books.

    @property
    def open(self) -> list[str]:
        return [i for i in self.asked if i not in self.decided]

    def meant(self, approval_id: str, outcome: str, arguments: Any) -> tuple[str, str | None]:
        logged = self.asked[approval_id][1]
        executed = logged if arguments is None else digest_of("pay", arguments)
        return (outcome, executed if outcome == "approve" else None)

    def standing(self, approval_id: str) -> tuple[str, str | None] | None:
        late = self.asked[approval_id][0] <= self.clock_s
        return self.decided.get(approval_id, ("deny", None) if late else None)

    def check_decided(self, ids: list[str]) -> None:
        """Exactly these were decided by the last event, each by a frame of its own."""
        frames = [decode(line) for line in self.log.records[-1].data]
        assert [f.model_dump()["approval_id"] for f in frames if f.type == "approval.decided"] == ids
        resumed = frames[-1].type == "run.resumed"
        assert resumed == (self.log.run.status is Status.PENDING)

    @invariant()
    def replay_equals_live(self) -> None:
        assert self.log.replayed() == self.log.run

    @invariant()
    def a_final_state_stays(self) -> None:
        if self.final is not None:
            assert self.log.run == self.final
        elif self.log.run.final:
            self.final = self.log.run

    @invariant()
    def hands_change_one_epoch_at_a_time(self) -> None:
        assert all(later - earlier in (0, 1) for earlier, later in zip(self.epochs, self.epochs[1:], strict=False))
        assert self.log.run.epoch == len(self.scribes)

    @invariant()
    def every_approval_stands_as_it_was_decided(self) -> None:
        run = self.log.run
        for approval in run.approvals:
            executed = digest_of("pay", approval.decided_arguments) if approval.outcome == "approve" else None
            standing = None if approval.outcome is None else (approval.outcome, executed)
            assert standing == self.decided.get(approval.approval_id)
        assert bool(run.pending_approvals) == (run.status is Status.WAITING)

    @invariant()
    def versions_count_frames(self) -> None:
        expected = 1
        for record in self.log.records:
            assert record.first_seq == expected
            assert record.data
            expected += len(record.data)
        assert [frame["seq"] for frame in self.log.frames] == list(range(1, expected))

    @invariant()
    def frames_tell_the_same_as_facts(self) -> None:
        snapshot = Snapshot.empty()
        for frame in self.log.frames:
            snapshot.apply(frame)
        state = snapshot.state()
        assert state["run"].get("status") == self.log.run.status
        ids = [approval.approval_id for approval in self.log.run.pending_approvals]
        assert [approval["approval_id"] for approval in state["pending_approvals"]] == ids
        assert state["run"].get("epoch", 0) in (self.log.run.epoch, 0)

    def teardown(self) -> None:
        for record in self.log.records:
            frames = [decode(line) for line in record.data]
            assert all(isinstance(frame, FactFrame) == (record.fact is not None) for frame in frames)
            if record.fact is not None:
                wanted = {(RUN, record.fact.at)}
                assert {(f.run_id, f.at) for f in frames if isinstance(f, FactFrame)} == wanted


TestRunMachine = RunMachine.TestCase
TestRunMachine.settings = settings(max_examples=2 * settings().max_examples)  # it has the most to find
