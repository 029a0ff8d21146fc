"""The resume tail: flat in history and in the number of sessions, and beside the bare statements for the same rows."""

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from .machine import SERVER_CPU, start_pinned
from .report import at_most
from .targets import Bench

SIZES: Final = ((10, 50), (1_000, 50), (10_000, 50), (1, 500_000))
"""Sessions and turns of two messages each: the third and the last are a million messages."""

RAW_RATIO_MAX: Final = 3.0
FLAT_RATIO_MAX: Final = 1.2


def tails(bench: Bench) -> None:
    """p50 and p99 of the store's tail of 20 in stores of several sizes, of both kinds."""
    sizes = SIZES[:2] if bench.plan.quick else SIZES
    for name, options in (("SQLite", []), ("PostgreSQL", ["--postgres"])):
        _report(bench, name, sizes, _measured(bench, sizes, options))


def _report(bench: Bench, database: str, sizes: Sequence[tuple[int, int]], taken: Sequence[dict[str, float]]) -> None:
    for (sessions, turns), figures in zip(sizes, taken, strict=True):
        name = f"{database}, {2 * sessions * turns:,} messages, {sessions:,} session{'s' * (sessions > 1)}"
        for quantile in ("p50", "p99"):
            pair, target = [(figures[quantile], figures[f"raw_{quantile}"])], at_most(RAW_RATIO_MAX)
            bench.report.ratio("tails", f"{quantile}, {name}", pair, "us", against="bare statements", target=target)
        flat = at_most(FLAT_RATIO_MAX)
        for way, prefix in (("the store's", ""), ("the client's", "client_")):
            for quantile in ("p50", "p99"):
                smallest = [(figures[prefix + quantile], taken[0][prefix + quantile])]
                what = f"{way} {quantile}, {name}"
                bench.report.ratio("tails", what, smallest, "us", against="1,000 messages", target=flat)


def _measured(bench: Bench, sizes: Sequence[tuple[int, int]], options: Sequence[str]) -> list[dict[str, float]]:
    bench.directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "tests.benchmarks.store_tails", "--directory", str(bench.directory), *options]
    command += [f"{sessions}:{turns}" for sessions, turns in sizes]
    output, _ = start_pinned(command, SERVER_CPU, stdout=subprocess.PIPE).communicate()
    figures: list[dict[str, float]] = json.loads(output)
    return figures
