"""Run: every pair of state and command, the epoch, and how often it may change hands."""

from collections.abc import Callable
from typing import Final

import pytest

from reattach.domain.errors import (
    IllegalTransition,
    ReattachError,
    StaleEpoch,
)
from reattach.domain.run import TAKEOVERS_MAX
from reattach.domain.run_facts import Claimed, Decision, TakenOver
from reattach.domain.transitions import RUN_TABLE, Status, targets

from .log import RunLog, run_in

COMMANDS: Final[dict[str, Callable[[RunLog], object]]] = {
    "create": lambda log: log.create(),
    "claim": lambda log: log.claim(),
    "take_over": lambda log: log.take_over(),
    "release": lambda log: log.release(),
    "record": lambda log: log.write(),
    "suspend": lambda log: log.suspend(("mail", {})),
    "decide": lambda log: log.decide(Decision(approval_id="1.1.a1", outcome="approve", by="ada")),
    "complete": lambda log: log.complete(),
    "fail": lambda log: log.fail(),
    "cancel": lambda log: log.cancel(),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("state", [None, *Status])
def test_exactly_the_pairs_of_the_table_succeed(state: Status | None, command: str) -> None:
    log = run_in(state)
    before = log.run, log.lines
    if allowed := targets(RUN_TABLE, state, command):
        COMMANDS[command](log)
        assert log.run.status in allowed
    else:
        with pytest.raises(ReattachError):
            COMMANDS[command](log)
        assert (log.run, log.lines) == before


def test_every_command_of_the_table_is_tried() -> None:
    assert {row.command for row in RUN_TABLE} == set(COMMANDS)


@pytest.mark.parametrize("command", ["release", "complete", "suspend"])
@pytest.mark.parametrize("offset", [-1, 1])
def test_a_worker_with_another_epoch_is_refused(command: str, offset: int) -> None:
    log = run_in(Status.RUNNING)
    epoch = log.run.epoch + offset
    deeds: dict[str, Callable[[], None]] = {
        "release": lambda: log.release(epoch),
        "complete": lambda: log.complete(epoch),
        "suspend": lambda: log.suspend(("pay", 1), epoch=epoch),
    }
    before = log.run, log.lines
    with pytest.raises(StaleEpoch):
        deeds[command]()
    assert (log.run, log.lines) == before


@pytest.mark.parametrize("epoch", [0, 1, 3])
def test_a_change_of_hands_raises_the_epoch_by_one(epoch: int) -> None:
    log = run_in(Status.RUNNING)
    with pytest.raises(IllegalTransition):
        log.record(TakenOver(at=log.now, worker="w2", epoch=epoch, to_seq=0, closes=()))
    pending = run_in(Status.PENDING)
    with pytest.raises(IllegalTransition):
        pending.record(Claimed(at=log.now, worker="w2", epoch=epoch + (epoch == 1)))


def test_the_fourth_take_over_fails_the_run() -> None:
    log = run_in(Status.RUNNING)
    for _ in range(TAKEOVERS_MAX):
        assert isinstance(log.take_over(), TakenOver)
    with pytest.raises(IllegalTransition):  # also for a fact made elsewhere
        log.run.allow(TakenOver(at=log.now, worker="w2", epoch=log.run.epoch + 1, to_seq=0, closes=()))
    log.take_over()
    assert (log.run.status, log.run.epoch) == (Status.FAILED, 1 + TAKEOVERS_MAX)
    assert log.run.error is not None
    assert log.run.error.type == "worker_lost"


@pytest.mark.parametrize("leave", ["release", "suspend"])
def test_an_exhausted_run_that_is_not_running_is_not_failed_by_a_take_over(leave: str) -> None:
    log = run_in(Status.RUNNING)
    for _ in range(TAKEOVERS_MAX):
        log.take_over()
    log.release() if leave == "release" else log.suspend(("pay", 1))
    with pytest.raises(IllegalTransition):
        log.take_over()
