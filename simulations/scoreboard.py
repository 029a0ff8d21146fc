"""The scoreboard: how soon each planted bug is found, by which checker, and how simple its tape becomes."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from .campaign import JOBS
from .job import Outcome, Task, load_world
from .pool import Pool
from .report import Setting, replayer
from .shrink import NotReproduced, Shrunk, shrink


@dataclass(slots=True)
class Row:
    """One planted bug."""

    name: str
    expected: tuple[str, ...]
    """The promises whose checkers must catch it; none: whichever."""
    worlds: int = 0
    hits: int = 0
    first: Outcome | None = None
    """The first world in the order of seeds that found it."""
    first_place: int | None = None
    """Its place in the order of seeds, from 1."""
    checkers: Counter[str] = field(default_factory=Counter[str])
    unexpected: Counter[str] = field(default_factory=Counter[str])
    """Violations of promises that the bug was not expected to break: mostly its consequences."""
    troubles: list[str] = field(default_factory=list[str])
    shrunk: Shrunk | None = None
    slips: bool | None = None
    """Whether the shrunk tape fails on intact code as well; None if that was not tried."""

    def add(self, outcome: Outcome, place: int) -> None:
        """Count a world."""
        self.worlds += 1
        if outcome.trouble:
            self.troubles.append(f"seed {outcome.seed}: {outcome.trouble}")
        elif outcome.violation and self.expected and outcome.violation not in self.expected:
            self.unexpected[outcome.violation] += 1
        elif outcome.violation:
            self.hits += 1
            self.checkers[outcome.violation] += 1
            if self.first_place is None or place < self.first_place:
                self.first, self.first_place = outcome, place


def score(
    planted: Sequence[tuple[str, tuple[str, ...]]],
    seeds: Sequence[int],
    setting: Setting,
    progress: Callable[[Row], None],
    *,
    jobs: int = JOBS,
    stop_at_first: bool = False,
) -> list[Row]:
    """Hunt for each planted bug: its name, and what must catch it. Raises JobsFail."""
    rows: list[Row] = []
    places = {seed: place for place, seed in enumerate(seeds, start=1)}
    with Pool(jobs) as pool:
        for name, expected in planted:
            row = Row(name, expected)
            rows.append(row)

            def tasks(row: Row = row) -> Iterator[Task]:
                for seed in seeds:
                    if stop_at_first and row.hits:
                        return
                    yield Task(seed, replace(setting, planted=row.name))

            for outcome in pool.run(tasks()):
                if outcome is not None:
                    row.add(outcome, places[outcome.seed])
                    progress(row)
    return rows


def shrink_first(row: Row) -> None:
    """Shrink the first world that found the bug, and run its tape on intact code."""
    if row.first is None or row.first.violation is None:
        return
    run_world, first = load_world(), row.first
    try:
        replay = replayer(run_world, first.setting, seed=first.seed, tracing=False)
        row.shrunk = shrink(row.first.violation, first.decisions, replay)
    except NotReproduced as error:
        row.troubles.append(str(error))
        return
    intact = replayer(run_world, replace(first.setting, planted=None), tracing=False)(row.shrunk.decisions)
    row.slips = intact.violation is not None or intact.trouble is not None
