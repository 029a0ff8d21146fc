"""`reattach simulate` over the little world, with its own planted bugs and marks."""

import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reattach.__main__ import main
from reattach.simulations import catalogue, job

BUGS: Mapping[str, tuple[str, ...]] = {
    "two-together": ("zombie-write",),
    "never-seen": ("stream-gap",),
    "hash-order": (),
    "dies": (),
    "prints": (),
    "interrupts": (),
    "impatient": ("zombie-write",),
    "unsavable": (),
}
MARKS: Mapping[str, str] = {"completed": "a run completed", "take-over": "a run was taken over"}


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        return self.out.splitlines()[-1]

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Simulate:
    """Runs the command right here; its jobs are processes."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Done:
        self._capsys.readouterr()
        try:
            code = main(("simulate", *arguments))
        except SystemExit as usage:  # argparse
            code = int(str(usage.code))
        out, err = self._capsys.readouterr()
        return Done(code, out, err)

    def printed(self, command: str) -> Done:
        """Run a command as it was printed."""
        program, simulate, *arguments = shlex.split(command)
        assert (program, simulate) == ("reattach", "simulate")
        return self(*arguments)


@pytest.fixture
def little(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The little world instead of the real one, in an empty folder."""
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parent), *sys.path])
    monkeypatch.setattr(job, "WORLD", "little_world:run_world")
    monkeypatch.setattr(catalogue, "planted_bugs", lambda: dict(BUGS))
    monkeypatch.setattr(catalogue, "marks", lambda: MARKS)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def simulate(little: None, capsys: pytest.CaptureFixture[str]) -> Simulate:
    return Simulate(capsys)
