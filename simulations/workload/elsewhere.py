"""A trial of two servers: what is committed at one is heard of at the other, also after a moment without its store."""

import asyncio
from typing import Any, Final

from ...domain.identifiers import RunId
from ..faults import Machine
from ..violation import Violation
from .follower import Follower
from .trials import At, Trial

CUT_S: Final = 0.5
"""Seconds without the store, in which the run ends elsewhere."""

DEAF_S: Final = 0.2
"""Seconds without wake-ups."""

READ_S: Final = 2.0
"""Seconds within which a server has read what it could not read then."""

_STEPS: Final[list[dict[str, Any]]] = [{"text": "I begin."}, {"wait_ms": 400}, {"text": "I end."}]
_STREAM: Final[list[dict[str, Any]]] = [
    {"text": "Word after word after word after word: stop me, please!", "chunk": 1, "delay_ms": 2}
]


class Elsewhere(Trial):
    """Requests at a server that does not do the work; in a world with one server there are none. Raises a Violation."""

    async def live(self) -> None:
        """All steps."""
        if len(list(self._world.network.nodes)) < 2:
            return
        run_id = await self._start(_STREAM)
        await self._claimed(run_id)
        machine = self._other(run_id)
        if machine is None:
            return
        holder = self._holder(run_id)
        if holder is not None and holder.way is not None:
            holder.way.deaf_until = self._world.loop.time() + DEAF_S  # its worker learns it from the fence
        stopper = At(self._world, f"{self._client.name}c", machine.process.name)
        self._need(await stopper.ask("POST", f"/v1/runs/{run_id}/cancel", {}), 200)
        run_id = await self._start(_STEPS)
        await self._claimed(run_id)
        machine = self._other(run_id)
        if machine is not None:
            await self._read_late(run_id, machine)
            self._world.mark("read-elsewhere")

    def _other(self, run_id: RunId) -> Machine | None:
        """A server that takes requests, and does not work on the run."""
        holder, serving = self._holder(run_id), self._world.network.nodes
        return next((m for m in self._machines if m is not holder and m.process.name in serving), None)

    async def _read_late(self, run_id: RunId, machine: Machine) -> None:
        """The run's end is committed elsewhere while its reader's server can't read it. Raises frame-late."""
        name = f"{self._client.name}s"
        reading = self._world.spawn(name, Follower(At(self._world, name, machine.process.name), run_id).follow())
        await asyncio.sleep(CUT_S / 4)
        self._cut(machine, CUT_S)
        _, pending = await asyncio.wait([reading], timeout=CUT_S + READ_S)
        if pending:
            detail = f"{run_id} has ended, and its reader at {machine.process.name} is not told within {READ_S} s."
            raise Violation("frame-late", detail, run_id=run_id)
