"""`reattach simulate crashpoints`: a process killed at each of its writes, or the power cut under its database."""

import argparse
import json
import sys
from typing import Any

from ..adapters.cli.terminal import Terminal
from .campaign import Limits, Tally, run_tasks
from .crashpoints import PlainWorldFails, points
from .job import Task
from .judging import broken
from .options import jobs, setting
from .pool import JobsFail
from .progress import StatusLine
from .saving import require_folder
from .searching import Findings
from .tape import Tape
from .verdicts import Verdict


def crashpoints(options: argparse.Namespace, terminal: Terminal) -> int:
    """Kill a process at each of its writes, one world for each of them; with --disk, cut the power instead."""
    if options.disk:
        from .cutting import powercuts  # noqa: PLC0415  - an extra that the rest does without

        return powercuts(options, terminal)
    chosen, tally = setting(options), Tally()
    require_folder(options.found)
    try:
        names = points(Tape(options.seed), planted=chosen.planted, agents=chosen.agents, store=chosen.store)
        with StatusLine(sys.stderr) as line:
            run_tasks(
                [Task(options.seed, chosen, point=name) for name in names],
                tally,
                lambda tally: line.show(f"{tally.worlds} of {len(names)} crash points, {len(tally.failures)} failures"),
                Limits(jobs(options, len(names)), None, None),
            )
    except PlainWorldFails as error:
        terminal.result(f"THE SIMULATOR FAILED\n{error}")
        return Verdict.TROUBLE
    except JobsFail as error:
        return broken(error, terminal)
    found = Findings(options, terminal)
    verdict = found.verdict(tally.failures, tally.troubles)
    failed = {outcome.point or "": outcome.violation for outcome in tally.failures}
    if options.json:
        summary: dict[str, Any] = {
            "verdict": verdict.name.lower().replace("_", "-"),
            "points": len(names),
            "seconds": round(tally.seconds, 3),
            "failed": failed,
        }
        terminal.result(json.dumps({**summary, **found.json()}))
        return verdict
    terminal.result(
        f"{len(names)} crash points of seed {options.seed} in {tally.seconds:.1f} s ({tally.worlds_per_s:.1f}/s): "
        f"{len(failed)} break a promise"
    )
    for text in (*(f"  {name}: {failed[name]}" for name in names if name in failed), *found.told()):
        terminal.result(text)
    return verdict
