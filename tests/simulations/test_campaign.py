"""Campaigns: every seed once, limits kept, dead and hung jobs replaced, hash seeds really set."""

import itertools
import time
from dataclasses import replace

import pytest

from reattach.simulations import job, pool
from reattach.simulations.campaign import Limits, Tally, hunt, run_tasks
from reattach.simulations.job import Outcome, Task
from reattach.simulations.pool import JobsFail, Pool
from reattach.simulations.progress import progress_line, summary
from reattach.simulations.report import Setting

from .little_world import NEVER
from .simulating import MARKS, little

__all__ = ["little"]  # a fixture
pytestmark = pytest.mark.usefixtures("little")

PLAIN = Setting()
PLANTED = Setting(planted="two-together")


def test_every_seed_is_run_once() -> None:
    with Pool(2) as jobs:
        seeds = [outcome.seed for outcome in jobs.run(Task(seed, PLAIN) for seed in range(50)) if outcome]
    assert sorted(seeds) == list(range(50))


def test_a_tally_adds_up() -> None:
    tally, told = Tally(), 0

    def progress(_: Tally) -> None:
        nonlocal told
        told += 1

    hunt(range(30), PLANTED, tally, progress, Limits(2, None, None))
    assert tally.worlds == 30
    assert tally.marks["completed"] == 30
    assert 0 < tally.marks["take-over"] <= 30
    assert tally.violations == {"zombie-write": len(tally.failures)}
    assert tally.worlds_per_s > 0
    assert tally.hours_per_cpu_minute > 0
    assert told >= 30
    assert progress_line(tally, MARKS).startswith("30 seeds · ")
    assert any("broken: zombie-write" in line for line in summary(tally, MARKS))


def test_a_hunt_stops_at_its_failures() -> None:
    tally = Tally()
    hunt(itertools.count(), PLANTED, tally, lambda _: None, Limits(2, None, 3))
    assert len(tally.failures) == 3


def test_a_hunt_stops_in_time() -> None:
    tally, began = Tally(), time.monotonic()
    hunt(itertools.count(), PLAIN, tally, lambda _: None, Limits(1, 0.5, None))
    assert tally.worlds > 0
    assert time.monotonic() - began < 10


def test_a_task_gives_the_same_outcome_in_any_job() -> None:
    tasks = [Task(seed, PLANTED, tracing=True) for seed in range(10)]
    outcomes: list[dict[int, Outcome]] = []
    for hash_seed in (0, 5):
        with Pool(2, hash_seed=hash_seed) as jobs:
            outcomes.append({one.seed: replace(one, cpu_s=0.0) for one in jobs.run(tasks) if one})
    assert outcomes[0] == outcomes[1]
    assert len({outcome.digest for outcome in outcomes[0].values()}) == 10


def test_a_world_that_raises_is_trouble_and_the_job_goes_on() -> None:
    with Pool(1) as jobs:
        outcomes = {one.seed: one for one in jobs.run(Task(seed, PLAIN) for seed in (1, NEVER, 2)) if one}
    assert "the harness broke" in str(outcomes[NEVER].trouble)
    assert outcomes[1].trouble is outcomes[2].trouble is None


def test_a_job_that_dies_takes_one_task_with_it() -> None:
    tasks = [Task(seed, Setting(planted="dies") if seed == 4 else PLAIN) for seed in range(12)]
    tally = Tally()
    run_tasks(tasks, tally, lambda _: None, Limits(1, None, None))
    assert tally.worlds == 12
    assert [outcome.seed for outcome in tally.troubles] == [4]


def test_a_job_that_hangs_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "TASK_SECONDS_MAX", 1.5)
    tasks = [Task(seed, Setting(planted="hangs") if seed == 1 else PLAIN) for seed in range(4)]
    with Pool(1) as jobs:
        outcomes = [outcome for outcome in jobs.run(tasks) if outcome]
    assert [outcome.seed for outcome in outcomes if outcome.trouble] == [1]
    assert len(outcomes) == 4


def test_jobs_that_do_not_start_end_the_campaign(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "WORLD", "no_such_module:run_world")
    with Pool(1) as jobs, pytest.raises(JobsFail, match="no_such_module"):
        list(jobs.run(Task(seed, PLAIN) for seed in range(9)))
