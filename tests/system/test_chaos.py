"""C2, C12, C15, C16, S4-S6, S8, X3, A4, I3 among real processes that are killed: short versions of `reattach chaos`.

The long one is run by hand: docs/chaos.md. A chaos that finds nothing proves something only if it finds planted bugs.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from reattach.__main__ import main
from reattach.simulations.chaos.hosts import why_not
from reattach.simulations.verdicts import Verdict

from ..postgres import NoPostgres
from .chaos_on_postgres import chaos

SMALL = ("--workers", "3", "--readers", "20", "--json")

CORPUS = Path(__file__).parents[2] / "simulations" / "corpus"

pytestmark = pytest.mark.slow


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return found


def test_on_one_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    page = tmp_path / "chaos.html"
    code = main(["chaos", "--minutes", "0.3", "--kills", "6", "--seed", "3", *SMALL, "--html", str(page)])
    outcome = told(capsys)
    assert (code, outcome["verdict"]) == (Verdict.CLEAN, "clean"), outcome
    assert outcome["kills"] == 6
    assert outcome["frames"] > 500
    assert outcome["resumes"] > 0
    assert re.search(r'"label":"w0\.\d', page.read_text(encoding="utf-8"))


def test_on_postgres_across_hosts(capsys: pytest.CaptureFixture[str]) -> None:
    """Two hosts, each with a server and workers; they are cut off and brought back, and the database is restarted."""
    reason = why_not()
    hosts = ("--hosts", "2") if reason is None else ()
    try:
        code = chaos(["--minutes", "0.3", "--kills", "4", "--seed", "6", *SMALL, *hosts])
    except NoPostgres as error:
        pytest.skip(str(error))
    outcome = told(capsys)
    assert (code, outcome["verdict"]) == (Verdict.CLEAN, "clean"), outcome
    if reason is not None:
        pytest.skip(f"it passed, on one host: {reason}")
    assert outcome["faults"]["cut-host"] > 0


@pytest.mark.parametrize(
    ("bug", "finds"),
    [
        ("resume-one-too-short", ("delivery-repeat", "client-raised")),
        ("last-decision-wins", ("decided-twice", "decision-not-linearizable", "decided-late")),
    ],
)
def test_a_planted_bug_is_found(capsys: pytest.CaptureFixture[str], tmp_path: Path, bug: str, finds: Any) -> None:
    found = ("--found", str(tmp_path), "--planted", bug)
    code = main(["chaos", "--minutes", "0.5", "--kills", "2", "--seed", "5", *SMALL, *found])
    outcome = told(capsys)
    assert code == Verdict.VIOLATION, outcome
    assert outcome["violation"]["name"] in finds
    assert (tmp_path / "chaos-5" / "w0.log").exists()
    assert list((tmp_path / "chaos-5").glob("history-*.jsonl"))
    assert f"--planted {bug}" in outcome["command"]


@pytest.mark.parametrize(
    ("tape", "finds"),
    [("take-over-without-epoch", "epoch-step"), ("drain-looks-like-an-end", "clean-end")],
)
def test_what_a_tape_does_to_a_world_it_does_to_real_processes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, tape: str, finds: str
) -> None:
    """The shrunk tape of a planted bug: its faults bring the bug out in reality, too, and nothing without the bug."""
    given = ["chaos", "--minutes", "0.4", *SMALL, "--found", str(tmp_path), "--tape", str(CORPUS / f"{tape}.json")]
    code = main(given)
    outcome = told(capsys)
    assert (code, outcome["violation"]["name"]) == (Verdict.VIOLATION, finds), outcome
    code = main([*given, "--intact"])
    outcome = told(capsys)
    assert (code, outcome["verdict"]) == (Verdict.CLEAN, "clean"), outcome


def test_a_tape_without_a_fault_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chaos", "--tape", str(CORPUS / "reader-skips-a-gap.json")]) == Verdict.USAGE
    assert "no fault that this database can suffer" in capsys.readouterr().err
