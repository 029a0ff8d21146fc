"""Readers with nothing to read: what each costs in memory, and all of them in processor time."""

import time
from typing import Final

from .report import Target as Bound
from .report import at_most
from .targets import Bench, Target, bare, reattach

WARM_READERS: Final = 20
MEMORY_KIB_MAX: Final = 14.0
CPU_PERCENT_MAX: Final = 0.5
REST_S: Final = 2.0
"""Seconds between the last reader's arrival and the look at the memory."""


def idle(bench: Bench) -> None:
    """5,000 attached readers of a run that says nothing."""
    readers = bench.plan.size(5_000, 500)
    memory: list[tuple[float, float]] = []
    cpu: list[float] = []
    rest: list[float] = []
    for _ in range(bench.plan.size(2, 1)):
        with bare(bench) as bare_server, reattach(bench) as ours:
            rest.append(_cpu_percent(bench, ours))
            our_kib, our_cpu = _cost(bench, ours, readers)
            bare_kib, _ = _cost(bench, bare_server, readers)
        memory.append((our_kib, bare_kib))
        cpu.append(our_cpu)
    what = f"memory a reader, {readers:,} readers"
    bench.report.figure("idle", what, [kib for kib, _ in memory], "KiB", Bound("<=", MEMORY_KIB_MAX))
    bench.report.ratio("idle", what, memory, "KiB", against="memory only", target=at_most(1.2))
    bench.report.figure("idle", "CPU, nobody attached", rest, "%")
    added = [with_readers - without for with_readers, without in zip(cpu, rest, strict=True)]
    bench.report.figure("idle", f"CPU that {readers:,} readers add", added, "%", Bound("<=", CPU_PERCENT_MAX))


def _cost(bench: Bench, target: Target, readers: int) -> tuple[float, float]:
    """KiB a reader, and the percentage of a core that the server takes with all of them."""
    server, run = target.server, target.start(frames=1)
    bench.load.readers(server.port, [run.events], readers=WARM_READERS).finish(stop=True)
    before_kib = server.memory_kib
    attached = bench.load.readers(server.port, [run.events], readers=readers, limit_s=300)
    time.sleep(REST_S)
    memory_kib = (server.memory_kib - before_kib) / readers
    cpu_percent = _cpu_percent(bench, target)
    bench.report.delivered("idle", attached.finish(stop=True))
    return memory_kib, cpu_percent


def _cpu_percent(bench: Bench, target: Target) -> float:
    seconds, before = bench.plan.size(30, 10), target.server.cpu_s
    time.sleep(seconds)
    return (target.server.cpu_s - before) / seconds * 100
