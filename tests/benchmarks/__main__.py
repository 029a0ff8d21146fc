"""The benchmark suite: `python -m tests.benchmarks [NAME ...] [--quick] [--repeats N] [--json FILE]`.

Prints what was measured beside its baseline, the ratio beside its target. Ends with 1 if a frame was lost, doubled or
reordered; a missed target is said, not punished. docs/performance.md explains the rows.
"""

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from .appends import append, concurrent, isolation, store
from .idle import idle
from .load import Load
from .locks import locks
from .machine import CLIENT_CPU, ROOT, SERVER_CPU
from .on_postgres import postgres_appends, postgres_latency
from .report import Report
from .resume import replay, resume
from .streams import burst, lockstep, many, paced
from .tails import tails
from .targets import Bench, Plan

ALL: Final = (
    burst,
    lockstep,
    paced,
    resume,
    replay,
    append,
    store,
    concurrent,
    many,
    idle,
    locks,
    isolation,
    tails,
    postgres_appends,
    postgres_latency,
)
BENCHMARKS: Final[Mapping[str, Callable[[Bench], None]]] = {function.__name__: function for function in ALL}
WORK: Final = ROOT / "build" / "benchmarks"
"""Databases and the compiled client. On the disk that is measured, not on a temporary file system."""
REPEATS: Final = 5


def main() -> int:
    """Run what was asked for; the exit status."""
    arguments = parsed()
    WORK.mkdir(parents=True, exist_ok=True)
    os.sched_setaffinity(0, {CLIENT_CPU})
    load, report = Load(WORK), Report()
    print(f"servers on core {SERVER_CPU}, clients on core {CLIENT_CPU}")
    if SERVER_CPU == CLIENT_CPU:
        report.notes.append("there is one core only: clients and servers share it, and the ratios mean little")
    if not load.is_c:
        report.notes.append("no C compiler was found: the client is Python, and may be what limits the figures")
    repeats = arguments.repeats or (1 if arguments.quick else REPEATS)
    for name in arguments.names or BENCHMARKS:
        run(name, Plan(repeats, arguments.quick), load, report)
    print(f"\n{report.table()}\n")
    for note in report.notes:
        print(f"note: {note}")
    faults = "\n".join(report.faults) or "none lost, doubled or reordered"
    print(f"{report.deliveries:,} frames delivered: {faults}")
    if arguments.json is not None:
        report.write(arguments.json)
    return 1 if report.faults else 0


def run(name: str, plan: Plan, load: Load, report: Report) -> None:
    """One benchmark in a folder of its own, removed afterwards; the servers' log stays if it fails."""
    directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=WORK))
    begun = time.monotonic()
    try:
        BENCHMARKS[name](Bench(plan, load, directory, report))
    except Exception as error:  # noqa: BLE001  - the other benchmarks still say what they can
        report.faults.append(f"{name}: {type(error).__name__}: {error}")
        with contextlib.suppress(OSError):
            shutil.copy(directory / "servers.log", WORK / f"{name}.log")
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(BENCHMARKS)}; all if none is named"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, once: to see that everything works")
    parser.add_argument("--repeats", type=int, help=f"rounds of each pair (default {REPEATS})")
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; choose from {', '.join(BENCHMARKS)}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
