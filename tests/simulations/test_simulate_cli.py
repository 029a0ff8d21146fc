"""`reattach simulate` as a person or a script uses it: output, exit codes, files, and commands that can be pasted."""

import json
from pathlib import Path

import pytest

from reattach.simulations import cli, job
from reattach.simulations.case import Case
from reattach.simulations.pool import Pool
from reattach.simulations.shrink import non_benign
from reattach.simulations.verdicts import Verdict

from .simulating import MARKS, Simulate, little, simulate

__all__ = ["little", "simulate"]  # fixtures

COMMANDS = ("hunt", "run", "replay", "shrink", "explain", "mutants", "crashpoints", "audit", "cover", "interleavings")
FAILING = ("hunt", "--seeds", "0:60", "--planted", "two-together", "--jobs", "2")


def test_a_hunt_finds_shrinks_saves_and_says_how_to_replay(simulate: Simulate) -> None:
    done = simulate(*FAILING)
    assert done.code == Verdict.VIOLATION
    assert "BROKEN PROMISE zombie-write" in done.out
    assert "Frame" in done.out
    again = simulate.printed(done.last)
    assert again.code == Verdict.VIOLATION
    assert "BROKEN PROMISE zombie-write" in again.out
    assert again.last == done.last
    (file,) = Path("simulations-found").glob("*.json")
    assert str(file) in done.last
    assert non_benign(Case.read(file).decisions) == 3
    assert "zombie-write" in file.with_suffix(".html").read_text(encoding="utf-8")


def test_without_shrinking_everything_is_saved(simulate: Simulate) -> None:
    done = simulate(*FAILING, "--no-shrink", "--found", "elsewhere")
    (file,) = Path("elsewhere").glob("*.json")
    assert non_benign(Case.read(file).decisions) > 10
    assert simulate.printed(done.last).code == Verdict.VIOLATION
    shrunk = simulate("shrink", str(file))
    assert shrunk.code == Verdict.CLEAN
    assert non_benign(Case.read(file.with_suffix(".shrunk.json")).decisions) == 3
    assert simulate.printed(shrunk.last).code == Verdict.VIOLATION


def test_a_clean_hunt_says_what_it_did_and_did_not(simulate: Simulate) -> None:
    done = simulate("hunt", "--seeds", "0:20", "--jobs", "2")
    assert done.code == Verdict.CLEAN
    assert "20 seeds in" in done.out
    assert "marks reached: 2 of 2" in done.out
    assert done.last == "no promise was broken"
    fresh = simulate("hunt", "--minutes", "0.01", "--jobs", "1")
    assert fresh.code == Verdict.CLEAN


def test_json_is_json(simulate: Simulate) -> None:
    failed = simulate(*FAILING, "--json")
    assert failed.code == Verdict.VIOLATION
    assert failed.json["verdict"] == "violation"
    (failure,) = failed.json["failures"]
    assert failure["after"] == 3
    assert failure["before"] > failure["after"]
    assert simulate.printed(failure["replay"]).code == Verdict.VIOLATION
    clean = simulate("hunt", "--seeds", "0:5", "--json").json
    assert (clean["worlds"], clean["failures"], clean["marks"]["completed"]) == (5, [], 5)


def test_run_one_seed(simulate: Simulate) -> None:
    assert simulate("run", "--seed", "3").code == Verdict.CLEAN
    failing = simulate(*FAILING, "--json").json["failures"][0]["seed"]
    done = simulate("run", "--seed", str(failing), "--planted", "two-together", "--trace", "t", "--html", "h")
    assert done.code == Verdict.VIOLATION
    assert done.last == f"reattach simulate run --seed {failing} --planted two-together"
    assert simulate.printed(done.last).last == done.last
    assert json.loads(Path("t").read_text(encoding="utf-8").splitlines()[-2])["kind"] == "violation"
    assert "zombie-write" in Path("h").read_text(encoding="utf-8")
    assert simulate("run", "--seed", "3", "--json").json["violation"] is None


def test_replay_without_the_planted_bug(simulate: Simulate) -> None:
    file = simulate(*FAILING, "--json").json["failures"][0]["tape"]
    assert simulate("replay", file, "--intact").code == Verdict.CLEAN
    assert simulate("replay", file, "--json").json["verdict"] == "violation"


def test_a_tape_that_lost_its_violation_says_so(simulate: Simulate) -> None:
    Path("t.json").write_text(
        '{"format":"reattach-tape/1","seed":1,"planted":null,"violation":"old","decisions":{}}', encoding="utf-8"
    )
    done = simulate("replay", "t.json")
    assert done.code == Verdict.CLEAN
    assert "saved with old" in done.err
    assert simulate("shrink", "t.json").code == Verdict.NOT_DETERMINISTIC


