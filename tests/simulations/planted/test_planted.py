"""Planted bugs: every edit fits, leaves nothing behind, names findings that exist; and some are found at once."""

import ast
from collections.abc import Iterator
from pathlib import Path
from types import CodeType

import pytest

from reattach.simulations import planted, world
from reattach.simulations.planted import BUGS, BY_NAME, Edit, Planted, planted_bug
from reattach.simulations.planted.edit import EditDoesNotFit, edited, function_of
from reattach.simulations.tape import Tape
from reattach.simulations.world import run_world

EACH = pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
FOUND = (
    ("resume-one-too-far", "delivery-gap"),
    ("loser-acknowledged", "acknowledged-loser"),
    ("edit-ignored", "decision-altered"),
)
SEEDS = 40


class Interrupted(Exception):
    """The world ends in the middle of it."""


def codes(bug: Planted) -> list[CodeType]:
    return [function_of(edit.target).__code__ for edit in bug.edits]


@EACH
def test_every_edit_fits_and_is_taken_back(bug: Planted) -> None:
    before = codes(bug)
    with planted_bug(bug.name):
        assert all(now is not code for now, code in zip(codes(bug), before, strict=True))
        assert all(
            now.co_code != code.co_code or now.co_consts != code.co_consts or now.co_names != code.co_names
            for now, code in zip(codes(bug), before, strict=True)
        )
    assert all(now is code for now, code in zip(codes(bug), before, strict=True))


@EACH
def test_an_edit_is_taken_back_after_an_error_too(bug: Planted) -> None:
    before = codes(bug)
    with pytest.raises(Interrupted), planted_bug(bug.name):
        raise Interrupted
    assert all(now is code for now, code in zip(codes(bug), before, strict=True))


def test_an_edit_that_does_not_fit_leaves_the_others_undone() -> None:
    fitting = BY_NAME["resume-one-too-far"].edits[0]
    before = function_of(fitting.target).__code__
    with pytest.raises(EditDoesNotFit, match="0 times"), edited((fitting, Edit(fitting.target, "no such line", ""))):
        pass
    assert function_of(fitting.target).__code__ is before


def test_there_are_enough_of_them_with_names_of_their_own() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 45
    assert {bug.store for bug in BUGS} <= {None, "sqlite"}


def words() -> Iterator[str]:
    """Every text in the simulator's code, but for the bugs themselves."""
    here, root = Path(planted.__file__).parent, Path(world.__file__).parent
    for path in root.rglob("*.py"):
        if here not in path.parents:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            yield from (
                node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
            )


def test_every_finding_is_a_violation_that_exists() -> None:
    known = set(words())
    assert {(bug.name, name) for bug in BUGS for name in bug.finds if name not in known} == set()
    assert all(bug.finds and bug.what.endswith(".") for bug in BUGS)
    assert not any({"unhandled-error", "bug-logged", "stuck"} & set(bug.finds) for bug in BUGS)


@pytest.mark.parametrize(("name", "violation"), FOUND)
def test_it_is_found_in_the_first_seeds_and_intact_code_is_not(name: str, violation: str) -> None:
    bug = BY_NAME[name]
    for seed in range(SEEDS):
        report = run_world(Tape(seed), planted=name, tracing=False)
        assert report.trouble is None
        if report.violation is not None:
            assert report.violation.name in bug.finds
            intact = run_world(Tape(seed), store=bug.store, tracing=False)
            assert (intact.violation, intact.trouble) == (None, None)
            if report.violation.name == violation:
                return
    pytest.fail(f"{name} was not found in {SEEDS} seeds")
