"""Wake-ups between simulated processes: hints without data, which may be lost, doubled or late."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..process import Process

if TYPE_CHECKING:
    from .faulty import Shore

POLL_S: Final = 1.0
"""Seconds between two looks at the store for commits that no wake-up told of."""

LATE_STEPS: Final = 16
"""Steps of lateness a reply may draw."""


class Wakeups:
    """Wake-ups of one process: hints that may be lost, doubled or late, and a look now and then as the net."""

    def __init__(self, shore: "Shore", process: Process, changed: Callable[[], None]) -> None:
        self._loop = shore.loop
        self._tape = shore.tape
        self._trace = shore.trace
        self._trouble = shore.trouble
        self._core = shore.core
        self._process = process
        self._label = process.label
        self._changed = changed
        self._seen = 0
        self._polling: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to be told."""
        if self._polling is None:
            self._seen = self._core.commits
            self._polling = self._loop.create_task(self._poll(), name=f"{self._label}/wakeups")

    def stop(self) -> None:
        """Be told no more."""
        if self._polling is not None:
            self._polling.cancel()
            self._polling = None

    def hint(self) -> None:
        """Another process has committed: send a wake-up, if all goes well. Called by the world."""
        if self._polling is None:
            return
        trouble, site = self._trouble, self._process.name
        if self._tape.chance(f"wake.lost:{site}", trouble.wake_lost_p):
            self._trace.emit("wake", proc=self._label, to=self._label, how="dropped")
            return
        late_s = trouble.write_s
        if trouble.wake_late_s > 0:
            late_s += self._tape.sparse(f"wake.late:{site}", LATE_STEPS, trouble.density) * trouble.wake_late_s
        times = 2 if self._tape.chance(f"wake.twice:{site}", trouble.wake_twice_p) else 1
        for _ in range(times):
            self._process.run_in(late_s, self._wake)

    def _wake(self) -> None:
        if self._polling is not None:
            self._seen = self._core.commits
            self._changed()

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(POLL_S)
            if self._core.commits != self._seen:
                self._wake()
