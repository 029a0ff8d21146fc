"""A world of ten lines in the place of the real one: jobs, shrinking and commands are tried on it.

A commit goes wrong if a node was killed before it and the clock is skewed; the planted bugs break more than that.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any

from reattach.simulations.report import Report
from reattach.simulations.tape import Tape
from reattach.simulations.trace import Trace
from reattach.simulations.violation import Violation

IMPATIENT_AFTER = 3
"""Replays after which somebody presses Ctrl-C."""

NEVER = 10**6
"""A seed on which a world can't be run at all."""


def run_world(
    tape: Tape, *, planted: str | None = None, agents: str | None = None, store: str | None = None, tracing: bool = True
) -> Report:
    del agents, store
    now = [0.0]
    trace = Trace(lambda: now[0], on=tracing, seed=tape.seed, planted=planted)
    trace.emit("up", proc="n0.1")
    planted = _misbehaves(planted)
    if tape.seed == NEVER and not tape.decisions:
        raise RuntimeError("the harness broke")
    violation, kills = None, 0
    for step in range(40):
        now[0] += 0.01 + tape.sparse("net.late:c0", 16, 0.5) / 1000
        kills += tape.chance("fault.kill:n0", 0.1)
        skewed = tape.draw("fault.skew:n0", 32) >= 24
        noise = {"order": sorted({f"a{n}" for n in range(5)})}
        if planted == "hash-order":
            noise = {"order": list({f"a{n}" for n in range(5)})}
        trace.emit("commit", proc="n0.1", works=[f"append r1 {step}"], news=_news(step), **noise)
        if planted == "two-together" and kills >= 2 and skewed:
            violation = Violation("zombie-write", f"Frame {step} was written twice, by n0.1.", run="r1")
            trace.emit("violation", proc="n0.1", name=violation.name, detail=violation.detail)
            break
    marks = {"completed": 1} | ({"take-over": kills} if kills else {})
    trace.finish(schedule=f"{len(trace)}", marks=marks)
    return Report(
        seed=tape.seed,
        planted=planted,
        violation=violation,
        trouble=None,
        decisions=tape.decisions,
        trace=trace,
        marks=marks,
        steps=len(trace),
        simulated_s=now[0],
        exchanges=1,
        commits=trace.counts["commit"],
    )


def _misbehaves(planted: str | None) -> str | None:
    """What happens to the tool itself; what is left to be planted then."""
    if planted == "dies":
        os._exit(3)
    if planted == "hangs":
        time.sleep(60)
    if planted == "interrupts":
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)
    if planted == "impatient":
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # no job of a campaign, but who shrinks
            seen = Path("replays").read_text(encoding="utf-8") if Path("replays").exists() else ""
            Path("replays").write_text(seen + "x", encoding="utf-8")
            if len(seen) == IMPATIENT_AFTER:
                signal.raise_signal(signal.SIGINT)
        return "two-together"
    if planted == "unsavable":
        Path("elsewhere").write_text("It was free when the hunt began.", encoding="utf-8")
        return "two-together"
    if planted == "prints":
        print("an agent talks")
    return planted


def _news(step: int) -> list[dict[str, Any]]:
    return [{"run": "r1", "first": step + 1, "last": step + 1, "epoch": 1, "type": "text.delta"}]
