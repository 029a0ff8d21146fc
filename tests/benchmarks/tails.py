"""The resume tail: flat in history and in the number of sessions, and beside the bare statements for the same rows."""

import json
import subprocess
import sys
from typing import Any, Final

from .machine import SERVER_CPU, start_pinned
from .report import at_most
from .targets import Bench

SIZES: Final = ((10, 50), (1_000, 50), (10_000, 50), (1, 500_000))
"""Sessions and turns of two messages each: the third and the last are a million messages."""

RAW_RATIO_MAX: Final = 3.0
FLAT_RATIO_MAX: Final = 1.2


def tails(bench: Bench) -> None:
    """p50 and p99 of the store's tail of 20 in stores of several sizes."""
    sizes = SIZES[:2] if bench.plan.quick else SIZES
    taken = [[_measured(bench, *size) for size in sizes] for _ in range(1 if bench.plan.quick else 2)]
    for index, (sessions, turns) in enumerate(sizes):
        of_size = [figures[index] for figures in taken]
        name = f"{2 * sessions * turns:,} messages, {sessions:,} session{'s' * (sessions > 1)}"
        pairs = [(each["p50"], each["raw_p50"]) for each in of_size]
        target = at_most(RAW_RATIO_MAX)
        bench.report.ratio("tails", f"p50, {name}", pairs, "us", against="bare statements", target=target)
        bench.report.figure("tails", f"p99, {name}", [each["p99"] for each in of_size], "us")
        if index:
            smallest = [(figures[index]["p50"], figures[0]["p50"]) for figures in taken]
            flat = at_most(FLAT_RATIO_MAX)
            bench.report.ratio("tails", f"p50, {name}", smallest, "us", against="1,000 messages", target=flat)


def _measured(bench: Bench, sessions: int, turns: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.benchmarks.store_tails", str(bench.new_path(".db"))]
    command += ["--sessions", str(sessions), "--turns", str(turns)]
    output, _ = start_pinned(command, SERVER_CPU, stdout=subprocess.PIPE).communicate()
    figures: dict[str, Any] = json.loads(output)
    return figures
