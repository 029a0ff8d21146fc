"""Crash points: where they are, what a crash there does, and what it finds."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import pytest

from reattach.__main__ import main
from reattach.simulations import crashing
from reattach.simulations.crashpoints import points, run_point
from reattach.simulations.planted import BY_NAME, Edit, Planted
from reattach.simulations.report import Report
from reattach.simulations.tape import Tape
from reattach.simulations.verdicts import Verdict
from reattach.simulations.world import run_world

BUGS: Final = (
    Planted(
        "key-remembered-later",
        "A run is created in one transaction; its Idempotency-Key is remembered in the next.",
        ("turn-refused", "not-idempotent"),
        (
            Edit(
                "domain.application:Application.start_run",
                "return await self.store.transact(\n",
                """both = as_writer(tenant, session_id, session_epoch, work)
    if idempotency is None or await self.store.transact(lambda tx: tx.answer(tenant, idempotency.key)):
        return await self.store.transact(once(tenant, idempotency, Run, both))
    made = await self.store.transact(both)
    return await self.store.transact(once(tenant, idempotency, Run, lambda tx: made))
    return await self.store.transact(
""",
            ),
        ),
    ),
    Planted(
        "take-over-from-the-start",
        "Who takes over after a checkpoint was committed voids what is before it, too.",
        ("reset-target",),
        (
            Edit(
                "domain.application:Application._take_over",
                "checkpoint.seq if checkpoint else 0",
                "0 * (checkpoint.seq if checkpoint else 0)",
            ),
        ),
    ),
)
"""Bugs that live between two commits: nothing is wrong unless somebody dies right there."""


def ran(point: str) -> Report:
    return run_point(Tape(0), point=point)


def records(report: Report, *kinds: str) -> list[Mapping[str, Any]]:
    return [record for record in report.trace.recording().records if record["kind"] in kinds]


def test_every_group_of_every_process_is_a_point_before_and_after() -> None:
    names = points(Tape(0))
    assert len(names) == len(set(names)) > 60
    assert {name.split("-")[0] for name in names} == {"n0", "n1"}
    assert {name.replace("before", "after") for name in names} == {name for name in names if "after" in name}
    assert points(Tape(0)) == names
    assert points(Tape(1)) != names


def test_before_nothing_is_written_and_the_process_starts_again() -> None:
    report = ran("n0-4-before")
    (crash,) = records(report, "crash")
    assert (crash["proc"], crash["when"]) == ("n0.1", "before")
    lives = [(record["kind"], record["proc"]) for record in records(report, "down", "up") if record["t"] >= crash["t"]]
    assert lives == [("down", "n0.1"), ("down", "n0.1"), ("up", "n0.2")]
    assert "n0.1" not in {record["proc"] for record in records(report, "commit") if record["t"] >= crash["t"]}


def test_after_it_is_written_and_nobody_is_told() -> None:
    report = ran("n0-4-after")
    (crash,) = records(report, "crash")
    (commit,) = [record for record in records(report, "commit") if record["t"] == crash["t"]]
    assert (commit["proc"], commit["works"]) == ("n0.1", crash["works"])
    assert "n0.1" not in {record["proc"] for record in records(report, "commit") if record["t"] > crash["t"]}


def test_a_point_is_a_decision_and_is_replayed_without_its_name() -> None:
    report = ran("n1-7-after")
    again = run_world(Tape.replay(report.decisions, 0))
    assert again.trace.digest() == report.trace.digest()
    assert report.decisions["store.crash:n1"] == [0, 0, 0, 0, 0, 0, 2]


def test_ordinary_seeds_crash_at_their_writes_too() -> None:
    report = run_world(Tape.replay({"config.fault.crash": [1], "store.crash:n0": [0, 2], "fault.crash-s:n0": [1]}))
    assert report.violation is None
    died, started = (record for record in records(report, "crash", "up") if record["t"] > 0.001)
    assert (died["when"], started["proc"]) == ("after", "n0.2")
    assert 1.0 <= started["t"] - died["t"] < 1.1


@pytest.mark.parametrize("point", ["n0-500-before", "n7-1-after"])
def test_a_point_that_is_not_there_is_no_clean_one(point: str) -> None:
    with pytest.raises(ValueError, match="never writes its group"):
        ran(point)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_intact_code_is_clean_at_every_point(seed: int) -> None:
    for point in points(Tape(seed)):
        report = run_point(Tape(seed), point=point, tracing=False)
        assert (point, report.violation, report.trouble) == (point, None, None)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_bugs_between_two_commits_are_found(bug: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cast("dict[str, Planted]", BY_NAME), bug.name, bug)
    names = points(Tape(0), planted=bug.name)
    found = (run_point(Tape(0), point=name, planted=bug.name, tracing=False) for name in names)
    report = next(report for report in found if report.violation is not None)
    assert report.violation is not None
    assert report.violation.name in bug.finds
    again = run_world(Tape.replay(report.decisions, 0), planted=bug.name, tracing=False)
    assert again.violation is not None
    assert again.violation.name == report.violation.name
    assert run_world(Tape.replay(report.decisions, 0), tracing=False).violation is None
    plain = {site: values for site, values in report.decisions.items() if not site.startswith("store.crash:")}
    assert run_world(Tape.replay(plain, 0), planted=bug.name, tracing=False).violation is None


def only(*names: str) -> Callable[..., Sequence[str]]:
    """These points of whatever world."""

    def points(*_: object, **__: object) -> Sequence[str]:
        return names

    return points


def test_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(crashing, "points", only("n0-2-before", "n0-3-after"))
    assert main(("simulate", "crashpoints", "--jobs", "1")) == Verdict.CLEAN
    out = capsys.readouterr().out
    assert out.startswith("2 crash points of seed 0 in ")
    assert out.endswith("0 break a promise\n")
    monkeypatch.setattr(crashing, "points", only("n0-5-after"))
    planted = ("--planted", "take-over-leaves-parts-open")
    assert main(("simulate", "crashpoints", "--jobs", "1", "--seconds", "2", *planted)) == Verdict.VIOLATION
    *_, command = capsys.readouterr().out.splitlines()
    assert main(command.split()[1:]) == Verdict.VIOLATION
    assert main((*command.split()[1:], "--intact")) == Verdict.CLEAN
