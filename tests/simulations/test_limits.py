"""Small limits: drawn from the tape, and as they were afterwards."""

import importlib
from typing import Any

from tests.system.server import ROOT

from reattach.simulations.case import Case
from reattach.simulations.limits import SMALL, small_limits
from reattach.simulations.report import replayer
from reattach.simulations.tape import Tape
from reattach.simulations.world import run_world


def now() -> list[Any]:
    return [getattr(importlib.import_module(f"reattach.{module}"), name) for module, name, _ in SMALL]


def test_a_benign_tape_changes_nothing() -> None:
    before = now()
    with small_limits(Tape.replay({})):
        assert now() == before


def test_each_limit_is_small_in_some_world_and_restored_after_an_error() -> None:
    before = now()
    everywhere = {f"limit.{name}": [1] for _, name, _ in SMALL}
    try:
        with small_limits(Tape.replay(everywhere)):
            assert now() == [value for _, _, value in SMALL]
            raise KeyError
    except KeyError:
        assert now() == before


def test_what_a_trial_makes_small_is_restored_when_its_world_ends_in_the_middle() -> None:
    before = now()
    case = Case.read(ROOT / "simulations" / "corpus" / "appender-waits-after-its-end.json")
    report = replayer(run_world, case.setting, tracing=False)(case.decisions)
    assert report.violation is not None
    assert now() == before
