"""`reattach simulate hunt` and `cover`: many seeds, and what came of them."""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sized
from itertools import count
from pathlib import Path
from typing import Any, Final

from ..adapters.cli.terminal import Terminal
from . import catalogue
from .campaign import Limits, Tally
from .campaign import hunt as run_hunt
from .case import Case, run_command
from .finding import Finding, investigate
from .job import Outcome
from .misuse import MISUSES, misused
from .options import budget, jobs, setting
from .pool import JobsFail
from .progress import StatusLine, progress_line, summary
from .saving import require_folder, save
from .shrink import NotReproduced
from .verdicts import Verdict

HUNT_SEEDS: Final = 1_000
"""Seeds of a hunt without any limit."""

COVER_SEEDS: Final = range(500)
"""Seeds after which every mark should have been reached."""

SEEDS_A_SECOND: Final = 1_000
"""Hunts that start in different seconds begin so many seeds apart."""


def hunt(options: argparse.Namespace, terminal: Terminal) -> int:
    """Run seeds until something is found or a limit is reached."""
    seeds: Iterable[int] = options.seeds or _fresh(endless=options.minutes is not None)
    return _campaign(options, terminal, seeds, failures_max=options.failures)


def cover(options: argparse.Namespace, terminal: Terminal) -> int:
    """Run seeds, and tell of every mark how many worlds reached it."""
    return _campaign(options, terminal, options.seeds or COVER_SEEDS, failures_max=None, covering=True)


def _fresh(*, endless: bool) -> Iterable[int]:
    """Seeds that no hunt has had yet: nobody finds anything new in the same thousand."""
    start = int(time.time()) * SEEDS_A_SECOND
    return count(start) if endless else range(start, start + HUNT_SEEDS)


def _campaign(
    options: argparse.Namespace,
    terminal: Terminal,
    seeds: Iterable[int],
    *,
    failures_max: int | None,
    covering: bool = False,
) -> int:
    chosen, marks, tally = setting(options), catalogue.marks(), Tally()
    require_folder(options.found)
    seconds = options.minutes * 60 if options.minutes else None
    worlds = len(seeds) if isinstance(seeds, Sized) else sys.maxsize
    interrupted = False
    try:
        with StatusLine(sys.stderr) as line:
            limits = Limits(jobs(options, worlds), seconds, failures_max)
            run_hunt(seeds, chosen, tally, lambda tally: line.show(progress_line(tally, marks)), limits)
    except KeyboardInterrupt:
        interrupted = True
    except JobsFail as error:
        terminal.error(f"The simulator doesn't start: {error}")
        return Verdict.TROUBLE
    telling = [f"{_spoken(seeds)}:", *summary(tally, marks)]
    if covering:
        telling += [f"  {tally.marks[name]:>7,}  {name}: {meaning}" for name, meaning in marks.items()]
    found = Findings(options, terminal, interrupted=interrupted)
    verdict = found.verdict(tally.failures, tally.troubles)
    if covering and verdict is Verdict.CLEAN and any(not tally.marks[name] for name in marks):
        verdict = Verdict.MISSED
    if found.interrupted:
        verdict = Verdict.INTERRUPTED
    if options.json:
        terminal.result(json.dumps(_json(tally, marks, found, verdict)))
    else:
        for text in (*telling, *found.told()):
            terminal.result(text)
    return verdict


