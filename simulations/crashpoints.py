"""Crash points: a process is killed at each of its writes in turn, one small world for each of them.

A plain world (two nodes, one author, nothing goes wrong) tells how many groups of works each process writes. A point is
one of these groups and a moment: killed when it would be written, or when it is and nobody has been told. The process
starts again a little later. Where chance needs luck to hit the one gap between two commits, this meets all of them.

A point is nothing but one decision on the tape of the plain world, so whatever it finds is replayed, shrunk and
explained like everything else.
"""

from collections.abc import Mapping
from typing import Final

from .report import Report
from .store.faulty import MOMENTS
from .tape import Tape
from .workload.scripts import draw_script
from .world import run_world

SITE: Final = "store.crash:"
"""Where the tape is asked whether a process dies of a group; the process's name follows."""

TURNS: Final = 2
"""Turns of the world's author."""

PLAIN: Final[Mapping[str, list[int]]] = {
    "config.fault.crash": [1],
    "config.nodes": [1],
    "config.faulty-s": [3],
    "author.turns:a0": [TURNS - 1],
    "author.users-agent:a0": [0, 1],
    "client.route:a0": [0, 1] * 16,
}
"""Two nodes, asked in turn, by one author of two turns (the user's own agents, if there are any, the first two)."""

SCRIPT: Final[Mapping[str, list[int]]] = {
    "script:a0.steps": [3, 1],
    "script:a0.kind": [0, 2, 4, 6, 2, 6, 0, 4],
    "script:a0.delay": [1, 1, 0, 0, 1, 0, 1],
    "script:a0.approvals": [1],
}
"""The scripts of seed 0. First text, a tool, two approvals, a repeat of a tool; then a repeat of text, an approval.

Each is slow enough for its pieces to be written one by one.
"""


class PlainWorldFails(Exception):
    """The simulator fails in the plain world already; the message is its traceback."""


def points(tape: Tape, *, planted: str | None = None, agents: str | None = None, store: str | None = None) -> list[str]:
    """Every point of this seed's world, such as `n0-3-before`: process, number of its group, moment.

    Seed 0 is a world with all kinds of writes; others draw what the author asks for. Raises PlainWorldFails.
    """
    plain = Tape.replay(_world(tape.seed), tape.seed)
    report = run_world(plain, planted=planted, agents=agents, store=store, tracing=False)
    if report.trouble:
        raise PlainWorldFails(report.trouble)
    groups = {site.removeprefix(SITE): times for site, times in plain.asked.items() if site.startswith(SITE)}
    return [
        f"{process}-{number}-{moment}"
        for process, times in sorted(groups.items())
        for number in range(1, times + 1)
        for moment in MOMENTS[1:]
    ]


def run_point(
    tape: Tape,
    *,
    point: str,
    planted: str | None = None,
    agents: str | None = None,
    store: str | None = None,
    tracing: bool = True,
) -> Report:
    """Run the seed's world with a crash at this point; its decisions replay it. Raises ValueError for no such point."""
    process, number, moment = point.split("-")
    crash = [0] * (int(number) - 1) + [MOMENTS.index(moment)]
    crashing = Tape.replay({**_world(tape.seed), SITE + process: crash}, tape.seed)
    report = run_world(crashing, planted=planted, agents=agents, store=store, tracing=tracing)
    reached = crashing.asked.get(SITE + process, 0) >= len(crash)
    if not reached and report.violation is None and report.trouble is None:
        raise ValueError(f"{process} never writes its group {number} in the world of seed {tape.seed}")
    return report


def _world(seed: int) -> Mapping[str, list[int]]:
    """The decisions of the seed's plain world."""
    if not seed:
        return {**PLAIN, **SCRIPT}
    scripts = Tape(seed)
    for _ in range(TURNS):
        draw_script(scripts, "script:a0")
    return {**PLAIN, **scripts.decisions}
