"""Bare commits: what one durable SQLite transaction costs on this disk, with nothing around it.

Run as a process of its own on the server's core: `python -m tests.benchmarks.commits FILE --count N --frames F`.
"""

import argparse
import json
import sqlite3
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Final

from .machine import SERVER_CPU, start_pinned
from .targets import Bench

FRAME: Final = b'{"type":"text.delta","seq":1234567,"part":"1.1.1","text":"@F0000000T0000000000000000000@"}'


@dataclass(frozen=True, kw_only=True)
class Commits:
    """Commits one after the other, one connection, WAL, synchronous=FULL."""

    rate: float
    p50_us: float

    def frames_rate(self, frames: int) -> float:
        """Frames a second, with that many rows a commit."""
        return self.rate * frames


def bare_commits(bench: Bench, count: int, frames: int = 1) -> Commits:
    """Measure now, beside what is compared with it."""
    command = [sys.executable, "-m", "tests.benchmarks.commits", str(bench.new_path(".bare.db"))]
    command += ["--count", str(count), "--frames", str(frames)]
    output, _ = start_pinned(command, SERVER_CPU, stdout=subprocess.PIPE).communicate()
    return Commits(**json.loads(output))


def measure(file: str, count: int, frames: int) -> Commits:
    """`count` transactions of `frames` rows each."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE frames (stream BLOB, seq INTEGER, data BLOB, PRIMARY KEY (stream, seq))")
    stream = bytes(16)
    times: list[float] = []
    begun = time.perf_counter()
    for number in range(count):
        rows = [(stream, number * frames + offset, FRAME) for offset in range(frames)]
        start = time.perf_counter()
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("INSERT INTO frames VALUES (?, ?, ?)", rows)
        connection.execute("COMMIT")
        times.append(time.perf_counter() - start)
    seconds = time.perf_counter() - begun
    connection.close()
    return Commits(rate=count / seconds, p50_us=statistics.median(times) * 1e6)


def main() -> None:
    """Print the result as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--frames", type=int, required=True)
    arguments = parser.parse_args()
    result = measure(arguments.file, arguments.count, arguments.frames)
    print(json.dumps({"rate": result.rate, "p50_us": result.p50_us}))


if __name__ == "__main__":
    main()
