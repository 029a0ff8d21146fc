"""Every way through a play that asks what to do next: each is played once, from its beginning."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Choices:
    """One way: what is answered first is given, then it is always 0.

    `strayed`: the play offered less than it did when the way was found. It goes on with 0, and nothing parts from it.
    """

    given: Sequence[int] = ()
    taken: list[int] = field(default_factory=list[int])
    widths: list[int] = field(default_factory=list[int])
    costs: list[int] = field(default_factory=list[int])
    strayed: bool = False

    def choose(self, options: int, cost: int = 0) -> int:
        """One of so many; any but the first costs that much."""
        place = len(self.taken)
        answer = self.given[place] if place < len(self.given) and not self.strayed else 0
        if answer >= options:
            self.strayed, answer = True, 0
        self.taken.append(answer)
        self.widths.append(options)
        self.costs.append(cost)
        return answer

    @property
    def spent(self) -> int:
        """What the ways off the first one have cost."""
        return sum(cost for answer, cost in zip(self.taken, self.costs, strict=True) if answer)

    def others(self, budget: int | None) -> Iterator[list[int]]:
        """The ways that part from this one after what was given, and cost no more than that."""
        for place in range(len(self.given), 0 if self.strayed else len(self.taken)):
            before = Choices(taken=self.taken[:place], costs=self.costs[:place])
            if budget is None or before.spent + self.costs[place] <= budget:
                yield from ([*before.taken, other] for other in range(1, self.widths[place]))


def every(play: Callable[[Choices], T], budget: int | None = None) -> Iterator[tuple[Choices, T]]:
    """Play all ways that cost no more than `budget`, the cheapest beginnings first."""
    ways: list[list[int]] = [[]]
    for way in ways:  # it grows meanwhile
        choices = Choices(way)
        yield choices, play(choices)
        ways += choices.others(budget)
