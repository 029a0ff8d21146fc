"""The write lock: how long cancelling or finishing a run keeps other writers of the file waiting, by its length.

`python -m tests.benchmarks.locks FILE` is the other writer: it asks for the lock again and again, gives it back at
once, and prints the longest time it was refused, in ms, for each line on its standard input.
"""

import sqlite3
import subprocess
import sys
import threading
import time
from typing import IO, Final

from .machine import CLIENT_CPU, start_pinned
from .report import at_most
from .targets import FACTS_BEFORE_TEXT, Bench, Reattach, reattach

SHORT_FRAMES: Final = 1_000
PROBE_S: Final = 0.0002
"""Seconds between two tries."""
REST_S: Final = 0.5
"""Seconds for checkpoints and the like to settle before the lock is watched."""


def locks(bench: Bench) -> None:
    """Cancel and finish a run of 1,000,000 frames, and one of 1,000."""
    long_frames = bench.plan.size(1_000_000, 50_000)
    for how in ("cancel", "finish"):
        waits: list[tuple[float, float]] = []
        with reattach(bench) as ours:
            for _ in range(bench.plan.repeats):
                short = _longest_wait_ms(ours, SHORT_FRAMES, how)
                waits.append((_longest_wait_ms(ours, long_frames, how), short))
        what = f"lock held, {how} of {long_frames:,} frames"
        against = f"of {SHORT_FRAMES:,}"
        bench.report.ratio("locks", what, waits, "ms", against=against, target=at_most(1.5))


def _longest_wait_ms(ours: Reattach, frames: int, how: str) -> float:
    run = ours.start(frames=frames, hold=True)
    run.go()
    ours.wait_for_head(run.run_id, FACTS_BEFORE_TEXT + frames)
    time.sleep(REST_S)
    command = [sys.executable, "-m", "tests.benchmarks.locks", str(ours.database)]
    probe = start_pinned(command, CLIENT_CPU, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    _ask(probe)
    _ask(probe)  # the start of the process is over
    if how == "cancel":
        ours.server.http.post(f"/v1/runs/{run.run_id}/cancel", json={}).raise_for_status()
    else:
        run.go()
    ours.wait_for_end(run.run_id)
    longest_ms = _ask(probe)
    with probe:
        probe.terminate()
    return longest_ms


def _ask(probe: "subprocess.Popen[str]") -> float:
    if probe.stdin is None or probe.stdout is None:
        return 0.0
    print(file=probe.stdin, flush=True)
    return float(probe.stdout.readline())


class Probe:
    """The other writer."""

    def __init__(self, file: str) -> None:
        self.longest_s = 0.0
        self._file = file

    def run(self) -> None:
        """Ask for the lock for ever."""
        connection = sqlite3.connect(self._file, isolation_level=None, timeout=0)
        while True:
            start = time.perf_counter()
            while not self._got(connection):
                pass
            self.longest_s = max(self.longest_s, time.perf_counter() - start)
            time.sleep(PROBE_S)

    @staticmethod
    def _got(connection: sqlite3.Connection) -> bool:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.execute("ROLLBACK")
        return True


def answer(questions: IO[str], probe: Probe) -> None:
    """The longest wait since the last question."""
    for _ in questions:
        print(probe.longest_s * 1e3, flush=True)
        probe.longest_s = 0.0


if __name__ == "__main__":
    other_writer = Probe(sys.argv[1])
    threading.Thread(target=other_writer.run, daemon=True).start()
    answer(sys.stdin, other_writer)
