"""Appends of one frame each, acknowledged when durable: over HTTP and without, alone, many at once, and watched."""

import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self

from .commits import bare_commits
from .load import Acknowledgements, Readers, Request
from .machine import SERVER_CPU, together
from .report import at_least, at_most
from .targets import Bench, Reattach, reattach

WORKER: Final = "bench"
RUNS: Final = 64
READERS: Final = 500
NICENESS: Final = 10
"""Readers and poster share a core; the readers give way, so that only the server's slowness counts."""
LOSS_MAX: Final = 0.9
"""Goal 13: what must be left of the append rate while readers are attached."""


class Claimed:
    """A run that this process works on, with its text part open; cancelled at the end, before its lease can pass."""

    def __init__(self, ours: Reattach) -> None:
        self._ours = ours
        run_id = ours.start_run("bench", {})
        claim = {"worker": WORKER, "agents": ["bench"], "limit": 1}
        answer: dict[str, Any] = ours.server.http.post("/v1/work/claim", json=claim).raise_for_status().json()
        assignment = next(item for item in answer["items"] if item["run"]["run_id"] == run_id)
        run = assignment["run"]
        self._cancel = f"/v1/runs/{run_id}/cancel"
        self.events = f"/v1/runs/{run_id}/events"
        self.output = f"/v1/runs/{run_id}/output"
        self.header = f"Run-Epoch: {run['epoch']}"
        self.part = f"{run['turn']}.{run['attempt']}.1"
        self.head: int = assignment["next_seq"] - 1
        message = {"message_id": f"{run['session_id']}:{run_id}:1"}
        self._append({"type": "step.start", "step": 1})
        self._append({"type": "message.start", "role": "assistant", **message})
        self._append({"type": "text.start", "part": self.part, **message})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ours.server.http.post(self._cancel, json={}).raise_for_status()

    @property
    def body(self) -> str:
        """One frame's append, for the load client to fill in."""
        frame = f'{{"type":"text.delta","part":"{self.part}","text":"%T"}}'
        return f'{{"first_seq":%S,"frames":[{frame}]}}'

    def _append(self, frame: dict[str, object]) -> None:
        name, _, epoch = self.header.partition(": ")
        body = {"first_seq": self.head + 1, "frames": [frame]}
        self._ours.server.http.post(self.output, json=body, headers={name: epoch}).raise_for_status()
        self.head += 1


