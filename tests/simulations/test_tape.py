"""The tape: fair answers, kept and given again; a site is nobody else's."""

import json
from typing import Final

import pytest

from reattach.simulations.tape import FORMAT, Tape

DRAWS: Final = 4_000
PINNED: Final = [81, 91, 63, 0, 94]


def asked(tape: Tape) -> list[object]:
    """What a small program asks: every kind of question, sites in turns."""
    answers: list[object] = []
    for index in range(40):
        answers += [
            tape.draw("draw", 10),
            tape.chance("chance", 0.4),
            tape.sparse(f"sparse:{index % 3}", 16, 0.3),
            tape.pick("pick", "abc"),
            tape.between("between", 2.0, 3.0),
        ]
    return answers


def test_a_seed_fills_the_same_tape_every_time() -> None:
    assert asked(Tape(5)) == asked(Tape(5))
    assert asked(Tape(5)) != asked(Tape(6))


def test_the_answers_of_a_seed_stay_what_they_are() -> None:
    """Tapes and seeds are handed around: a generator that answers differently makes them all worthless."""
    tape = Tape(1)
    assert [tape.draw("a", 100) for _ in range(5)] == PINNED


def test_a_replay_gives_the_same_answers_and_records_them_again() -> None:
    tape = Tape(5)
    answers = asked(tape)
    again = Tape.replay(tape.decisions)
    assert asked(again) == answers
    assert again.decisions == tape.decisions


def test_zeroing_a_site_shifts_no_other() -> None:
    tape = Tape(5)
    answers = asked(tape)
    decisions = tape.decisions
    decisions["sparse:1"] = []
    changed = asked(Tape.replay(decisions))
    places = [place for place, (old, new) in enumerate(zip(answers, changed, strict=True)) if old != new]
    assert places
    assert all(place % 5 == 2 and place // 5 % 3 == 1 for place in places)
    assert all(changed[place] == 0 for place in places)


def test_beyond_a_replayed_tape_all_is_benign() -> None:
    tape = Tape.replay({"draw": [7]})
    assert [tape.draw("draw", 10), tape.draw("draw", 10)] == [7, 0]
    assert not tape.chance("chance", 0.999)
    assert tape.sparse("sparse", 16, 1.0) == 0
    assert tape.pick("pick", "abc") == "a"
    assert tape.between("between", 2.0, 3.0) == 2.0
    assert tape.decisions == {"draw": [7]}


def test_an_answer_too_large_for_its_question_is_the_largest() -> None:
    assert Tape.replay({"site": [9]}).draw("site", 4) == 3


def test_draws_are_fair() -> None:
    tape = Tape(2)
    counts = [0] * 8
    for _ in range(DRAWS):
        counts[tape.draw("site", 8)] += 1
    assert all(0.8 < count / (DRAWS / 8) < 1.2 for count in counts)


@pytest.mark.parametrize("p", [0.05, 0.5, 0.95])
def test_chances_are_fair(p: float) -> None:
    tape = Tape(2)
    assert abs(sum(tape.chance("site", p) for _ in range(DRAWS)) / DRAWS - p) < 0.03


def test_sparse_answers_are_as_dense_as_asked_and_fair() -> None:
    tape = Tape(2)
    answers = [tape.sparse("site", 5, 0.4) for _ in range(DRAWS)]
    others = [answers.count(value) / DRAWS for value in range(1, 5)]
    assert abs(answers.count(0) / DRAWS - 0.6) < 0.03
    assert all(abs(share - 0.1) < 0.02 for share in others)


def test_seeds_and_sites_have_nothing_in_common() -> None:
    """Neighbouring seeds, neighbouring names: as many equal answers as chance gives."""
    for one, other in ((Tape(1), Tape(2)), (Tape(1), Tape(1))):
        equal = sum(one.draw("net:1", 4) == other.draw("net:2", 4) for _ in range(DRAWS))
        assert abs(equal / DRAWS - 0.25) < 0.03


def test_what_cannot_happen_is_not_asked() -> None:
    tape = Tape(1)
    assert not tape.chance("chance", 0.0)
    assert tape.sparse("sparse", 16, 0.0) == 0
    assert tape.decisions == {}
    assert not Tape.replay({"chance": [1]}).chance("chance", 0.0)


def test_nothing_can_be_chosen_from_nothing() -> None:
    with pytest.raises(ValueError, match="site"):
        Tape(1).draw("site", 0)


def test_zeros_at_the_end_are_not_kept() -> None:
    tape = Tape.replay({"a": [0, 3], "b": [0]})
    for site in ("a", "b"):
        for _ in range(5):
            tape.draw(site, 10)
    assert tape.decisions == {"a": [0, 3]}


def test_a_dumped_tape_is_the_tape() -> None:
    tape = Tape(5)
    answers = asked(tape)
    tape.planted, tape.violation = "resume-off-by-one", "stream-gap"
    loaded = Tape.load(tape.dump())
    assert (loaded.seed, loaded.planted, loaded.violation) == (5, "resume-off-by-one", "stream-gap")
    assert asked(loaded) == answers
    assert loaded.dump() == tape.dump()


def test_the_file_is_plain_json() -> None:
    tape = Tape.replay({"b": [1], "a": [0, 2]}, seed=3)
    for site in ("b", "a", "a"):
        tape.draw(site, 10)
    assert json.loads(tape.dump()) == {
        "format": FORMAT,
        "seed": 3,
        "planted": None,
        "violation": None,
        "decisions": {"a": [0, 2], "b": [1]},
    }
    assert json.loads(Tape(1).dump())["decisions"] == {}


@pytest.mark.parametrize(
    "text",
    [
        "no json",
        "{}",
        '{"format": "reattach-tape/2", "seed": 1, "planted": null, "violation": null, "decisions": {}}',
        '{"format": "reattach-tape/1", "seed": 1, "planted": null, "violation": null, "decisions": {"a": [-1]}}',
        '{"format": "reattach-tape/1", "seed": 1, "planted": null, "violation": null, "decisions": {"a": ["1"]}}',
    ],
)
def test_what_is_no_tape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Tape.load(text)
