"""The fault plan: who is killed, paused, stopped, cut off and started again, and when. Drawn from the tape, one actor
after the other, so that each of its decisions can be taken out without shifting the others."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Protocol

from .config import Config
from .loop import SimLoop
from .network import Network
from .node import Node
from .process import Process
from .store.faulty import Way
from .store.trouble import Trouble
from .tape import Tape
from .trace import Trace
from .violation import Violation

SLOTS: Final = 4
"""Faults a process may suffer in the first phase."""

SLOT_S: Final = 0.25
"""Seconds of one step of the plan's times."""

DOWN_S: Final = (0.1, 1.0, 5.0)
"""Seconds a killed process stays down: less than, about and more than a lease."""

PAUSE_S: Final = (0.2, 2.0, 4.5)
"""Seconds a process is paused."""

CUT_S: Final = (0.5, 2.0, 5.0)
"""Seconds of a partition."""


QUIET_S: Final = 2.5
"""Seconds in which nobody does anything at the end: a keepalive, and some air."""

REST_S: Final = 6.0
"""Seconds of it that connections and tasks may take to go away."""


@dataclass(slots=True)
class Machine:
    """One process of the service, its node and its way to the store."""

    process: Process
    node: Node
    ways: list[Way]

    @property
    def way(self) -> Way | None:
        """The way of the incarnation that lives now."""
        return self.ways[-1] if self.ways else None

    @property
    def forgotten(self) -> int:
        """Works that its store counts as waiting, and that are not."""
        return self.way.committer.forgotten if self.way is not None else 0

    @property
    def busy(self) -> int:
        """How many runs its worker is busy with."""
        service = self.node.service
        return service.worker.busy if service is not None and service.worker is not None else 0


def unwell_for(machines: Sequence[Machine], trouble: Trouble, now: float) -> timedelta:
    """How long it takes until the last paused process goes on, and the last slow answer of the store has come."""
    until = max(trouble.late_until, *(machine.process.incarnation.paused_until for machine in machines))
    return timedelta(seconds=max(0.0, until - now))


def left_behind(machines: Iterable[Machine], waiting: Sequence[str]) -> Violation | None:
    """What is left of what has ended, at rest; `waiting` are all tasks that do."""
    found = (machine.node.left(machine.process.label, waiting, machine.forgotten) for machine in machines)
    return next((left for left in found if left is not None), None)


async def come_to_rest(machines: Iterable[Machine], loop: SimLoop) -> None:
    """Do nothing, for as long as it may take until nothing is left, but no longer than it takes."""
    await asyncio.sleep(QUIET_S)
    if left_behind(machines, loop.waiting()) is not None:
        await asyncio.sleep(REST_S - QUIET_S)


class Surroundings(Protocol):
    """What the plan needs of its world."""

    config: Config
    tape: Tape
    trace: Trace
    network: Network

    def clients(self) -> Sequence[str]:
        """The names of the clients."""
        ...


class Plan:
    """The faults of one machine, in order. `run` ends when they are over; `heal` undoes what still lasts."""

    def __init__(self, world: Surroundings, machine: Machine) -> None:
        self._world = world
        self._machine = machine
        self.name = machine.process.name
        kinds: list[Callable[[], object]] = []
        has = world.config.has
        if has("kill"):
            kinds.append(self._kill)
        if has("pause"):
            kinds.append(self._pause)
        if has("drain"):
            kinds.append(self._drain)
        if has("partition"):
            kinds += [self._cut_clients, self._cut_store]
        self._kinds = kinds

    async def run(self) -> None:
        """Let happen what the tape says, until the first phase is over."""
        tape, config = self._world.tape, self._world.config
        if not self._kinds:
            return
        for _ in range(tape.draw(f"fault.count:{self.name}", SLOTS + 1) * config.intensity // 2):
            steps = int(config.faulty_s / SLOT_S)
            await asyncio.sleep(SLOT_S * (1 + tape.draw(f"fault.when:{self.name}", steps) / 2))
            tape.pick(f"fault.kind:{self.name}", self._kinds)()

    def _kill(self) -> None:
        process = self._machine.process
        if process.up:
            self._world.trace.emit("down", proc=process.label, how="kill")
            process.kill()
            self._restart_later()

    def crash(self) -> None:
        """Kill it right now, and start it again a little later."""
        process = self._machine.process
        self._world.trace.emit("down", proc=process.label, how="kill")
        process.kill()
        seconds = self._world.tape.pick(f"fault.crash-s:{self.name}", DOWN_S)
        asyncio.get_running_loop().call_later(seconds, self.revive)

    def _drain(self) -> None:
        process = self._machine.process
        if process.up:
            self._world.trace.emit("down", proc=process.label, how="term")
            process.terminate()
            self._restart_later()

    def _restart_later(self) -> None:
        seconds = self._world.tape.pick(f"fault.down-s:{self.name}", DOWN_S)
        asyncio.get_running_loop().call_later(seconds, self.revive)

    def revive(self) -> None:
        """Start it again, if it is down; a stopping one is asked again a little later."""
        process = self._machine.process
        if not process.up:
            process.start()
        elif process.stopping.is_set():
            asyncio.get_running_loop().call_later(0.5, self.revive)

    def heal(self) -> None:
        """What still lasts is over; a process that is paused comes back by itself."""
        way = self._machine.way
        if way is not None:
            way.cut_until = 0.0
        self.revive()

    def _pause(self) -> None:
        process = self._machine.process
        if process.up:
            seconds = self._world.tape.pick(f"fault.pause-s:{self.name}", PAUSE_S)
            self._world.trace.emit("pause", proc=process.label, s=seconds)
            process.pause(seconds)

    def _cut_clients(self) -> None:
        seconds = self._world.tape.pick(f"fault.cut-s:{self.name}", CUT_S)
        for client in self._world.clients():
            self._world.network.cut(client, self.name, seconds)

    def _cut_store(self) -> None:
        way = self._machine.way
        if way is not None:
            seconds = self._world.tape.pick(f"fault.cut-s:{self.name}", CUT_S)
            self._world.trace.emit("cut", a=self.name, b="store", s=seconds, how="hold")
            way.cut_until = asyncio.get_running_loop().time() + seconds
