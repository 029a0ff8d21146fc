"""Known histories, linearizable and not."""

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reattach.simulations.oracle.histories import (
    REFUSED,
    SUCCESS,
    UNKNOWN,
    Anomaly,
    Conflict,
    FirstDecisionWins,
    FirstEndWins,
    Model,
    Operation,
    Said,
    linearize,
    require_linearizable,
)
from reattach.simulations.violation import Violation

APPROVE, DENY = Said("approve", by="ada"), Said("deny", by="bob")
EDIT = Said("approve", arguments='{"sum":7}', by="eve")


class Register:
    """A value that is written and read. Asked: a value to write, or None to read."""

    initial: int = 0

    def step(self, state: int, op: Operation) -> int | None:
        if op.asked is not None:
            return int(op.asked)
        return state if op.answer in (state, UNKNOWN) else None


def op(who: str, asked: Any, answer: Any, called: float, returned: float | None = None) -> Operation:
    return (
        Operation(who, asked, answer, called) if returned is None else Operation(who, asked, answer, called, returned)
    )


def holds(model: Model[Any], history: Sequence[Operation]) -> bool:
    return not isinstance(linearize(model, history), Anomaly)


Cases = list[tuple[bool, list[Operation]]]

REGISTER: Cases = [
    (True, [op("a", 1, "ok", 0, 1), op("b", None, 1, 2, 3)]),
    (False, [op("a", 1, "ok", 0, 1), op("b", None, 0, 2, 3)]),  # a stale read
    (True, [op("a", 1, "ok", 0, 3), op("b", None, 0, 1, 2)]),  # concurrent: not written yet
    (True, [op("a", 1, "ok", 0, 3), op("b", None, 1, 1, 2)]),  # concurrent: written already
    (False, [op("a", 1, "ok", 0, 9), op("b", None, 1, 1, 2), op("c", None, 0, 3, 4)]),  # read back and forth
    (True, [op("a", 1, UNKNOWN, 0), op("b", None, 0, 5, 6), op("c", None, 1, 7, 8)]),  # happens late
    (True, [op("a", 1, UNKNOWN, 0), op("b", None, 0, 5, 6)]),  # never happens
    (False, [op("a", 1, UNKNOWN, 7), op("b", None, 1, 5, 6)]),  # seen before it was asked for
    (False, [op("a", 1, UNKNOWN, 0), op("b", None, 1, 5, 6), op("c", None, 0, 7, 8)]),  # undone
    (True, [op("a", 1, "ok", 0, 1), op("b", None, 0, 1, 2)]),  # touching is concurrent
    (True, []),
]

DECISIONS: Cases = [
    (True, [op("a", APPROVE, SUCCESS, 0, 1), op("b", DENY, Conflict(APPROVE), 2, 3)]),
    (False, [op("a", APPROVE, SUCCESS, 0, 1), op("b", DENY, SUCCESS, 2, 3)]),  # both told that they won
    (False, [op("a", APPROVE, SUCCESS, 0, 3), op("b", DENY, SUCCESS, 1, 2)]),
    (True, [op("a", APPROVE, SUCCESS, 0, 1), op("b", APPROVE, SUCCESS, 2, 3)]),  # the same again
    (True, [op("a", DENY, SUCCESS, 0, 1), op("b", Said("deny", by="eve"), SUCCESS, 2, 3)]),
    (False, [op("a", APPROVE, SUCCESS, 0, 1), op("b", EDIT, SUCCESS, 2, 3)]),  # other arguments are another decision
    (True, [op("a", APPROVE, SUCCESS, 0, 1), op("b", EDIT, Conflict(APPROVE), 2, 3)]),
    (False, [op("a", APPROVE, SUCCESS, 0, 1), op("b", DENY, Conflict(EDIT), 2, 3)]),  # the wrong winner
    (False, [op("b", DENY, Conflict(APPROVE), 0, 1)]),  # a conflict with nobody
    (False, [op("b", DENY, Conflict(APPROVE), 0, 1), op("a", APPROVE, SUCCESS, 2, 3)]),  # with the future
    (True, [op("a", APPROVE, UNKNOWN, 0), op("b", DENY, Conflict(APPROVE), 5, 6)]),
    (True, [op("a", APPROVE, UNKNOWN, 0), op("b", DENY, SUCCESS, 5, 6)]),
    (False, [op("a", APPROVE, UNKNOWN, 0), op("b", DENY, SUCCESS, 5, 6), op("c", DENY, Conflict(APPROVE), 7, 8)]),
    (True, [op("a", APPROVE, UNKNOWN, 0), op("b", DENY, SUCCESS, 1, 2), op("a", APPROVE, Conflict(DENY), 3, 4)]),
    (True, [op("a", APPROVE, REFUSED, 0, 1), op("b", DENY, SUCCESS, 2, 3)]),
]

