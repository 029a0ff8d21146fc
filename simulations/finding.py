"""A finding: a broken promise, made simple, saved, drawn, and told with the command that replays it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from . import words
from .case import Case, replay_command, run_command
from .job import load_world
from .report import Report, replayer
from .shrink import Budget, NotReproduced, Progress, Shrunk, non_benign, shrink
from .timeline import page

FOLDER: Final = Path("simulations-found")
"""Where findings are kept unless told otherwise."""

DECISIONS_SHOWN: Final = 15
"""Decisions that are told in words; the page has all of them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A case that breaks a promise, and what is known about it."""

    case: Case
    report: Report
    """Of the case's replay, with its trace."""
    file: Path
    html: Path
    shrunk: Shrunk | None

    def files(self) -> Iterator[tuple[Path, str]]:
        """What is to be kept of it: the tape, and the page that draws it."""
        yield self.file, self.case.text()
        yield self.html, page(self.report.trace.recording(), self.case.decisions, self.command)

    @property
    def command(self) -> str:
        """What replays it."""
        return replay_command(self.file, self.case.setting)

    def told(self, *, saved: bool = True) -> list[str]:
        """Lines for people. The last one is the command that replays it: the seed's, if the tape was not `saved`."""
        violation, setting = self.report.violation, self.case.setting
        planted = f", planted bug {setting.planted}" if setting.planted else ""
        decisions = words.decisions(self.case.decisions)
        more = len(decisions) - DECISIONS_SHOWN
        return [
            f"BROKEN PROMISE {self.case.violation} (seed {self.case.seed}{planted})",
            f"  {violation.detail if violation else ''}",
            f"  {self._effort()}",
            *(f"    {number}. {said}" for number, (said, _) in enumerate(decisions[:DECISIONS_SHOWN], start=1)),
            *([f"    and {more} more"] if more > 0 else []),
            *([f"  explained in {self.html}", self.command] if saved else [run_command(self.case.seed, setting)]),
        ]

    def json(self) -> dict[str, Any]:
        """The same for a script."""
        violation, shrunk = self.report.violation, self.shrunk
        return {
            "violation": self.case.violation,
            "detail": violation.detail if violation else None,
            "seed": self.case.seed,
            "planted": self.case.setting.planted,
            "decisions": {site: list(values) for site, values in self.case.decisions.items()},
            "before": shrunk.before if shrunk else None,
            "after": non_benign(self.case.decisions),
            "replays": shrunk.replays if shrunk else None,
            "seconds": round(shrunk.seconds, 3) if shrunk else None,
            "tape": str(self.file),
            "html": str(self.html),
            "replay": self.command,
        }

    def _effort(self) -> str:
        count = non_benign(self.case.decisions)
        if self.shrunk is None:
            return f"{count} decisions differ from the plainest world:"
        effort = f"{self.shrunk.replays} replays, {self.shrunk.seconds:.1f} s"
        unfinished = "; the budget is spent, it may become simpler yet" if self.shrunk.exhausted else ""
        return f"shrunk from {self.shrunk.before} decisions to {count} ({effort}{unfinished}):"


def investigate(
    case: Case,
    folder: Path,
    *,
    budget: Budget | None,
    progress: Callable[[Progress], None] = lambda _: None,
    file: Path | None = None,
) -> Finding:
    """Shrink a failing case (without a budget: only replay it). Nothing is written: see `Finding.files`.

    Raises NotReproduced if the case's tape doesn't break its promise.
    """
    run_world, name = load_world(), case.violation or ""
    shrunk = None
    decisions: Mapping[str, list[int]] = case.decisions
    if budget is not None:
        quick = replayer(run_world, case.setting, seed=case.seed, tracing=False)
        shrunk = shrink(name, decisions, quick, budget=budget, progress=progress)
        decisions = shrunk.decisions
    report = replayer(run_world, case.setting, seed=case.seed, tracing=True)(decisions)
    if report.violation is None or report.violation.name != name:
        raise NotReproduced(name, report)
    simple = Case(dict(decisions), case.setting, case.seed, name)
    file = file or folder / case.file_name
    return Finding(simple, report, file, file.with_suffix(".html"), shrunk)
