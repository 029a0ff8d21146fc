"""A trial of workers: one is told to stop, and hands back; then one is alone, with too much to do, and stalls."""

import asyncio
from contextlib import suppress
from typing import Any, Final

from ...domain.identifiers import RunId
from ..exchange import ConnectionLost
from ..faults import Machine
from ..limits import small
from ..node import SETTINGS
from ..violation import Violation
from .client import asking
from .trials import CLAIM_S, At, Trial

GRACE_S: Final = SETTINGS.drain_grace_s + CLAIM_S
"""Seconds within which a run is handed back by a server that stops."""

STALL_S: Final = SETTINGS.lease_s + 0.3
"""Seconds of a stall: its leases are over when it goes on."""

LONG_MS: Final = int(SETTINGS.lease_s * 1000) + 600
"""Milliseconds of silence that only who renews its lease can afford."""

LONGER_MS: Final = LONG_MS + int(SETTINGS.sweep_s * 1000)
"""Milliseconds within which somebody would have seen that a lease is over."""

CUT_S: Final = 0.3
"""Seconds without the store: shorter than a worker's patience."""

NARROW_BYTES: Final = 64
"""Bytes that a server may be ahead of a reader whose socket is to be full at once."""

FILL_S: Final = 0.1
"""Seconds after which it is full."""

SLOW_S: Final = 0.3
"""Seconds from then until it takes something again: the server has begun to stop by then."""

FULL_MS: Final = 200
"""Milliseconds for which a worker is kept full."""

FREE_S: Final = 0.2
"""Seconds within which a place that has become free is used."""

PHASES: Final = 8
PHASE_S: Final = 0.25
"""How long before a stall: which of the worker's timers is first when it goes on depends on it."""

DOWN_S: Final = 6.0
"""Seconds within which a process that is told to stop is down."""

_CALL: Final = {"tool": "pay", "arguments": {"sum": 1}, "result": {"paid": 1}}
_WORD: Final = {"text": "And on.", "chunk": 50, "delay_ms": 30}
_TALK: Final[list[dict[str, Any]]] = [{"repeat": {"times": 12, "steps": [{"wait_ms": 5}, _WORD]}}]


class Alone(Trial):
    """From several workers to one and back. Raises a Violation."""

    async def live(self) -> None:
        """All steps."""
        await self._drain()
        first, *others = self._machines
        for machine in others:
            await self._stop(machine)
        await self._wait_for_a_turn()
        await self._have_too_much()
        await self._stall(first)
        await self._lose_the_store(first)
        for machine in others:
            machine.process.start()
        self._world.mark("worker-alone")

    async def _drain(self) -> None:
        """A server that stops hands back what it works on, and somebody else goes on at once."""
        run_id = await self._start([{"text": "I begin.", "chunk": 1, "delay_ms": 5}, {"wait_ms": LONG_MS}])
        await self._claimed(run_id)
        machine = self._holder(run_id)
        if machine is None:
            return
        if machine.process.name in self._world.network.nodes:
            self._world.spawn("trial/slow", self._read_slowly(run_id, machine))
            await asyncio.sleep(FILL_S)
        others = len(self._machines) > 1
        stopping = self._world.spawn("trial/stop", self._stop(machine))
        told = f"{machine.process.label} stops, and {run_id} is not handed back"
        await self._until(lambda: "run.released" in self._kinds(run_id), GRACE_S, "drain-kept", told)
        if others:
            await self._claimed(run_id, 2)
        await stopping
        machine.process.start()
        if not others:
            await self._claimed(run_id, 2)

    async def _read_slowly(self, run_id: RunId, machine: Machine) -> None:
        """Its socket is full when the server begins to stop, which tells it all the same (see `Node`)."""
        conditions = self._world.network.conditions
        window_bytes, conditions.window_bytes = conditions.window_bytes, NARROW_BYTES
        reader = At(self._world, f"{self._client.name}s", machine.process.name)
        with suppress(ConnectionLost):
            async with reader.exchange(asking("GET", f"/v1/runs/{run_id}/events")) as exchange:
                await exchange.head()
                await asyncio.sleep(FILL_S + SLOW_S)
                conditions.window_bytes = window_bytes
                while await exchange.read():
                    pass
        conditions.window_bytes = window_bytes

    async def _stop(self, machine: Machine) -> None:
        process = machine.process
        self._world.trace.emit("down", proc=process.label, how="term")
        process.terminate()
        await self._until(lambda: not process.up, DOWN_S, "drain-endless", f"{process.label} is not down")

    async def _wait_for_a_turn(self) -> None:
        """The turn of an input that waited comes because another run is cancelled, and its worker hears of it."""
        session_id = await self._session()
        asks = await self._start([{"approvals": [_CALL]}], session_id)
        told = f"{asks} does not ask"
        await self._until(lambda: "run.suspended" in self._kinds(asks), CLAIM_S, "claim-late", told)
        waits = await self._start([{"text": "My turn."}], session_id)
        self._need(await self._client.ask("POST", f"/v1/runs/{asks}/cancel", {}), 200)
        await self._claimed(waits)

    async def _have_too_much(self) -> None:
        """One run more than a worker may have at once: it begins as soon as one of the others ends."""
        busy = [await self._start([{"wait_ms": FULL_MS}]) for _ in range(SETTINGS.concurrency)]
        last = await self._start([{"text": "At last."}])
        await self._ended(busy[0], FULL_MS / 1000 + CLAIM_S)
        told = f"{last} is not taken up by a worker that has a place free"
        await self._until(lambda: self._claims(last) > 0, FREE_S, "claim-late", told)

    async def _stall(self, machine: Machine) -> None:
        """It comes back when its lease is over and takes over from itself; from then on it keeps the run."""
        await asyncio.sleep(PHASE_S * self._world.tape.draw("trial.phase", PHASES))
        run_id = await self._start([{"text": "I begin."}, {"wait_ms": LONGER_MS}])
        await self._claimed(run_id)
        self._world.trace.emit("pause", proc=machine.process.label, s=STALL_S)
        machine.process.pause(STALL_S)
        await self._ended(run_id, STALL_S + 2 * SETTINGS.sweep_s + LONGER_MS / 1000)
        if self._taken_over(run_id) > 1:
            detail = f"{run_id} changed hands {self._taken_over(run_id)} times after one stall."
            raise Violation("lease-lost-at-rest", detail, run_id=run_id)

    async def _lose_the_store(self, machine: Machine) -> None:
        """For a moment nothing can be read or written: work goes on after it, by whoever has it then."""
        with small("PENDING_FRAMES_MAX"):  # its agent has to wait for room
            run_id = await self._start(_TALK)
            await self._claimed(run_id)
            await asyncio.sleep(CUT_S / 3)
            self._cut(machine, CUT_S)
            await self._ended(run_id, SETTINGS.lease_s + 2 * SETTINGS.sweep_s + CLAIM_S)
        await self._read_half(machine, run_id)

    async def _read_half(self, machine: Machine, run_id: RunId) -> None:
        """The store is there for the first read of a request and away for the second. Raises tail-wrong."""
        assert machine.way is not None
        machine.way.reads_left = 1
        reply = await self._client.once(asking("GET", f"/v1/sessions/{self._log(run_id).session_id}/tail"))
        if reply.status != 503:
            detail = f"The store is away, and a tail is answered {reply.status}: {reply.body!r:.200}"
            raise Violation("tail-wrong", detail, run_id=run_id)
