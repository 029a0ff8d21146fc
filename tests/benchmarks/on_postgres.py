"""The store on PostgreSQL: appends of one process and of several, and the way to a reader in another process."""

import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import URL
from tests import postgres

from reattach.infrastructure.migrations.postgres import migrate

from .load import Reading
from .machine import CLIENT_CPU, SERVER_CPU, start_pinned, together
from .postgres_commits import library_recorder
from .report import Target, at_least, at_most
from .targets import Bench, reattach

PROCESSES: Final = 4
PROCESS_RUNS: Final = 16
FROM_ONE: Final[dict[int, Target]] = {1: at_least(0.9), 16: at_least(3), 64: at_least(7)}
"""How many runs append at once from one process, and what that should be of one bare connection."""

PACED_RUNS: Final = 200
PACES_PER_S: Final = (10.0, 25.0, 50.0, 100.0)
"""Frames a second of each run. The last one has the target; those before show from where on a machine can't keep up."""

LATENCY_MS_MAX: Final = 25.0

Pairs = list[tuple[float, float]]


def postgres_appends(bench: Bench) -> None:
    """Appends a second, one frame each: of 1, 16 and 64 runs of one process, and of 16 in each of four."""
    count = bench.plan.size(1_500, 100)
    from_one: dict[int, Pairs] = {runs: [] for runs in FROM_ONE}
    against_library: Pairs = []
    against_one: Pairs = []
    with server() as url:
        library_recorder(url).create_table()
        for _ in range(bench.plan.repeats):
            bare = count / together([_bare("connection", url, 1, count)], CLIENT_CPU)
            for runs, pairs in from_one.items():
                each = max(count // runs, count // 8)
                pairs.append((runs * each / together([_ours(url, runs, each)], CLIENT_CPU), bare))
            each = count // 8
            total = PROCESSES * PROCESS_RUNS * each
            ours = total / together([_ours(url, PROCESS_RUNS, each)] * PROCESSES, CLIENT_CPU)
            theirs = max(each // 10, 10)
            library = [_bare("library", url, PROCESS_RUNS, theirs)] * PROCESSES
            against_library.append((ours, PROCESSES * PROCESS_RUNS * theirs / together(library, CLIENT_CPU)))
            against_one.append((ours, bare))
    for runs, pairs in from_one.items():
        what, against = f"appends/s, {runs} at once, one process", "one bare connection"
        bench.report.ratio("postgres_appends", what, pairs, "/s", against=against, target=FROM_ONE[runs])
    what = f"appends/s, {PROCESS_RUNS} at once in each of {PROCESSES} processes"
    bench.report.ratio("postgres_appends", what, against_one, "/s", against="one bare connection")
    target, against = at_least(40), "the library's recorder"
    bench.report.ratio("postgres_appends", what, against_library, "/s", against=against, target=target)


def _ours(url: str, runs: int, count: int) -> list[str]:
    return ["tests.benchmarks.store_appends", url, "--runs", str(runs), "--count", str(count)]


def _bare(kind: str, url: str, writers: int, count: int) -> list[str]:
    return ["tests.benchmarks.postgres_commits", kind, url, "--writers", str(writers), "--count", str(count)]


def postgres_latency(bench: Bench) -> None:
    """200 runs of a worker, up to 100 frames a second each: the time from an agent to a reader at another process."""
    figures: dict[float, list[Reading]] = {pace: [] for pace in PACES_PER_S}
    with server() as url, reattach(bench, "--no-worker", url=url) as ours, worker(bench, url):
        for _ in range(bench.plan.repeats):
            for pace, readings in figures.items():
                frames = int(pace * bench.plan.size(10, 2))
                runs = [ours.start(frames=frames, rate=pace) for _ in range(PACED_RUNS)]
                paths = [run.events for run in runs]
                attached = bench.load.readers(ours.server.port, paths, readers=PACED_RUNS, texts=frames)
                for run in runs:
                    run.go()
                readings.append(bench.report.delivered("postgres_latency", attached.finish()))
    for pace, readings in figures.items():
        what = f"{PACED_RUNS} runs at {pace:g}/s to another process"
        bench.report.figure("postgres_latency", f"{what}, p50", [reading.p50_us / 1e3 for reading in readings], "ms")
        p99, target = [reading.p99_us / 1e3 for reading in readings], at_most(LATENCY_MS_MAX)
        bench.report.figure("postgres_latency", f"{what}, p99", p99, "ms", target if pace == PACES_PER_S[-1] else None)


@contextmanager
def worker(bench: Bench, url: str) -> Generator[None]:
    """A worker of its own."""
    command = [
        sys.executable,
        "-m",
        "reattach",
        "worker",
        "--database",
        url,
        "--agents",
        "tests.benchmarks.agents:bench",
    ]
    with (bench.directory / "servers.log").open("a", encoding="utf-8") as log:
        process = start_pinned(command, CLIENT_CPU, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def server() -> Generator[str]:
    """A server of its own on the servers' core, which syncs every commit to the disk; a migrated database's URL."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {SERVER_CPU})
    own = postgres.new_server(fsync="on", full_page_writes="on", autovacuum="on")
    try:
        own.create()
    finally:
        os.sched_setaffinity(0, before)
    try:
        yield _migrated(own.url)
    finally:
        own.remove()


def _migrated(url: URL) -> str:
    with postgres.administration(url) as administrator:
        administrator.execute("CREATE DATABASE measured")
    database = postgres.text(url.set(database="measured"))
    migrate(database)
    return database
