"""Campaigns: many worlds in a pool of jobs, and the score that is kept of them."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Final

from .job import Outcome, Task
from .pool import Pool
from .report import Setting

FAILURES_MAX: Final = 1
"""Failures after which a hunt stops, unless told otherwise."""

JOBS: Final = os.cpu_count() or 1
"""Processes of a campaign, unless told otherwise."""


@dataclass(slots=True)
class Tally:
    """What a campaign has seen so far."""

    began: float = field(default_factory=monotonic)
    seconds: float = 0.0
    worlds: int = 0
    cpu_s: float = 0.0
    simulated_s: float = 0.0
    steps: int = 0
    exchanges: int = 0
    commits: int = 0
    marks: Counter[str] = field(default_factory=Counter[str])
    """For each mark, the worlds that reached it."""
    failures: list[Outcome] = field(default_factory=list[Outcome])
    troubles: list[Outcome] = field(default_factory=list[Outcome])

    def add(self, outcome: Outcome | None) -> None:
        """Count a world; nothing only moves the clock."""
        self.seconds = monotonic() - self.began
        if outcome is None:
            return
        self.worlds += 1
        self.cpu_s += outcome.cpu_s
        self.simulated_s += outcome.simulated_s
        self.steps += outcome.steps
        self.exchanges += outcome.exchanges
        self.commits += outcome.commits
        self.marks.update(name for name, times in outcome.marks.items() if times)
        if outcome.trouble:
            self.troubles.append(outcome)
        elif outcome.violation:
            self.failures.append(outcome)

    @property
    def worlds_per_s(self) -> float:
        """Worlds a second, all jobs together."""
        return self.worlds / self.seconds if self.seconds else 0.0

    @property
    def hours_per_cpu_minute(self) -> float:
        """Simulated hours for a minute of one core."""
        return self.simulated_s / 3600 / (self.cpu_s / 60) if self.cpu_s else 0.0

    @property
    def violations(self) -> Counter[str]:
        """Failures by the promise they broke."""
        return Counter(outcome.violation or "" for outcome in self.failures)


Progress = Callable[[Tally], None]
"""Told after each world, and once a second at least."""


@dataclass(frozen=True, slots=True)
class Limits:
    """When a campaign stops, besides at its last seed; None is: never."""

    jobs: int = JOBS
    seconds: float | None = None
    failures: int | None = FAILURES_MAX


def hunt(seeds: Iterable[int], setting: Setting, tally: Tally, progress: Progress, limits: Limits) -> None:
    """Run these seeds, and keep the score in `tally`. Raises JobsFail."""
    run_tasks((Task(seed, setting) for seed in seeds), tally, progress, limits)


def run_tasks(tasks: Iterable[Task], tally: Tally, progress: Progress, limits: Limits) -> None:
    """Run tasks until one of the limits is reached. Raises JobsFail."""
    with Pool(limits.jobs) as pool:
        for outcome in pool.run(_in_time(tasks, tally, limits.seconds)):
            tally.add(outcome)
            progress(tally)
            if limits.failures is not None and len(tally.failures) >= limits.failures:
                break


def _in_time(tasks: Iterable[Task], tally: Tally, seconds_max: float | None) -> Iterator[Task]:
    for task in tasks:
        if seconds_max is not None and monotonic() - tally.began > seconds_max:
            return
        yield task
