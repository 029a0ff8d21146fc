"""A worker sweeps also while it is woken for work again and again: deadlines pass on busy days, too."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, cast

from reattach.adapters.worker import Worker, WorkerTimes
from reattach.domain.agent import Agent
from reattach.domain.application import Application


class Counting:
    """An application without any work; its own store."""

    def __init__(self) -> None:
        self.store = self
        self.claims = 0
        self.swept = asyncio.Event()

    def listen(self, _: object) -> Callable[[], None]:
        """Nothing is told; the test wakes the worker by itself."""
        return lambda: None

    async def has_pending(self, _: object) -> bool:
        """It always looks as if there were work."""
        return True

    async def claim(self, *_: object) -> Sequence[Any]:
        """There is nothing to do."""
        self.claims += 1
        return ()

    async def renew(self, *_: object) -> Sequence[Any]:
        """Nothing is held."""
        return ()

    async def sweep(self) -> None:
        """At last."""
        self.swept.set()


def test_it_sweeps_though_it_never_rests() -> None:
    asyncio.run(busy_day())


async def busy_day() -> None:
    """The worker is woken ten times for each sweep that is due."""
    application = Counting()
    times = WorkerTimes(renew_s=60, sweep_s=0.05)
    worker = Worker(cast("Application", application), "w", {"idle": cast("Agent", None)}, times)
    worker.start()

    async def never_rests() -> None:
        while True:
            worker.changed()
            await asyncio.sleep(times.sweep_s / 10)

    busy = asyncio.create_task(never_rests())
    try:
        await asyncio.wait_for(application.swept.wait(), 2)
        assert application.claims > 1
    finally:
        busy.cancel()
        await worker.drain(0)
