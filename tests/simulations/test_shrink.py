"""The shrinker: few decisions are left, they break the same promise, and it stops when it was told to."""

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reattach.simulations.report import Report, Setting, replayer
from reattach.simulations.shrink import Budget, NotReproduced, Progress, family, non_benign, shrink
from reattach.simulations.tape import Tape
from reattach.simulations.trace import Trace
from reattach.simulations.violation import Violation

from .little_world import run_world

Decisions = Mapping[str, list[int]]


def world(breaks: Callable[[Decisions], str | None]) -> Callable[[Decisions], Report]:
    """A world that is nothing but its decisions."""

    def run(decisions: Decisions) -> Report:
        name = breaks(decisions)
        violation = Violation(name, "It broke.") if name else None
        copy = {site: list(values) for site, values in decisions.items()}
        return Report(0, None, violation, None, copy, Trace(lambda: 0.0, on=False), {}, 0, 0.0, 0, 0)

    return run


def at(decisions: Decisions, site: str, position: int) -> int:
    values = decisions.get(site, [])
    return values[position] if position < len(values) else 0


NOISE: Decisions = {f"net.late:c{c}": [1 + (n * 7 + c) % 9 for n in range(40)] for c in range(6)} | {
    "sched:n0": [n % 3 for n in range(60)],
    "config.nodes": [2],
}


def test_the_minimum_of_decisions_and_of_values_is_reached() -> None:
    wanted = {("net.late:c1", 3): 2, ("net.late:c4", 17): 5, ("sched:n0", 31): 1}

    def breaks(decisions: Decisions) -> str | None:
        return "broken" if all(at(decisions, *place) >= least for place, least in wanted.items()) else None

    start = {site: list(values) for site, values in NOISE.items()}
    start["net.late:c1"][3], start["net.late:c4"][17], start["sched:n0"][31] = 8, 9, 2
    found = shrink("broken", start, world(breaks))
    assert {(s, n): v for s, values in found.decisions.items() for n, v in enumerate(values) if v} == wanted
    assert (found.before, found.after) == (non_benign(start), 3)
    assert found.replays < 150
    assert not found.exhausted


@settings(max_examples=40, deadline=None)
@given(st.sets(st.tuples(st.sampled_from(sorted(NOISE)[1:4]), st.integers(0, 39)), min_size=1, max_size=6))
def test_any_conjunction_shrinks_to_itself(places: set[tuple[str, int]]) -> None:
    start = {site: list(values) for site, values in NOISE.items()}

    def breaks(decisions: Decisions) -> str | None:
        return "broken" if all(at(decisions, *place) for place in places) else None

    found = shrink("broken", start, world(breaks))
    assert found.decisions == {
        site: [int((site, n) in places) for n in range(1 + max(n for s, n in places if s == site))]
        for site in sorted({site for site, _ in places})
    }


def test_a_pair_that_only_goes_together_goes() -> None:
    def breaks(decisions: Decisions) -> str | None:
        if not at(decisions, "fault.kill", 0):
            return None
        return "broken" if bool(at(decisions, "net.a", 0)) == bool(at(decisions, "sched.b", 4)) else None

    found = shrink("broken", {"fault.kill": [1], "net.a": [1], "sched.b": [0, 0, 0, 0, 1]}, world(breaks))
    assert found.decisions == {"fault.kill": [1]}


def test_another_violation_does_not_count() -> None:
    def breaks(decisions: Decisions) -> str | None:
        return "broken" if at(decisions, "fault.kill", 0) > 1 else "another"

    assert shrink("broken", {"fault.kill": [6]}, world(breaks)).decisions == {"fault.kill": [2]}


def test_what_the_replay_asked_for_is_kept() -> None:
    def run(decisions: Decisions) -> Report:
        report = world(lambda _: "broken" if at(decisions, "fault.kill", 1) else None)(decisions)
        report.decisions.pop("never.asked", None)
        return report

    assert shrink("broken", {"fault.kill": [0, 1], "never.asked": [9]}, run).decisions == {"fault.kill": [0, 1]}


def test_a_tape_that_does_not_bring_it_back_is_refused() -> None:
    with pytest.raises(NotReproduced, match="expected broken, got another"):
        shrink("broken", NOISE, world(lambda _: "another"))
    with pytest.raises(NotReproduced, match="no violation"):
        shrink("broken", NOISE, world(lambda _: None))


def test_the_budget_is_kept_and_what_was_reached_is_valid() -> None:
    def breaks(decisions: Decisions) -> str | None:
        return "broken" if sum(map(sum, decisions.values())) >= 60 else None

    seen: list[Progress] = []
    found = shrink("broken", NOISE, world(breaks), budget=Budget(replays=20), progress=seen.append)
    assert found.replays == 20
    assert found.exhausted
    assert breaks(found.decisions) == "broken"
    assert found.after < found.before
    assert [now.decisions for now in seen] == sorted((now.decisions for now in seen), reverse=True)
    assert shrink("broken", NOISE, world(breaks), budget=Budget(seconds=0)).replays == 1


def test_a_shrunk_tape_replays_to_the_same_violation() -> None:
    setting = Setting(planted="two-together")
    failing = next(
        report
        for report in (run_world(Tape(seed), planted="two-together") for seed in range(100))
        if report.violation and non_benign(report.decisions) > 20
    )
    found = shrink("zombie-write", failing.decisions, replayer(run_world, setting, tracing=False))
    again = run_world(Tape.replay(found.decisions), planted="two-together")
    assert again.violation is not None
    assert again.violation.name == "zombie-write"
    assert again.decisions == found.decisions
    assert found.after == 3
    assert run_world(Tape.replay(found.decisions)).violation is None


def test_families_are_named_by_the_first_word() -> None:
    assert [family(site) for site in ("net.reset:c0-n1", "sched:n0.1/f", "config.nodes")] == ["net", "sched", "config"]
