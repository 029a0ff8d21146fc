"""A worker's life in a process of its own: it says what it does, and hands back what it can't finish."""

import asyncio
from collections.abc import Callable
from typing import Final

from .stopping import any_of
from .worker import Worker

PROGRESS_S: Final = 10.0
"""Seconds between two lines about what a worker does; nothing new, no line."""


async def attend(
    worker: Worker, stop: asyncio.Event, replaced: asyncio.Event, grace_s: float, announce: Callable[[str], None]
) -> list[str]:
    """Work until asked to stop, or until the database was replaced (no run can be finished then), and drain.

    Returns the names of runs whose agents did not stop.
    """
    worker.start()
    reporting = asyncio.get_running_loop().create_task(_report(worker, announce))
    await any_of(stop, replaced)
    reporting.cancel()
    grace_s = 0.0 if replaced.is_set() else grace_s
    announce(f"draining: {_runs(worker.busy)} under way, {grace_s:g} s to finish")
    stuck = await worker.drain(grace_s)
    announce(f"drained: {_runs(worker.taken)} taken in all, {worker.handed_back} handed back")
    return stuck


async def _report(worker: Worker, announce: Callable[[str], None]) -> None:
    said = (0, 0)
    while True:
        await asyncio.sleep(PROGRESS_S)
        if (worker.busy, worker.taken) != said:
            said = worker.busy, worker.taken
            announce(f"{_runs(worker.busy)} under way, {worker.taken} taken so far")


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count != 1)}"
