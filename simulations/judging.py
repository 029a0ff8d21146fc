"""`reattach simulate mutants` and `audit`: how good the search is, and whether it can be believed."""

import argparse
import json
import sys
from collections.abc import Sequence
from statistics import median, quantiles
from typing import Any, Final

from ..adapters.cli.terminal import Terminal
from . import catalogue
from .audit import HASH_SEEDS, Audit
from .audit import audit as run_audit
from .case import run_command
from .misuse import misused
from .options import jobs, known_bug, setting
from .pool import JobsFail
from .progress import StatusLine
from .scoreboard import Row, score, shrink_first
from .verdicts import Verdict

MUTANT_SEEDS: Final = range(100)
"""Seeds for each planted bug."""

AUDIT_SEEDS: Final = range(40)
"""Seeds of an audit."""


def mutants(options: argparse.Namespace, terminal: Terminal) -> int:
    """Hunt for each planted bug."""
    for name in options.only or ():
        known_bug(name)
    bugs = catalogue.planted_bugs()
    wanted = [(name, bugs[name]) for name in options.only or sorted(bugs)]
    seeds: Sequence[int] = options.seeds or MUTANT_SEEDS
    chosen = setting(options)
    try:
        with StatusLine(sys.stderr) as line:
            rows = score(
                wanted,
                seeds,
                chosen,
                lambda row: line.show(f"{row.name}: {row.hits} of {row.worlds}"),
                jobs=jobs(options, len(seeds)),
                stop_at_first=options.first,
            )
            for row in rows if options.shrink else ():
                line.show(f"shrinking {row.name}")
                shrink_first(row)
    except JobsFail as error:
        return broken(error, terminal)
    missed = [row.name for row in rows if not row.hits]
    slipped = [row.name for row in rows if row.slips]
    troubles = [text for row in rows for text in row.troubles]
    verdict = Verdict.TROUBLE if troubles else Verdict.MISSED if missed or slipped else Verdict.CLEAN
    if options.json:
        terminal.result(json.dumps({"verdict": verdict.name.lower(), "bugs": [_row_json(row) for row in rows]}))
        return verdict
    for text in (*_table(rows), *_score(rows, missed, slipped), *troubles):
        terminal.result(text)
    return verdict


def audit(options: argparse.Namespace, terminal: Terminal) -> int:
    """Compare the traces of each seed under several hash seeds and in two orders."""
    chosen, seeds = setting(options), options.seeds or AUDIT_SEEDS
    try:
        with StatusLine(sys.stderr) as line:
            result = run_audit(
                seeds,
                chosen,
                lambda done, all_: line.show(f"{done} of {all_} worlds"),
                jobs=jobs(options, len(seeds)),
                hash_seeds=options.hash_seeds or HASH_SEEDS,
            )
    except JobsFail as error:
        return broken(error, terminal)
    verdict = Verdict.CLEAN
    if result.misuse:
        verdict = Verdict.AGENT
    elif result.differences:
        verdict = Verdict.NOT_DETERMINISTIC
    elif result.troubles:
        verdict = Verdict.TROUBLE
    if options.json:
        terminal.result(json.dumps({"verdict": verdict.name.lower().replace("_", "-"), **_audit_json(result)}))
        return verdict
    terminal.result(
        f"{result.seeds:,} seeds, {result.worlds:,} worlds: {len(result.differences)} seeds with different traces"
    )
    for difference in result.differences:
        terminal.result(f"seed {difference.seed}: {difference.left} and {difference.right}")
        terminal.result(str(difference.divergence or "  equal when run alone: what ran before it leaks into it"))
    for text in result.troubles:
        terminal.result(text)
    if result.misuse:
        found = result.misuse
        for text in misused(f"{found.violation} (seed {found.seed})", found.detail, run_command(found.seed, chosen)):
            terminal.result(text)
    return verdict


def broken(error: JobsFail, terminal: Terminal) -> int:
    """Say that no job could be started."""
    terminal.error(f"The simulator doesn't start: {error}")
    return Verdict.TROUBLE


def _table(rows: Sequence[Row]) -> list[str]:
    width = max((len(row.name) for row in rows), default=0)
    lines = [f"{'planted bug':<{width}}  {'found':>9}  {'first':>5}  {'decisions':>10}  caught as"]
    for row in rows:
        first = "-" if row.first_place is None else str(row.first_place)
        shrunk = f"{row.shrunk.before}→{row.shrunk.after}" if row.shrunk else ""
        names = ", ".join(f"{name} {times}" for name, times in row.checkers.most_common())
        others = ", ".join(f"{name} {times}" for name, times in row.unexpected.most_common())
        caught = names + (f" (also {others})" if others else "") or "NOT FOUND"
        slips = "  FAILS ON INTACT CODE TOO" if row.slips else ""
        lines.append(f"{row.name:<{width}}  {row.hits:>4}/{row.worlds:<4}  {first:>5}  {shrunk:>10}  {caught}{slips}")
    return lines


def _score(rows: Sequence[Row], missed: Sequence[str], slipped: Sequence[str]) -> list[str]:
    places = [row.first_place for row in rows if row.first_place is not None]
    lines = [f"{len(places)} of {len(rows)} planted bugs found"]
    if places:
        early = sum(1 for place in places if place <= 100)
        lines[0] += f", {early} within 100 seeds, median first seed {median(places):g}"
    sizes = [row.shrunk.after for row in rows if row.shrunk]
    if sizes:
        ninth = quantiles(sizes, n=10, method="inclusive")[-1] if len(sizes) > 1 else sizes[0]
        seconds = [row.shrunk.seconds for row in rows if row.shrunk]
        shrunk = f"shrunk to {median(sizes):g} decisions (median), nine of ten to {ninth:g} or fewer"
        lines.append(f"{shrunk}, in {median(seconds):.1f} s (median)")
    if missed:
        lines.append(f"not found: {', '.join(missed)}")
    if slipped:
        lines.append(f"shrunk tapes that fail on intact code: {', '.join(slipped)}")
    return lines


def _row_json(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "expected": row.expected,
        "worlds": row.worlds,
        "hits": row.hits,
        "first": row.first_place,
        "first_seed": row.first.seed if row.first else None,
        "checkers": dict(row.checkers),
        "unexpected": dict(row.unexpected),
        "before": row.shrunk.before if row.shrunk else None,
        "after": row.shrunk.after if row.shrunk else None,
        "replays": row.shrunk.replays if row.shrunk else None,
        "seconds": round(row.shrunk.seconds, 3) if row.shrunk else None,
        "slips": row.slips,
        "troubles": row.troubles,
    }


def _audit_json(result: Audit) -> dict[str, Any]:
    return {
        "seeds": result.seeds,
        "worlds": result.worlds,
        "differences": [
            {"seed": one.seed, "left": str(one.left), "right": str(one.right), "divergence": str(one.divergence or "")}
            for one in result.differences
        ],
        "troubles": list(result.troubles),
        "misuse": result.misuse.detail if result.misuse else None,
    }
