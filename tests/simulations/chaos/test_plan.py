"""The plan of a chaos: the same for a seed, as many kills as asked for, and nothing that can't be suffered here."""

from collections import Counter

from reattach.simulations.chaos.plan import KINDS, SOMETIMES, plan


def test_a_seed_is_a_plan() -> None:
    assert plan(7, 600, 100, ()) == plan(7, 600, 100, ())
    assert plan(7, 600, 100, ()) != plan(8, 600, 100, ())


def test_kills_are_counted_and_spread() -> None:
    faults = plan(1, 1800, 300, SOMETIMES)
    kills = [fault for fault in faults if fault.kind.startswith("kill-")]
    assert len(kills) == 300
    assert {fault.kind for fault in kills} == {"kill-server", "kill-worker"}
    for minute in range(30):
        assert 8 <= sum(minute * 60 <= fault.at_s < (minute + 1) * 60 for fault in kills) <= 12
    assert [fault.at_s for fault in faults] == sorted(fault.at_s for fault in faults)


def test_everything_happens_and_nothing_that_can_not() -> None:
    everything = Counter(fault.kind for fault in plan(1, 6000, 10, SOMETIMES))
    assert {*KINDS, "kill-server", "kill-worker"} == {*everything}
    assert not {fault.kind for fault in plan(1, 6000, 10, ())} & {*SOMETIMES}
