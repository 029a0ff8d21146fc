"""All orders with few switches, then a sample of the others: each must come to what some serial order comes to."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

from .choices import Choices, every
from .playing import Played, Stage
from .serial import Outcome, Prepare, outcomes

SWITCHES: Final = 2
"""Times a writer that could go on is left for another (or a wait ends too soon), in the orders that are all played."""

SAMPLE_P: Final = 0.3
"""Probability of leaving a writer at each statement, in the orders that chance makes."""


@dataclass(frozen=True, slots=True)
class Budget:
    """How many orders of a race are played."""

    switches: int | None = SWITCHES
    """All with so many switches at most; None: all there are."""
    orders: int | None = None
    """Stop after so many of them."""
    sample: int = 0
    """So many others, made by chance."""
    seed: int = 0


@dataclass(slots=True)
class Explored:
    """What came of a race."""

    orders: int = 0
    """Played, sampled ones included."""
    sampled: int = 0
    cut: bool = False
    """Whether the budget's number of orders left some out that have few enough switches."""
    more: bool = False
    """Whether there are orders with more switches."""
    strayed: int = 0
    """Played otherwise than meant: of several that wait for one lock, the database says who gets it."""
    allowed: int = 0
    """Outcomes that some serial order comes to."""
    seen: set[Outcome] = field(default_factory=set[Outcome])
    wrong: Played | None = None
    """The first order that comes to something else."""
    detail: str = ""


def explore(
    url: str, prepare: Prepare, budget: Budget, progress: Callable[[Explored], None] = lambda _: None
) -> Explored:
    """Play orders until one comes to what it may not. Raises what `store.postgres.opened` does."""
    allowed, strict = outcomes(prepare)
    explored = Explored(allowed=len(allowed))
    with closing(Stage(url, prepare)) as stage:
        for played in _orders(stage, explored, budget):
            explored.orders += 1
            progress(explored)
            good = allowed if played.switches else strict
            if played.outcome is None or played.outcome not in good:
                explored.wrong, explored.detail = played, played.trouble or _difference(played.outcome, good)
                break
            explored.seen.add(played.outcome)
    return explored


def _orders(stage: Stage, explored: Explored, budget: Budget) -> Iterator[Played]:
    tried: set[tuple[int, ...]] = set()
    for choices, played in every(lambda choices: stage.play(_first, choices), budget.switches):
        if budget.orders is not None and len(tried) >= budget.orders:
            explored.cut = True
            break
        tried.add(tuple(choices.taken))
        explored.strayed += choices.strayed
        explored.more |= len(list(choices.others(None))) > len(list(choices.others(budget.switches)))
        yield played
    chance = random.Random(budget.seed)
    for _ in range(budget.sample if explored.cut or explored.more else 0):
        choices = Choices()
        played = stage.play(_by(chance), choices)
        if tuple(choices.taken) not in tried:
            tried.add(tuple(choices.taken))
            explored.sampled += 1
            yield played


def _options(able: Sequence[int], last: int | None) -> list[int]:
    """Who went on last goes on; then the others that stand; at last, waits that end."""
    return sorted(able, key=lambda writer: (writer < 0, writer != last, writer if writer >= 0 else ~writer))


def _first(choices: Choices, able: Sequence[int], last: int | None, must: bool) -> int:
    """As the choices say. Leaving one that could go on costs, and so does a wait that need not end."""
    options = _options(able, last)
    stand = [writer for writer in options if writer >= 0]
    if last in stand:
        return options[choices.choose(len(options), cost=1)]
    if must:
        return options[choices.choose(len(options))]
    return stand[choices.choose(len(stand))]


def _by(chance: random.Random) -> Callable[[Choices, Sequence[int], int | None, bool], int]:
    def choose(choices: Choices, able: Sequence[int], last: int | None, _: bool) -> int:
        options = _options(able, last)
        other = len(options) > 1 and chance.random() < SAMPLE_P
        chosen = chance.randrange(1, len(options)) if other else 0
        choices.taken.append(chosen)
        return options[chosen]

    return choose


def _difference(outcome: Outcome | None, allowed: frozenset[Outcome]) -> str:
    """How it differs from what comes nearest to it."""
    if outcome is None:
        return "it has no outcome"
    nearest = min(allowed, key=lambda other: (len(outcome.kept ^ other.kept), other.told != outcome.told))
    lines = [
        f"told {one!s:.300}, not {two!s:.300}"
        for one, two in zip(outcome.told, nearest.told, strict=True)
        if one != two
    ]
    lines += [f"kept {row.decode():.300}" for row in sorted(outcome.kept - nearest.kept)]
    lines += [f"missing {row.decode():.300}" for row in sorted(nearest.kept - outcome.kept)]
    return "\n".join(lines) or "a look for work passed over what nobody had in hand"
