"""Trials: what is gone through step by step in some of the worlds, once all is well.

Nothing in them is drawn but whether they happen, so that what breaks one is found in every world that has it, and its
tape shrinks to that one decision. They cost too much for every world.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Final

from ...domain.identifiers import RunId, SessionId
from ..faults import Machine
from ..oracle.log import RunLog, type_at
from ..violation import Violation
from .client import Client, Place, Reply

LOOK_S: Final = 0.05
"""Seconds between two looks at the log."""

CLAIM_S: Final = 0.5
"""Seconds within which a worker takes up a run, once all is well: far below the time after which it looks by itself."""


class Trial:
    """What trials have in common: a client, the machines, and looking at the log."""

    def __init__(self, world: Place, name: str, machines: Sequence[Machine]) -> None:
        self._world = world
        self._client = Client(world, name)
        self._machines = machines

    async def _session(self) -> SessionId:
        reply = await self._client.ask("POST", "/v1/sessions", {}, key=self._client.new_key())
        return SessionId(reply.body["session_id"])

    async def _start(self, steps: Any, session_id: SessionId | None = None, agent: str = "script") -> RunId:
        where = session_id or await self._session()
        given = {"steps": steps} if agent == "script" else steps
        body = {"agent": agent, "input": given, "on_busy": "enqueue"}
        reply = await self._client.ask("POST", f"/v1/sessions/{where}/runs", body, key=self._client.new_key())
        return RunId(self._need(reply, 202).body["run_id"])

    def _cut(self, machine: Machine, seconds: float) -> None:
        """Nothing passes between it and the store for so long."""
        if machine.way is not None:
            self._world.trace.emit("cut", a=machine.process.name, b="store", s=seconds, how="hold")
            machine.way.cut_until = self._world.loop.time() + seconds

    def _need(self, reply: Reply, status: int, code: str | None = None) -> Reply:
        """Raises answer-wrong."""
        if (reply.status, reply.code) != (status, code):
            detail = f"{self._client.name} was answered {reply.status} instead of {status} {code or ''}: {reply.body}"
            raise Violation("answer-wrong", f"{detail:.500}")
        return reply

    # The log.

    def _log(self, run_id: RunId) -> RunLog:
        run = self._world.log.run(run_id)
        assert run is not None
        return run

    def _kinds(self, run_id: RunId) -> list[str]:
        return [type_at(line, seq) or "" for seq, line in enumerate(self._log(run_id).lines, 1)]

    def _claims(self, run_id: RunId) -> int:
        return self._kinds(run_id).count("run.claimed")

    def _taken_over(self, run_id: RunId) -> int:
        """How often it changed hands because a lease was over; one that is handed back is reset as well."""
        kinds = self._kinds(run_id)
        return sum(pair == ("run.claimed", "step.reset") for pair in pairwise(kinds))

    async def _until(self, holds: Callable[[], bool], within_s: float, name: str, what: str) -> None:
        """Wait for it. Raises the Violation `name` if it does not come."""
        until = self._world.loop.time() + within_s
        while not holds():
            if self._world.loop.time() > until:
                raise Violation(name, f"{what} within {within_s} s although all is well.")
            await asyncio.sleep(LOOK_S)

    async def _claimed(self, run_id: RunId, claims: int = 1) -> None:
        """Raises claim-late."""
        told = f"{run_id} is not taken up"
        await self._until(lambda: self._claims(run_id) >= claims, CLAIM_S, "claim-late", told)

    async def _ended(self, run_id: RunId, within_s: float) -> None:
        """Raises probe-late."""
        await self._until(
            lambda: self._log(run_id).terminal is not None, within_s, "probe-late", f"{run_id} is not done"
        )

    def _holder(self, run_id: RunId) -> Machine | None:
        """Whose worker has it, if it is one of the service's."""
        line = next(line for line in reversed(self._log(run_id).lines) if line.startswith(b'{"type":"run.claimed"'))
        return next((one for one in self._machines if f'"worker":"{one.process.label}"'.encode() in line), None)


class At(Client):
    """A client of one node."""

    def __init__(self, world: Place, name: str, node: str) -> None:
        super().__init__(world, name)
        self._node = node

    def node(self) -> str | None:
        """That one, if it takes requests."""
        return self._node if self._node in self.world.network.nodes else None
