"""docs/chaos.md keeps its word: its options are those of the command, and the bugs it names can be planted."""

import re
from pathlib import Path

import pytest

from reattach.__main__ import main
from reattach.simulations.planted import BY_NAME
from reattach.simulations.verdicts import Verdict

PAGE = (Path(__file__).parents[3] / "docs" / "chaos.md").read_text(encoding="utf-8")


def test_its_options_are_those_of_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["chaos", "--help"])
    known = set(re.findall(r"--[a-z]+", capsys.readouterr().out)) - {"--help"}
    rows = "".join(line for line in PAGE.splitlines() if line.startswith("| `--"))
    assert set(re.findall(r"(?<![\w-])--[a-z]+", rows)) == known


def test_the_bugs_it_names_can_be_planted() -> None:
    named = re.findall(r"^\| `([a-z-]+)`: ", PAGE, re.MULTILINE)
    assert named
    assert not set(named) - set(BY_NAME)


@pytest.mark.parametrize("wrong", [["--planted", "nobody"], ["--database", "mysql://x/y"]])
def test_what_is_wrong_is_said_before_anything_is_started(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chaos", *wrong]) == Verdict.USAGE
    assert wrong[1].partition(":")[0] in capsys.readouterr().err