def append(bench: Bench) -> None:
    """One frame a POST on one connection, each when the last is durable."""
    count = bench.plan.size(2_000, 200)
    p50: list[tuple[float, float]] = []
    rates: list[tuple[float, float]] = []
    with reattach(bench, "--no-worker") as ours:
        with Claimed(ours) as run:
            _post(bench, ours, run, count // 10)
        for _ in range(bench.plan.repeats):
            get = Request(name="get", path="/healthz", keep_alive=True)
            get_us = bench.load.first(ours.server.port, [get], count)["get"].first_p50_us
            with Claimed(ours) as run:
                posted = _post(bench, ours, run, count)
            commits = bare_commits(bench, count)
            p50.append((posted.p50_us, get_us + commits.p50_us))
            rates.append((posted.acknowledged / posted.seconds, commits.rate))
    what = "one-frame POST, durable ack"
    bench.report.ratio("append", f"{what}, p50", p50, "us", against="trivial GET + bare commit", target=at_most(1.5))
    bench.report.ratio("append", f"{what}, rate", rates, "/s", against="bare commits", target=at_least(0.5))


def store(bench: Bench) -> None:
    """Group commit: appends a second of 64 runs, and of one, against one bare commit after the other."""
    pairs: dict[int, list[tuple[float, float]]] = {1: [], RUNS: []}
    for _ in range(bench.plan.repeats):
        for runs, rows in pairs.items():
            count = bench.plan.size(2_000, 200) if runs == 1 else bench.plan.size(500, 50)
            rows.append((store_rate(bench, runs, count), bare_commits(bench, bench.plan.size(2_000, 200)).rate))
    for runs, target in ((1, at_least(0.5)), (RUNS, at_least(6))):
        what = f"appends/s, {runs} runs at once" if runs > 1 else "appends/s, 1 run"
        bench.report.ratio("store", what, pairs[runs], "/s", against="one commit an append", target=target)


def store_rate(bench: Bench, runs: int, count: int) -> float:
    """Appends a second of so many runs together."""
    url = f"sqlite:///{bench.new_path('.db')}"
    command = ["tests.benchmarks.store_appends", url, "--runs", str(runs), "--count", str(count)]
    return runs * count / together([command], SERVER_CPU)


def concurrent(bench: Bench) -> None:
    """One frame a POST on each of 64 runs at once: what group commit is for."""
    count = bench.plan.size(500, 50)
    rates: list[tuple[float, float]] = []
    with reattach(bench, "--no-worker") as ours:
        for _ in range(bench.plan.repeats):
            with ExitStack() as stack:
                runs = [stack.enter_context(Claimed(ours)) for _ in range(RUNS)]
                posted = _post_to(bench, ours, runs, count)
            rates.append((posted.acknowledged / posted.seconds, bare_commits(bench, bench.plan.size(2_000, 200)).rate))
    what = f"one-frame POSTs on {RUNS} runs, rate"
    bench.report.ratio("concurrent", what, rates, "/s", against="bare commits")


def isolation(bench: Bench) -> None:
    """Goal 13: the rate of durable appends to a run that 500 readers follow, or a stalled one, against nobody."""
    _isolated_posts(bench)
    _isolated_bursts(bench)


def _isolated_posts(bench: Bench) -> None:
    count = bench.plan.size(3_000, 300)
    rates: dict[str, list[float]] = {"nobody": [], "500 readers": [], "a stalled reader": []}
    readers = {"nobody": (0, 0), "500 readers": (READERS, 0), "a stalled reader": (1, 1)}
    with reattach(bench, "--no-worker") as ours:
        for _ in range(bench.plan.repeats):
            for name, (attached, stalled) in readers.items():
                with Claimed(ours) as run, watched(bench, ours, run, attached, stalled):
                    posted = _post(bench, ours, run, count)
                rates[name].append(posted.acknowledged / posted.seconds)
    for name in ("500 readers", "a stalled reader"):
        pairs, what = list(zip(rates[name], rates["nobody"], strict=True)), f"sequential durable appends, {name}"
        bench.report.ratio("isolation", what, pairs, "/s", against="nobody attached", target=at_least(LOSS_MAX))


def _isolated_bursts(bench: Bench) -> None:
    pairs: list[tuple[float, float]] = []
    with reattach(bench) as ours:
        for _ in range(bench.plan.repeats):
            alone = _durable_rate(bench, ours, readers=0)
            pairs.append((_durable_rate(bench, ours, readers=READERS), alone))
    what, target = f"durable frames/s of a burst, {READERS} readers", at_least(LOSS_MAX)
    bench.report.ratio("isolation", what, pairs, "/s", against="nobody attached", target=target)


def _durable_rate(bench: Bench, ours: Reattach, readers: int) -> float:
    """Frames a second of an agent in the server, until its run has ended in the store; readers may be behind then."""
    run = ours.start(frames=bench.plan.size(20_000, 2_000))
    attached = bench.load.readers(ours.server.port, [run.events], readers=readers, texts=run.texts) if readers else None
    run.wait()
    begun = time.time()
    run.go()
    ended = datetime.fromisoformat(ours.wait_for_end(run.run_id)["ended_at"]).timestamp()
    if attached is not None:
        bench.report.delivered("isolation", attached.finish())
    return run.texts / (ended - begun)


@contextmanager
def watched(bench: Bench, ours: Reattach, run: Claimed, readers: int, stalled: int) -> Generator[None]:
    """Readers of the run while the block lasts; the first `stalled` of them never read."""
    attached: Readers | None = None
    if readers:
        attached = bench.load.readers(
            ours.server.port, [run.events], readers=readers, stalled=stalled, niceness=NICENESS, limit_s=300
        )
    yield
    if attached is not None:
        bench.report.delivered("isolation", attached.finish(stop=True))


def _post(bench: Bench, ours: Reattach, run: Claimed, count: int) -> Acknowledgements:
    return _post_to(bench, ours, [run], count)


def _post_to(bench: Bench, ours: Reattach, runs: list[Claimed], count: int) -> Acknowledgements:
    """The same body fits all these runs: they are equally old."""
    paths, first = [run.output for run in runs], runs[0]
    posted = bench.load.append(
        ours.server.port, paths, header=first.header, body=first.body, after=first.head, count=count
    )
    if posted.errors:
        bench.report.faults.append(f"append: {posted.errors} connections were refused")
    return posted
