"""A tape's faults as a chaos carries them out."""

from pathlib import Path

import pytest

from reattach.simulations.case import Case
from reattach.simulations.chaos.plan import Fault
from reattach.simulations.chaos.processes import LEASE_S
from reattach.simulations.chaos.script import PAUSE_S, STRETCH, faults_of, rounds
from reattach.simulations.node import SETTINGS

CORPUS = Path(__file__).parents[3] / "simulations" / "corpus"


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("resume-one-too-far", ["stop-server", "stop-worker"]),
        ("drain-looks-like-an-end", ["drain-server", "drain-worker"]),
        ("take-over-forgets-the-checkpoint", ["reset", "kill-worker", "stop-worker", "kill-worker"]),
        ("reader-skips-a-gap", ["sever"]),
    ],
)
def test_a_tape_says_what_goes_wrong(name: str, kinds: list[str]) -> None:
    faults = faults_of(Case.read(CORPUS / f"{name}.json"))
    assert [fault.kind for fault in faults] == kinds
    assert [fault.at_s for fault in faults] == sorted(fault.at_s for fault in faults)


def test_a_stop_stays_beyond_the_lease() -> None:
    stop, _ = faults_of(Case.read(CORPUS / "append-epoch-unchecked.json"))
    assert stop.for_s == 4.0 * STRETCH
    assert (stop.for_s > LEASE_S, SETTINGS.lease_s < 4.0) == (True, True)


def test_rounds_hit_others_each_time() -> None:
    once = [Fault(5.0, "kill-worker", 0, 1.0), Fault(5.5, "sever", 0, 0.0)]
    assert rounds(once, 2 * (1.0 + PAUSE_S), ()) == [
        Fault(0.0, "kill-worker", 0, 1.0),
        Fault(1.0 + PAUSE_S, "kill-worker", 1, 1.0),
    ]
    assert [fault.kind for fault in rounds(once, 0.0, ("sever",))] == ["kill-worker", "sever"]
    assert rounds(once[1:], 60.0, ()) == []
