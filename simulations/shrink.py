"""The shrinker: from a failing tape to the few decisions that matter.

0 is the benign answer at every site, so simpler means more zeros. Whole families go first, then sites, then ranges of
single decisions (delta debugging: Zeller and Hildebrandt, 2002), then what is left becomes smaller. A candidate counts
only if it breaks the same promise, and what is kept is what its replay really asked for.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Final

from .report import Report

REPLAYS_MAX: Final = 1_000
"""Replays spent on one tape."""

SECONDS_MAX: Final = 30.0
"""Seconds spent on one tape; nine of ten need less than ten."""

PAIRS_MAX: Final = 12
"""With at most so many decisions left, pairs are tried as well: one may only make up for the other."""

_LOWER: Final[tuple[Callable[[int], int], ...]] = (lambda _: 1, lambda value: value // 2, lambda value: value - 1)

Decisions = Mapping[str, list[int]]
Place = tuple[str, int]
"""A decision: its site and its position there."""

Cost = tuple[int, int, int]
"""What is minimised: decisions that are not benign, events in the trace, sum of all values."""


class NotReproduced(Exception):
    """The tape doesn't lead to the violation it is said to lead to."""

    def __init__(self, wanted: str, report: Report) -> None:
        self.wanted = wanted
        self.report = report
        got = report.violation.name if report.violation else "trouble" if report.trouble else "no violation"
        super().__init__(f"expected {wanted}, got {got}")


@dataclass(frozen=True, slots=True)
class Budget:
    """What shrinking one tape may cost."""

    replays: int = REPLAYS_MAX
    seconds: float = SECONDS_MAX


