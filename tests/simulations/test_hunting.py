"""The simulator at work on the code as it is: fresh seeds, a canary that must die, the corpus, and equal traces.

Seeds are taken from the clock, so that every run of the tests looks where nobody has looked. A failure names its
seed and the command that replays it; it is a finding, not a flaky test.
"""

import time
from pathlib import Path

import pytest
from tests.system.server import ROOT

from reattach.simulations.audit import audit
from reattach.simulations.campaign import Limits, Tally, hunt
from reattach.simulations.case import Case, run_command
from reattach.simulations.planted import BY_NAME
from reattach.simulations.report import Setting, replayer
from reattach.simulations.world import run_world

FRESH_S = 20.0
"""Seconds of hunting with fresh seeds."""

AUDITED_SEEDS = 8
"""Fresh seeds that are run under each hash seed, in both orders."""

CANARY = "resume-one-too-far"
"""A planted bug that any working simulator finds at once."""

CORPUS = sorted((ROOT / "simulations" / "corpus").glob("*.json"))


def fresh_seed() -> int:
    """A seed that no earlier run began at."""
    return int(time.time()) * 1000


@pytest.mark.slow
def test_fresh_seeds_break_no_promise() -> None:
    seed, setting, tally = fresh_seed(), Setting(), Tally()
    hunt(range(seed, seed + 100_000), setting, tally, lambda _: None, Limits(seconds=FRESH_S))
    found = [f"{run_command(o.seed, setting)}: {o.violation}: {o.detail}" for o in tally.failures]
    assert not found, "\n".join(found)
    assert not tally.troubles, tally.troubles[0].trouble
    assert tally.worlds > FRESH_S / 5, "the simulator hardly ran"


@pytest.mark.slow
def test_the_canary_dies() -> None:
    seed, tally = fresh_seed(), Tally()
    hunt(range(seed, seed + 100), Setting(planted=CANARY), tally, lambda _: None, Limits())
    assert [outcome.violation in BY_NAME[CANARY].finds for outcome in tally.failures] == [True]


@pytest.mark.slow
def test_a_seed_is_one_world_wherever_it_runs() -> None:
    seed = fresh_seed()
    found = audit(range(seed, seed + AUDITED_SEEDS), Setting(), lambda _worlds, _of: None)
    assert not found.differences
    assert not found.troubles
    assert found.worlds == AUDITED_SEEDS * 6


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_the_corpus(path: Path) -> None:
    """Each tape is the shortest story of one bug: with it the promise is broken, without it all is well."""
    case = Case.read(path)
    broken = replayer(run_world, case.setting, seed=case.seed, tracing=False)(case.decisions)
    assert broken.violation is not None, f"{case.setting.planted} is not found any more"
    assert broken.violation.name == case.violation
    intact = Setting(agents=case.setting.agents, store=case.setting.store)
    assert replayer(run_world, intact, seed=case.seed, tracing=False)(case.decisions).violation is None
