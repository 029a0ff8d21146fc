"""Each promise, broken once or more: the oracle names exactly what was broken."""

import re
from pathlib import Path

import pytest

from reattach.simulations import oracle
from reattach.simulations.violation import Violation

from . import tampers_facts, tampers_log, tampers_results, tampers_rows
from .scenes import recorded
from .tampering import TAMPERS, Tamper

MODULES = (tampers_log, tampers_facts, tampers_results, tampers_rows)
SOURCES = ("log", "grammar", "safety", "approvals", "rows", "works", "keys", "projections")
"""The files that judge commits."""


@pytest.fixture(autouse=True)
def looks_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oracle, "LOOK_GROWTH", 1.0)


@pytest.mark.parametrize(("name", "tamper"), TAMPERS, ids=[tamper.__name__ for _, tamper in TAMPERS])
def test_a_tampered_history_breaks_its_promise(name: str, tamper: Tamper) -> None:
    recording = recorded().copy()
    tamper(recording)
    with pytest.raises(Violation) as broken:
        recording.play()
    assert broken.value.name == name, broken.value


def test_one_wish_is_fulfilled_once() -> None:
    with pytest.raises(Violation, match="intent-doubled"):
        recorded().copy().play(intent_of=lambda frame: "one and the same")


def test_the_intact_history_stands_when_it_is_looked_at_always() -> None:
    recorded().copy().play(intent_of=lambda frame: frame["run_id"])


def test_every_violation_is_provoked() -> None:
    folder = Path(oracle.__file__).parent
    sources = "".join((folder / f"{name}.py").read_text() for name in SOURCES)
    named = set(re.findall(r'(?:Violation|_broken|name =|else)[ (]?\s*"([a-z]+(?:-[a-z]+)+)"', sources)) - set(
        oracle.MARKS
    )
    named |= set(re.findall(r'\("([a-z]+(?:-[a-z]+)+)", "', sources))
    assert named == {name for name, _ in TAMPERS} | {"intent-doubled"}