ENDS: Cases = [
    (True, [op("a", "cancelled", "cancelled", 0, 3), op("w", "completed", REFUSED, 1, 2)]),
    (True, [op("w", "completed", "completed", 0, 3), op("a", "cancelled", "completed", 1, 2)]),
    (False, [op("w", "completed", "completed", 0, 1), op("a", "cancelled", "cancelled", 2, 3)]),  # both won
    (False, [op("w", "completed", "completed", 0, 3), op("a", "cancelled", "cancelled", 1, 2)]),
    (False, [op("a", "cancelled", REFUSED, 0, 1)]),  # a cancel is answered, always
    (False, [op("a", "cancelled", "completed", 0, 1)]),  # with what never happened
    (True, [op("a", "cancelled", UNKNOWN, 0), op("b", "status", "active", 1, 2), op("b", "status", "cancelled", 3, 4)]),
    (
        False,
        [op("a", "cancelled", UNKNOWN, 0), op("b", "status", "cancelled", 1, 2), op("b", "status", "active", 3, 4)],
    ),
    (
        True,
        [
            op("w", "completed", UNKNOWN, 0),
            op("a", "cancelled", "completed", 1, 2),
            op("w", "completed", REFUSED, 3, 4),
        ],
    ),
]


@pytest.mark.parametrize(("right", "history"), REGISTER)
def test_a_register(right: bool, history: list[Operation]) -> None:
    assert holds(Register(), history) is right


@pytest.mark.parametrize(("right", "history"), DECISIONS)
def test_the_first_decision_wins(right: bool, history: list[Operation]) -> None:
    assert holds(FirstDecisionWins(), history) is right


@pytest.mark.parametrize(("right", "history"), ENDS)
def test_the_first_end_wins(right: bool, history: list[Operation]) -> None:
    assert holds(FirstEndWins(), history) is right


def test_an_order_is_given_that_explains_the_answers() -> None:
    late = op("b", DENY, Conflict(APPROVE), 0, 9)
    early = op("a", APPROVE, SUCCESS, 1, 2)
    assert linearize(FirstDecisionWins(), [late, early]) == (early, late)


def test_the_explanation_names_what_contradicts_and_nothing_else() -> None:
    winner, loser = op("a", APPROVE, SUCCESS, 2, 3), op("b", DENY, SUCCESS, 4, 5)
    others = [op("c", APPROVE, SUCCESS, 6, 7), op("d", DENY, Conflict(APPROVE), 8, 9), op("e", DENY, REFUSED, 0, 1)]
    found = linearize(FirstDecisionWins(), [winner, loser, *others])
    assert isinstance(found, Anomaly)
    assert (found.last, found.needed) == (loser, (winner,))
    assert str(loser) in str(found)
    assert "c [" not in str(found)


def test_each_key_is_judged_on_its_own() -> None:
    one, other = op("a", APPROVE, SUCCESS, 0, 1), op("b", DENY, SUCCESS, 2, 3)
    model = FirstDecisionWins()
    require_linearizable("decisions-disagree", model, {"1.1.a1": [one], "1.1.a2": [other]})
    with pytest.raises(Violation, match=r"decisions-disagree: 1\.1\.a1: no order explains: b"):
        require_linearizable("decisions-disagree", model, {"1.1.a1": [one, other]})


def brute(history: Sequence[Operation]) -> bool:
    """Every choice of what happened, in every order that respects time."""
    unknown = [n for n, o in enumerate(history) if o.answer is UNKNOWN]
    for chosen in range(1 << len(unknown)):
        left_out = {n for bit, n in enumerate(unknown) if not chosen >> bit & 1}
        happened = [o for n, o in enumerate(history) if n not in left_out]
        for order in permutations(happened):
            in_time = all(not later.returned < o.called for n, o in enumerate(order) for later in order[n + 1 :])
            if in_time and _answers_right(order):
                return True
    return False


def _answers_right(order: Sequence[Operation]) -> bool:
    state: int | None = 0
    for each in order:
        state = Register().step(state, each)
        if state is None:
            return False
    return True


def drawn(asked: int | None, answer: object, called: int, lasts: int) -> Operation:
    return op("x", asked, answer, called, None if answer is UNKNOWN else float(called + lasts))


OPERATIONS = st.builds(
    drawn,
    st.sampled_from([None, None, 1, 2]),
    st.sampled_from([0, 1, 2, UNKNOWN]),
    st.integers(0, 6),
    st.integers(0, 4),
)


@given(st.lists(OPERATIONS, max_size=5))
def test_it_agrees_with_brute_force(history: list[Operation]) -> None:
    assert holds(Register(), history) is brute(history)
