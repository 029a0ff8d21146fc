"""Live streams: long bursts, one frame at a time, and a steady pace, to one reader and to many."""

from typing import Final

from .commits import bare_commits
from .report import at_least, at_most
from .targets import Bench, Target, bare, delivered, reattach

RUNS: Final = 64
RUN_FRAMES: Final = 2_000
PACE_PER_S: Final = 100.0
GROUP_FRAMES: Final = 100
"""Frames a commit in the bare store that one reader's burst is compared with."""

Pairs = list[tuple[float, float]]


def burst(bench: Bench) -> None:
    """One producer as fast as it can: frames a second from the first text until the last reader has the last one."""
    for readers, full in ((1, 100_000), (50, 40_000), (500, 10_000)):
        frames = bench.plan.size(full, full // 10)
        with bare(bench) as memory, reattach(bench) as ours:
            against_memory: Pairs = []
            against_store: Pairs = []
            for server in (memory, ours):
                _burst(bench, server, readers, frames // 10)  # the first one in a process is slower
            for _ in range(bench.plan.repeats):
                rate = _burst(bench, ours, readers, frames)
                against_memory.append((rate, _burst(bench, memory, readers, frames)))
                commits = bare_commits(bench, bench.plan.size(500, 100), GROUP_FRAMES)
                against_store.append((rate, commits.frames_rate(GROUP_FRAMES)))
        what = f"frames/s to {_readers(readers)}"
        target = at_least(0.6) if readers > 1 else None
        bench.report.ratio("burst", what, against_memory, "/s", against="memory only", target=target)
        if readers == 1:
            against = f"SQLite, {GROUP_FRAMES} a commit"
            bench.report.ratio("burst", what, against_store, "/s", against=against, target=at_least(0.35))


def _burst(bench: Bench, target: Target, readers: int, frames: int) -> float:
    reading, _ = delivered(bench, f"burst to {readers}", target, target.start(frames=frames), readers)
    return frames / reading.span_s


def _readers(count: int) -> str:
    return "1 reader" if count == 1 else f"{count} readers"


def lockstep(bench: Bench) -> None:
    """One frame at a time to 500 readers, each a commit and a fan-out of its own.

    In step: the next frame is made when all readers have the last. Ahead: when the first of them has it, against a
    Starlette stream whose readers need not wait for anything.
    """
    readers, frames = 500, bench.plan.size(300, 50)
    in_step: Pairs = []
    ahead: Pairs = []
    cpu: Pairs = []
    with bare(bench, "starlette") as starlette, bare(bench, "memory") as memory, reattach(bench) as ours:
        for _ in range(bench.plan.repeats):
            rate, cpu_us = _one_at_a_time(bench, ours, readers, frames)
            in_step.append((rate, _one_at_a_time(bench, starlette, readers, frames)[0]))
            cpu.append((cpu_us, _one_at_a_time(bench, memory, readers, frames)[1]))
            rate, _ = _one_at_a_time(bench, ours, readers, frames, quorum=1)
            run = starlette.start(frames=bench.plan.size(1_000, 200))
            reading, _ = delivered(bench, "lockstep, free-running Starlette", starlette, run, readers)
            ahead.append((rate, reading.texts / reading.span_s))
    what, target = f"deliveries/s, {readers} readers", at_least(0.9)
    bench.report.ratio("lockstep", f"{what}, in step", in_step, "/s", against="Starlette stream", target=target)
    bench.report.ratio("lockstep", f"{what}, ahead", ahead, "/s", against="Starlette, free-running", target=target)
    bench.report.ratio("lockstep", "CPU a delivery, in step", cpu, "us", against="bare ASGI", target=at_most(1.1))


def _one_at_a_time(bench: Bench, target: Target, readers: int, frames: int, quorum: int = 0) -> tuple[float, float]:
    """Deliveries a second, and the server's CPU time for each in us."""
    run = target.start(frames=1, bursts=frames)
    reading, cpu_s = delivered(bench, "lockstep", target, run, readers, quorum=quorum)
    return reading.texts / reading.span_s, cpu_s / reading.texts * 1e6


def paced(bench: Bench) -> None:
    """100 frames a second: the time from the producer to the reader."""
    frames = int(PACE_PER_S * bench.plan.size(5, 1))
    with bare(bench) as memory, reattach(bench) as ours:
        for readers in (1, 50, 500):
            p50: Pairs = []
            p99: Pairs = []
            limits: Pairs = []
            for _ in range(bench.plan.repeats):
                our_p50, our_p99 = _latency_ms(bench, ours, readers, frames)
                bare_p50, bare_p99 = _latency_ms(bench, memory, readers, frames)
                p50.append((our_p50, bare_p50))
                p99.append((our_p99, bare_p99))
                commit_ms = bare_commits(bench, bench.plan.size(500, 100)).p50_us / 1e3
                limits.append((our_p50, bare_p50 + 3 * commit_ms))
            what, target = f"100/s to {_readers(readers)}", at_most(1.2) if readers == 500 else None
            bench.report.ratio("paced", f"{what}, p50", p50, "ms", against="memory only")
            bench.report.ratio("paced", f"{what}, p99", p99, "ms", against="memory only", target=target)
            if readers == 1:
                against = "memory + 3 commits"
                bench.report.ratio("paced", f"{what}, p50", limits, "ms", against=against, target=at_most(1.0))


def _latency_ms(bench: Bench, target: Target, readers: int, frames: int) -> tuple[float, float]:
    run = target.start(frames=frames, rate=PACE_PER_S)
    reading, _ = delivered(bench, f"paced to {readers}", target, run, readers)
    return reading.p50_us / 1e3, reading.p99_us / 1e3


def many(bench: Bench) -> None:
    """64 runs at once, each as fast as it can, each with its reader: frames a second in all."""
    frames = bench.plan.size(RUN_FRAMES, RUN_FRAMES // 10)
    pairs: Pairs = []
    with reattach(bench) as ours:
        for _ in range(bench.plan.repeats):
            runs = [ours.start(frames=frames) for _ in range(RUNS)]
            paths = [run.events for run in runs]
            attached = bench.load.readers(ours.server.port, paths, readers=RUNS, texts=frames)
            for run in runs:
                run.go()
            reading = bench.report.delivered("many", attached.finish())
            commits = bare_commits(bench, bench.plan.size(2_000, 300))
            pairs.append((reading.texts / reading.span_s, commits.rate))
    what = f"frames/s of {RUNS} runs, a reader each"
    bench.report.ratio("many", what, pairs, "/s", against="one commit a frame", target=at_least(6))
