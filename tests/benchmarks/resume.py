"""Coming back: the time to the first frame after a resume, hot and cold, and the replay of a whole run."""

from collections.abc import Sequence
from typing import Final

from .load import Readers, Request, Timing
from .report import at_least, at_most
from .targets import FACTS_BEFORE_TEXT, Bench, Produced, Reattach, Target, bare, delivered, reattach

POSITIONS: Final = (1_000, 10_000, 100_000)
MISSED_FRAMES: Final = 50
"""Frames a reader comes back for."""
REPLAY_FRAMES: Final = 10_000
REPLAY_MB_PER_S: Final = 135.0
"""Goal 12: 3,000,000 frames a second, of the 45 bytes a frame had on that wire."""


def resume(bench: Bench) -> None:
    """First frame after a resume on a new connection, against the trivial GET of the same server.

    Hot: the run is live and watched, the frames are in memory. Cold: it has ended, they come from the store.
    """
    positions = bench.plan.size(3, 2)
    with reattach(bench) as ours:
        hot = [_hot(bench, ours, seq) for seq in POSITIONS[:positions]]
        cold = [_cold(bench, ours, seq) for seq in POSITIONS[:positions]]
        watched = [watcher for _, watcher in hot]
        rounds: list[dict[str, Timing]] = []
        for _ in range(bench.plan.repeats):
            requests = [Request(name="get", path="/healthz"), *(request for request, _ in hot), *cold]
            rounds.append(bench.load.first(ours.server.port, requests, bench.plan.size(400, 50)))
        for watcher in watched:
            watcher.finish(stop=True)
    for timing in (timing for timings in rounds for timing in timings.values() if timing.errors):
        bench.report.faults.append(f"resume, {timing.name}: {timing.errors} answers were not what was asked for")
    for kind, limit in (("hot", 1.0), ("cold", 1.5)):
        names = [f"{kind} at {seq:,}" for seq in POSITIONS[:positions]]
        for name in names:
            pairs, target = _firsts(rounds, name, "get"), at_most(limit)
            bench.report.ratio("resume", f"first frame, {name}", pairs, "us", against="trivial GET", target=target)
        pairs = _firsts(rounds, names[-1], names[0])
        bench.report.ratio("resume", f"first frame, {names[-1]}", pairs, "us", against=names[0], target=at_most(1.1))


def _firsts(rounds: Sequence[dict[str, Timing]], name: str, against: str) -> list[tuple[float, float]]:
    """Pairs of times to the first frame; an ordinary GET is there when its whole (tiny) body is."""
    ours = [timings[name].first_p50_us for timings in rounds]
    others = [timings[against] for timings in rounds]
    return [(us, it.first_p50_us if it.frames else it.last_p50_us) for us, it in zip(ours, others, strict=True)]


def _hot(bench: Bench, ours: Reattach, seq: int) -> tuple[Request, Readers]:
    """A live run with its head a little after `seq`, and a reader that watches it."""
    run = ours.start(frames=seq + MISSED_FRAMES - FACTS_BEFORE_TEXT, hold=True)
    watcher = bench.load.readers(ours.server.port, [run.events], limit_s=600)
    run.go()
    ours.wait_for_head(run.run_id, seq + MISSED_FRAMES)
    cursor = f"Last-Event-ID: {ours.cursor(run.run_id, seq)}"
    request = Request(name=f"hot at {seq:,}", path=run.events, frames=MISSED_FRAMES, after=seq, header=cursor)
    return request, watcher


def _cold(bench: Bench, ours: Reattach, seq: int) -> Request:
    """A run that has ended a little after `seq`, watched by nobody."""
    run = ours.start(frames=seq + MISSED_FRAMES - FACTS_BEFORE_TEXT)
    run.go()
    ours.wait_for_end(run.run_id)
    cursor = f"Last-Event-ID: {ours.cursor(run.run_id, seq)}"
    return Request(name=f"cold at {seq:,}", path=run.events, frames=-1, after=seq, header=cursor)


def replay(bench: Bench) -> None:
    """All 10,000 frames of a finished run to one reader on a new connection."""
    frames = REPLAY_FRAMES
    pairs: list[tuple[float, float]] = []
    volumes: list[float] = []
    with bare(bench) as memory, reattach(bench) as ours:
        replays = [(target, _finished(bench, target, frames)) for target in (ours, memory)]
        for _ in range(bench.plan.repeats):
            our_rate, bare_rate = (_replay_rate(bench, target, run) for target, (run, _) in replays)
            pairs.append((our_rate, bare_rate))
            volumes.append(our_rate * replays[0][1][1] / 1e6)
    what = f"frames/s, {frames:,} frames"
    bench.report.ratio("replay", what, pairs, "/s", against="memory only")
    bench.report.figure("replay", f"MB/s, {frames:,} frames", volumes, "MB/s", at_least(REPLAY_MB_PER_S))


def _finished(bench: Bench, target: Target, frames: int) -> tuple[Produced, float]:
    """A run that has ended, and the bytes of one of its frames on the wire."""
    run = target.start(frames=frames)
    reading, _ = delivered(bench, "replay", target, run, readers=1)
    return run, reading.payload_bytes / reading.frames


def _replay_rate(bench: Bench, target: Target, run: Produced) -> float:
    request = Request(name="replay", path=run.events, frames=-1, after=0)
    timing = bench.load.first(target.server.port, [request], bench.plan.size(40, 10))["replay"]
    if timing.errors:
        bench.report.faults.append(f"replay: {timing.errors} were not complete")
    return run.texts / timing.last_p50_us * 1e6