def test_explain_tells_and_draws(simulate: Simulate) -> None:
    file = Path(simulate(*FAILING, "--json").json["failures"][0]["tape"])
    done = simulate("explain", str(file), "--html", "page.html", "--last", "3")
    assert done.code == Verdict.CLEAN
    assert "fault kill at n0, the" in done.out
    assert "BROKEN PROMISE zombie-write" in done.out
    assert done.last == "The picture is in page.html"
    assert "zombie-write" in Path("page.html").read_text(encoding="utf-8")


def test_cover_names_what_was_never_reached(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    assert simulate("cover", "--seeds", "0:20").code == Verdict.CLEAN
    monkeypatch.setattr("reattach.simulations.catalogue.marks", lambda: {**MARKS, "unicorn": "never seen"})
    done = simulate("cover", "--seeds", "0:20")
    assert done.code == Verdict.MISSED
    assert "never reached, so nothing is known about: unicorn" in done.out


def test_mutants_score_the_search(simulate: Simulate) -> None:
    done = simulate("mutants", "--only", "two-together", "never-seen", "--seeds", "0:30", "--shrink", "--json")
    assert done.code == Verdict.MISSED
    found, missed = done.json["bugs"]
    assert found["hits"] >= 1
    assert found["checkers"] == {"zombie-write": found["hits"]}
    assert (found["after"], found["slips"]) == (3, False)
    assert 1 <= found["first"] <= 30
    assert (missed["hits"], missed["first"]) == (0, None)
    table = simulate("mutants", "--only", "two-together", "--seeds", "0:30", "--first")
    assert table.code == Verdict.CLEAN
    assert "1 of 1 planted bugs found" in table.out


@pytest.mark.slow
def test_audit_sees_the_order_of_a_set(simulate: Simulate) -> None:
    assert simulate("audit", "--seeds", "0:3").code == Verdict.CLEAN
    done = simulate("audit", "--seeds", "0:2", "--planted", "hash-order")
    assert done.code == Verdict.NOT_DETERMINISTIC
    assert "first difference in line" in done.out
    assert simulate("audit", "--seeds", "0:1", "--planted", "hash-order", "--json").json["differences"]


def test_trouble_is_not_a_violation(simulate: Simulate) -> None:
    done = simulate("hunt", "--seeds", "1000000")
    assert done.code == Verdict.TROUBLE
    assert "the harness broke" in done.out
    assert done.last == "reattach simulate run --seed 1000000"
    again = simulate.printed(done.last)
    assert again.code == Verdict.TROUBLE
    assert "the harness broke" in again.out
    assert again.last == done.last
    assert simulate("run", "--seed", "1000000", "--json").json["verdict"] == "trouble"


def test_jobs_that_die_are_trouble(simulate: Simulate) -> None:
    done = simulate("hunt", "--seeds", "0:9", "--planted", "dies", "--jobs", "1")
    assert done.code == Verdict.TROUBLE
    assert "ended with code 3" in done.err


def test_an_agent_that_prints_does_no_harm(simulate: Simulate) -> None:
    assert simulate("hunt", "--seeds", "0:5", "--planted", "prints").code == Verdict.CLEAN
    assert simulate("run", "--seed", "0", "--planted", "prints", "--json").json["verdict"] == "clean"


def test_no_more_processes_than_worlds(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []
    begin = Pool.__init__

    def counted(pool: Pool, jobs: int, *, hash_seed: int | None = None) -> None:
        started.append(jobs)
        begin(pool, jobs, hash_seed=hash_seed)

    monkeypatch.setattr(Pool, "__init__", counted)
    assert simulate("hunt", "--seeds", "0:2", "--jobs", "40").code == Verdict.CLEAN
    assert simulate("audit", "--seeds", "0:1", "--hash-seeds", "0", "--jobs", "40").code == Verdict.CLEAN
    assert started == [2, 1, 1]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("hunt", "--seeds", "5:5"),
        ("hunt", "--seeds", "x"),
        ("hunt", "--seeds=-5:0"),
        ("run", "--seed=-1"),
        ("crashpoints", "--seed=-1"),
        ("hunt", "--planted", "nobody"),
        ("hunt", "--agents", "nowhere:agents"),
        ("replay", "nowhere.json"),
        ("run",),
        ("hunt", "--jobs", "x"),
        ("audit", "--seeds", "0:1", "--hash-seeds", "99999999999,1"),
        ("audit", "--seeds", "0:1", "--hash-seeds", ""),
    ],
)
def test_usage(simulate: Simulate, arguments: tuple[str, ...]) -> None:
    done = simulate(*arguments)
    assert done.code == Verdict.USAGE
    assert done.err
    assert "Traceback" not in done.err