@dataclass(frozen=True, slots=True)
class Progress:
    """How far shrinking has come."""

    phase: str
    replays: int
    seconds: float
    decisions: int
    events: int


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The simplest tape found, and the report of its replay."""

    report: Report
    decisions: dict[str, list[int]]
    before: int
    """Decisions that were not benign, at first."""
    after: int
    replays: int
    seconds: float
    exhausted: bool
    """Whether a limit ended it: it may become smaller yet."""


def shrink(
    name: str,
    decisions: Decisions,
    replay: Callable[[Decisions], Report],
    *,
    budget: Budget | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Shrunk:
    """Make a tape that breaks the promise `name` as simple as the budget allows. Raises NotReproduced."""
    return Shrinker(name, decisions, replay, budget or Budget(), progress).run()


class Shrinker:
    """One shrinking. `tape` and `report` are the simplest so far."""

    def __init__(
        self,
        name: str,
        decisions: Decisions,
        replay: Callable[[Decisions], Report],
        budget: Budget,
        progress: Callable[[Progress], None],
    ) -> None:
        self._name = name
        self._replay = replay
        self._budget = budget
        self._progress = progress
        self._began = perf_counter()
        self._phase = "replay"
        self._seen: set[tuple[tuple[str, tuple[int, ...]], ...]] = set()
        self._before = len(_places(decisions))
        self.replays = 1
        self.report = replay(decisions)
        if not self._same(self.report):
            raise NotReproduced(name, self.report)
        self.tape = _plain(self.report.decisions)

    def run(self) -> Shrunk:
        """All passes, again and again while they help and the limits allow."""
        while not self._exhausted():
            before = self._cost()
            for phase, work in (
                ("families", self._families),
                ("sites", self._sites),
                ("decisions", self._positions),
                ("values", self._values),
                ("pairs", self._pairs),
            ):
                self._phase = phase
                work()
            if self._cost() == before:
                break
        self._tell()
        return Shrunk(
            report=self.report,
            decisions=self.tape,
            before=self._before,
            after=len(_places(self.tape)),
            replays=self.replays,
            seconds=perf_counter() - self._began,
            exhausted=self._exhausted(),
        )

    def _families(self) -> None:
        """Everything at once, then each family of sites, the largest first."""
        if self._without(_places(self.tape)):
            return
        families: dict[str, list[Place]] = {}
        for place in _places(self.tape):
            families.setdefault(family(place[0]), []).append(place)
        for places in sorted(families.values(), key=len, reverse=True):
            self._without(places)

    def _sites(self) -> None:
        self._halving(lambda: [[(site, n) for n in range(len(self.tape[site]))] for site in _busiest(self.tape)])

    def _positions(self) -> None:
        self._halving(lambda: [[place] for place in _places(self.tape)])

    def _pairs(self) -> None:
        """Two at once, where one alone could not go."""
        places = _places(self.tape)
        if len(places) > PAIRS_MAX:
            return
        for first, second in ((a, b) for n, a in enumerate(places) for b in places[n + 1 :]):
            if {first, second} <= set(_places(self.tape)):
                self._without((first, second))

    def _values(self) -> None:
        """The smallest value that still does it: 1 at once, or down by halves, then by ones."""
        for place in _places(self.tape):
            for lower in _LOWER:
                while (value := self._value(place)) > 1 and self._with(place, lower(value)):
                    pass

    def _halving(self, units: Callable[[], list[list[Place]]]) -> None:
        """Leave out ranges of units: half of them, a quarter, ... one by one, as long as there are any."""
        size = len(units()) // 2 or 1
        while size >= 1 and not self._exhausted():
            at, left = 0, units()
            while at < len(left) and not self._exhausted():
                if self._without([place for unit in left[at : at + size] for place in unit]):
                    left = units()  # the world is another one now, and may ask for other things
                else:
                    at += size
            size //= 2

    def _without(self, places: Iterable[Place]) -> bool:
        candidate = {site: list(values) for site, values in self.tape.items()}
        for site, position in places:
            if site in candidate and position < len(candidate[site]):
                candidate[site][position] = 0
        return self._attempt(candidate)

    def _with(self, place: Place, value: int) -> bool:
        site, position = place
        values = list(self.tape[site])
        values[position] = value
        return self._attempt({**self.tape, site: values})

    def _value(self, place: Place) -> int:
        values = self.tape.get(place[0], ())
        return values[place[1]] if place[1] < len(values) else 0

    def _attempt(self, candidate: Decisions) -> bool:
        """Replay, and keep what it asked for if that is the same violation in a simpler way."""
        plain = _plain(candidate)
        key = tuple((site, tuple(values)) for site, values in sorted(plain.items()))
        if self._exhausted() or key in self._seen or plain == self.tape:
            return False
        self._seen.add(key)
        self.replays += 1
        report = self._replay(plain)
        self._tell()
        tape = _plain(report.decisions)
        if not self._same(report) or _cost(tape, report) >= self._cost():
            return False
        self.report, self.tape = report, tape
        return True

    def _same(self, report: Report) -> bool:
        return report.trouble is None and report.violation is not None and report.violation.name == self._name

    def _cost(self) -> Cost:
        return _cost(self.tape, self.report)

    def _exhausted(self) -> bool:
        return self.replays >= self._budget.replays or perf_counter() - self._began >= self._budget.seconds

    def _tell(self) -> None:
        seconds = perf_counter() - self._began
        self._progress(Progress(self._phase, self.replays, seconds, len(_places(self.tape)), len(self.report.trace)))


def family(site: str) -> str:
    """What a site belongs to: `net` of `net.reset:c0-n1`."""
    return site.partition(":")[0].partition(".")[0]


def non_benign(decisions: Decisions) -> int:
    """How many decisions are not 0."""
    return len(_places(decisions))


def _places(decisions: Decisions) -> list[Place]:
    return list(_walk(decisions))


def _walk(decisions: Decisions) -> Iterator[Place]:
    for site, values in sorted(decisions.items()):
        yield from ((site, position) for position, value in enumerate(values) if value)


def _busiest(decisions: Decisions) -> list[str]:
    return sorted(decisions, key=lambda site: (-sum(1 for value in decisions[site] if value), site))


def _plain(decisions: Decisions) -> dict[str, list[int]]:
    """Without trailing zeros and empty sites."""
    plain: dict[str, list[int]] = {}
    for site, values in sorted(decisions.items()):
        length = len(values)
        while length and not values[length - 1]:
            length -= 1
        if length:
            plain[site] = values[:length]
    return plain


def _cost(decisions: Decisions, report: Report) -> Cost:
    return len(_places(decisions)), len(report.trace), sum(map(sum, decisions.values()))
