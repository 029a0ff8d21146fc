"""A node: one process of the real service, put together by the production composition over a simulated store."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from ..adapters.composition import Service, compose
from ..domain.agent import Agent
from ..domain.ports import Clock, Ids, Store
from ..infrastructure.settings import load_settings
from .network import Network
from .process import Process
from .violation import Violation

SETTINGS: Final = load_settings(
    {},
    {
        "lease_s": 3.0,
        "renew_s": 1.0,
        "sweep_s": 2.0,
        "drain_grace_s": 1.0,
        "approval_timeout_s": 6.0,
        "keepalive_s": 2.0,
        "retry_s": 0.5,
        "concurrency": 3,
        "session_lease_s": 2.5,
        "session_grace_s": 1.5,
        "handoff_timeout_s": 3.0,
        "summary_lease_s": 1.5,
    },
)
"""The service's own settings, with times that let many lives fit into half a minute."""

STREAMS_CLOSE_S: Final = 0.2
"""Seconds the last streams get to close after they were told to."""

TOLD_S: Final = 0.1
"""Seconds within which a reader hears that the server stops, from when its socket can take it."""

TASKS_AT_REST: Final = 7
"""Tasks of a node that has nothing to do: main, keepalives, claim, renew, sweep, poll for wake-ups, one spare."""


class Node:
    """What a process of the service does from its start to its end. `serves`: whether it takes requests."""

    def __init__(
        self,
        network: Network,
        open_store: Callable[[Process], Awaitable[Store]],
        agents: Mapping[str, Agent],
        clock_and_ids: Callable[[Process], tuple[Clock, Ids]],
        *,
        serves: bool,
    ) -> None:
        self._network = network
        self._open_store = open_store
        self._agents = agents
        self._clock_and_ids = clock_and_ids
        self._serves = serves
        self.service: Service | None = None

    async def main(self, process: Process) -> None:
        """Serve until SIGTERM, then drain. A kill just stops it anywhere."""
        clock, ids = self._clock_and_ids(process)
        store = await self._open_store(process)
        self.service = service = compose(store, SETTINGS, clock, ids, agents=self._agents, name=process.label)
        service.start()
        if self._serves:
            self._network.serve(process, service.app)
        await process.stopping.wait()
        began = self._network.loop.time()
        await service.drain(SETTINGS.drain_grace_s)
        self._network.withdraw(process)
        await asyncio.sleep(STREAMS_CLOSE_S)
        self._judge_drain(process, began)
        service.stop()
        self.service = None

    def _judge_drain(self, process: Process, began: float) -> None:
        """Whoever could be told to reconnect has been. A process that was frozen meanwhile had no time to."""
        if process.incarnation.paused_until > began:
            return
        now = self._network.loop.time()
        for exchange in list(self._network.live.values()):
            since = exchange.free_since if exchange.node == process.name else None
            if since is not None and now - max(since, began) > TOLD_S and exchange.request.path.endswith("/events"):
                detail = f"{process.label} stops, and has not told {exchange.client}, whose socket is free."
                self._network.loop.abort(Violation("drain-unheard", detail))

    def left(self, label: str, waiting: Sequence[str], forgotten: int) -> Violation | None:
        """What is left of what has ended, at rest. `forgotten`: works that only seem to wait."""
        if self.service is None:
            return Violation("node-down", f"{label} does not run although all is well.")
        feeds, readers, sessions = self.service.broadcaster.held
        busy = self.service.worker.busy if self.service.worker is not None else 0
        if feeds or readers or sessions or busy:
            detail = f"{label} holds {feeds} feeds, {readers} readers, {sessions} sessions and {busy} runs at rest."
            return Violation("leak", detail)
        if forgotten:
            return Violation("leak", f"{label} counts {forgotten} writes as waiting that are not.")
        tasks = [task for task in waiting if task.startswith(label)]
        if len(tasks) > TASKS_AT_REST:
            return Violation("leak", f"{label} has {len(tasks)} tasks at rest: {'; '.join(tasks)}")
        return None
