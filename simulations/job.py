"""A job: a process that runs worlds for a campaign. Tasks come on stdin, outcomes go out on stdout, as JSON lines."""

import gc
import importlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any, Self, cast

from .report import Report, RunWorld, Setting, attempt
from .tape import Tape

WORLD = ".world:run_world"
"""What runs a world, as `module:name`, relative to this package. Tests put a small one here."""


@dataclass(frozen=True, slots=True)
class _Line:
    """What travels between a campaign and its jobs, a line each."""

    seed: int
    setting: Setting

    @classmethod
    def parse(cls, line: str) -> Self:
        """What `line` gave."""
        values: dict[str, Any] = json.loads(line)
        return cls(setting=Setting(**values.pop("setting")), **values)

    @property
    def line(self) -> str:
        """As it is sent."""
        return json.dumps(asdict(self))


@dataclass(frozen=True, slots=True)
class Task(_Line):
    """One world to run."""

    decisions: Mapping[str, list[int]] | None = None
    """A tape to replay; without one, the seed fills it."""
    point: str | None = None
    """A crash point of this seed's world, see `crashpoints`."""
    tracing: bool = False
    trace_file: str | None = None
    """Where to write the trace."""


@dataclass(frozen=True, slots=True)
class Outcome(_Line):
    """What came of a task: a report without its trace, which can travel between processes."""

    point: str | None = None
    violation: str | None = None
    detail: str = ""
    trouble: str | None = None
    decisions: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """Only of failures: nobody wants them otherwise."""
    digest: str = ""
    marks: dict[str, int] = field(default_factory=dict[str, int])
    steps: int = 0
    simulated_s: float = 0.0
    exchanges: int = 0
    commits: int = 0
    cpu_s: float = 0.0

    @classmethod
    def of(cls, task: Task, report: Report, cpu_s: float) -> Self:
        """Of a world that was run."""
        found = report.violation
        return cls(
            seed=task.seed,
            setting=task.setting,
            point=task.point,
            violation=found.name if found else None,
            detail=found.detail if found else "",
            trouble=report.trouble,
            decisions=report.decisions if found or report.trouble else {},
            digest=report.trace.digest() if task.tracing else "",
            marks=report.marks,
            steps=report.steps,
            simulated_s=report.simulated_s,
            exchanges=report.exchanges,
            commits=report.commits,
            cpu_s=cpu_s,
        )


def load_world(name: str | None = None) -> RunWorld:
    """Import what runs worlds; `WORLD` unless told otherwise. Raises ImportError and AttributeError."""
    module, _, attribute = (name or WORLD).partition(":")
    return cast("RunWorld", getattr(importlib.import_module(module, __package__), attribute))


def run_task(run_world: RunWorld, task: Task) -> Outcome:
    """Run one world, and write its trace if that is wanted."""
    began = process_time()
    tape = Tape(task.seed) if task.decisions is None else Tape.replay(task.decisions, task.seed)
    runs = run_world if task.point is None else _crashing(task.point)
    report = attempt(runs, tape, task.setting, tracing=task.tracing or task.trace_file is not None)
    if task.trace_file:
        report.trace.write(Path(task.trace_file))
    return Outcome.of(task, report, process_time() - began)


def _crashing(point: str) -> RunWorld:
    """What runs a world with a crash at this point."""
    crashpoints = importlib.import_module(".crashpoints", __package__)
    return cast("RunWorld", partial(crashpoints.run_point, point=point))


def main(world: str) -> None:
    """Answer tasks until there are no more. Ctrl-C is the campaign's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # an agent that prints must not garble the answers
    run_world = load_world(world)
    gc.collect()
    gc.freeze()  # the modules are here to stay: collecting between worlds shall not look at them
    for line in os.fdopen(os.dup(sys.stdin.fileno()), encoding="utf-8"):  # an agent that says exit() closes stdin
        answers.write(run_task(run_world, Task.parse(line)).line + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