class Findings:
    """What a campaign found: the first failure of each kind is investigated, the others are counted."""

    def __init__(self, options: argparse.Namespace, terminal: Terminal, *, interrupted: bool = False) -> None:
        self.interrupted = interrupted
        self.findings: list[tuple[Finding, bool]] = []
        """Each with whether it could be saved."""
        self.unstable: list[str] = []
        """Failures that their own tape doesn't bring back."""
        self.misuses: list[Outcome] = []
        """What agents do that no world can hold: there is nothing to shrink in a line of somebody's source."""
        self._troubles: list[Outcome] = []
        self._options = options
        self._terminal = terminal

    def verdict(self, failures: Iterable[Outcome], troubles: Iterable[Outcome]) -> Verdict:
        """Investigate, and say how the campaign ended."""
        self._troubles = sorted(troubles, key=lambda outcome: outcome.seed)
        kinds: set[str | None] = set()
        for outcome in sorted(failures, key=lambda outcome: outcome.seed):
            if outcome.violation in kinds:
                continue
            kinds.add(outcome.violation)
            if outcome.violation in MISUSES:
                self.misuses.append(outcome)
            else:
                self._investigate(outcome)
        if self.unstable:
            return Verdict.NOT_DETERMINISTIC
        if self.findings:
            return Verdict.VIOLATION
        if self.misuses:
            return Verdict.AGENT
        return Verdict.TROUBLE if self._troubles else Verdict.CLEAN

    def told(self) -> list[str]:
        """Lines for people. If anything failed, the last one is the command that replays it."""
        lines: list[str] = []
        for outcome in self._troubles[:1]:
            lines += ["", f"THE SIMULATOR FAILED (seed {outcome.seed})", outcome.trouble or ""]
            lines += [run_command(outcome.seed, outcome.setting)]
        for outcome in self.misuses:
            command = run_command(outcome.seed, outcome.setting)
            lines += ["", *misused(f"{outcome.violation} (seed {outcome.seed})", outcome.detail, command)]
        for finding, saved in self.findings:
            lines += ["", *finding.told(saved=saved)]
        for text in self.unstable:
            lines += ["", *text.splitlines()]
        return lines

    def json(self) -> dict[str, Any]:
        """The same for a script."""
        return {
            "failures": [finding.json() for finding, _ in self.findings],
            "misuses": [
                {
                    "violation": outcome.violation,
                    "detail": outcome.detail,
                    "seed": outcome.seed,
                    "replay": run_command(outcome.seed, outcome.setting),
                }
                for outcome in self.misuses
            ],
            "unstable": self.unstable,
            "troubles": [{"seed": outcome.seed, "trouble": outcome.trouble} for outcome in self._troubles],
        }

    def _investigate(self, outcome: Outcome) -> None:
        case, folder = Case(outcome.decisions, outcome.setting, outcome.seed, outcome.violation), self._options.found
        shrinking = None if self._options.no_shrink or self.interrupted else budget(self._options)
        with StatusLine(sys.stderr) as line:
            try:
                finding = investigate(
                    case,
                    Path(folder),
                    budget=shrinking,
                    progress=lambda now: line.show(
                        f"shrinking ({now.phase}): {now.decisions} decisions left, {now.replays} replays"
                    ),
                )
            except KeyboardInterrupt:
                if shrinking is None:
                    raise
                self.interrupted = True  # enough of shrinking; what was found is kept as it is
                finding = investigate(case, Path(folder), budget=None)
            except NotReproduced as error:
                self.unstable.append(
                    f"NOT DETERMINISTIC: seed {outcome.seed}, replayed from its own decisions: {error}\n"
                    + run_command(outcome.seed, outcome.setting)
                )
                return
        self.findings.append((finding, save(finding.files(), self._terminal)))


def _spoken(seeds: Iterable[int]) -> str:
    return (
        f"seeds {seeds.start}:{seeds.stop}"
        if isinstance(seeds, range)
        else f"{seeds!r}".replace("count(", "seeds from ")
    )


def _json(tally: Tally, marks: Mapping[str, str], found: Findings, verdict: Verdict) -> dict[str, Any]:
    return {
        "verdict": verdict.name.lower().replace("_", "-"),
        "worlds": tally.worlds,
        "seconds": round(tally.seconds, 3),
        "worlds_per_s": round(tally.worlds_per_s, 2),
        "simulated_s": round(tally.simulated_s, 1),
        "simulated_hours_per_cpu_minute": round(tally.hours_per_cpu_minute, 2),
        "violations": dict(tally.violations),
        "marks": {name: tally.marks[name] for name in marks},
        "never_reached": [name for name in marks if not tally.marks[name]],
        **found.json(),
    }