def test_ctrl_c_while_shrinking_keeps_what_was_found(simulate: Simulate) -> None:
    done = simulate("hunt", "--seeds", "0:60", "--planted", "impatient", "--jobs", "1")
    assert done.code == Verdict.INTERRUPTED
    assert "BROKEN PROMISE zombie-write" in done.out
    assert simulate.printed(done.last).code == Verdict.VIOLATION


@pytest.mark.parametrize("option", ["--trace", "--tape", "--html"])
@pytest.mark.parametrize("name", [".", "file/below"])
def test_a_file_that_can_not_be_written_is_usage(simulate: Simulate, option: str, name: str) -> None:
    Path("file").write_text("", encoding="utf-8")
    done = simulate("run", "--seed", "1000000", option, name)  # a seed that would be trouble
    assert done.code == Verdict.USAGE
    assert f"{name} can't be written" in done.err
    assert done.out == ""
    assert [path.name for path in Path().iterdir()] == ["file"]


def test_a_folder_that_can_not_be_written_is_usage(simulate: Simulate) -> None:
    Path("file").write_text("", encoding="utf-8")
    for command in ("hunt", "crashpoints"):
        done = simulate(command, "--found", "file/below")
        assert done.code == Verdict.USAGE
        assert "file/below can't be written" in done.err
    assert simulate("hunt", "--seeds", "0:2", "--found", "fresh").code == Verdict.CLEAN
    assert not Path("fresh").exists()


def test_a_finding_that_can_not_be_saved_is_told(simulate: Simulate) -> None:
    done = simulate("hunt", "--seeds", "0:60", "--planted", "unsavable", "--found", "elsewhere")
    assert done.code == Verdict.VIOLATION
    assert "can't be written" in done.err
    assert "BROKEN PROMISE zombie-write" in done.out
    assert simulate.printed(done.last).code == Verdict.VIOLATION


def test_ctrl_c_before_any_world_has_ended(simulate: Simulate) -> None:
    done = simulate("hunt", "--seeds", "0:9", "--planted", "interrupts", "--jobs", "1")
    assert done.code == Verdict.INTERRUPTED
    assert done.last == "nothing was judged: no world had ended"
    assert "no promise was broken" not in done.out


def test_what_is_no_tape_is_usage(simulate: Simulate) -> None:
    for text in (
        "",
        "{}",
        "[1]",
        '{"format":"other"}',
        '{"format":"reattach-tape/1","seed":1,"decisions":{"a":["b"]}}',
        '{"format":"reattach-tape/1","seed":1,"decisions":{"a":[-1]}}',
        '{"format":"reattach-tape/1","seed":1,"decisions":{"a":[1.5]}}',
        '{"format":"reattach-tape/1","seed":1,"decisions":{},"planted":5}',
        "[" * 100_000,
    ):
        Path("t.json").write_text(text, encoding="utf-8")
        assert simulate("explain", "t.json").code == Verdict.USAGE


@pytest.mark.parametrize("command", ["replay", "explain", "shrink"])
@pytest.mark.parametrize(
    ("given", "said"),
    [('"planted":"nobody"', "There is no planted bug nobody"), ('"agents":"nowhere:agents"', "no module nowhere")],
)
def test_a_tape_of_what_is_not_here_says_what(simulate: Simulate, command: str, given: str, said: str) -> None:
    tape = f'{{"format":"reattach-tape/1","seed":1,"violation":"v","decisions":{{}},{given}}}'
    Path("t.json").write_text(tape, encoding="utf-8")
    done = simulate(command, "t.json")
    assert done.code == Verdict.USAGE
    assert said in done.err
    assert "Traceback" not in done.err
    assert not Path("t.html").exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_help(simulate: Simulate, command: str) -> None:
    done = simulate(command, "--help")
    assert done.code == 0
    assert "Exit codes" in done.out


def test_every_command_is_there(simulate: Simulate) -> None:
    out = simulate("--help").out
    assert [command for command in COMMANDS if f"    {command}" not in out] == []


def test_the_default_world_is_the_real_one() -> None:
    assert job.WORLD == ".world:run_world"
    assert cli.__doc__
