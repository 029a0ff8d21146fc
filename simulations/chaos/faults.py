"""The faults, carried out: on processes, on the links in front of servers, on the database."""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from .databases import Database
from .hosts import Host, Hosts
from .plan import Fault
from .processes import Process, free
from .proxy import Link

if TYPE_CHECKING:
    from .film import Film

LOOK_S: Final = 0.05
"""Seconds between two looks for somebody to kill, while nobody is up."""

LATE_S: Final = 0.25
"""Seconds by which each piece is late while a link is."""

SLOW_S: Final = 0.05
"""Seconds that each small piece takes while a link is slow."""


class Spawns(Protocol):
    """Who runs a task, and hears what it raises."""

    def __call__(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]: ...


class Faults:
    """Carries faults out. `counts` says how often each was, `mended` is true when none lasts any more."""

    def __init__(
        self,
        servers: Sequence[Process],
        workers: Sequence[Process],
        links: Mapping[str, Link],
        database: Database,
        hosts: Hosts,
        *,
        film: "Film",
        spawn: Spawns,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._servers = servers
        self._workers = workers
        self._links = links
        self._database = database
        self._hosts = hosts
        self._film = film
        self._spawn = spawn
        self._lasting: list[asyncio.Task[None]] = []
        self._over = asyncio.Event()

    @property
    def kills(self) -> int:
        """kill -9, of servers and workers."""
        return self.counts["kill-server"] + self.counts["kill-worker"]

    async def carry_out(self, faults: Sequence[Fault]) -> None:
        """All of them, each at its time or as soon after as somebody can suffer it."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        for fault in faults:
            await asyncio.sleep(start + fault.at_s - loop.time())
            await self._one(fault)

    async def mend(self) -> None:
        """What lasts ends now: everybody goes on, the links are good, every process is up. Raises NotStarted."""
        self._over.set()
        await asyncio.gather(*self._lasting)
        for link in self._links.values():
            link.calm()

    async def _one(self, fault: Fault) -> None:
        what, _, role = fault.kind.partition("-")
        if what in ("kill", "stop", "drain") and role in ("server", "worker"):
            await self._process(fault, what, self._servers if role == "server" else self._workers)
        elif fault.kind in ("sever", "restart"):
            await self._to_the_database(fault)
        elif fault.kind == "cut-host":
            await self._to_a_host(fault)
        else:
            self._to_a_link(fault)

    async def _process(self, fault: Fault, what: str, processes: Sequence[Process]) -> None:
        states = ("up", "stopped") if what == "kill" else ("up",)
        while not (victims := free(processes, *states)):
            if what != "kill":
                return
            await asyncio.sleep(LOOK_S)
        victim = victims[fault.nth % len(victims)]
        self.counts[fault.kind] += 1
        if what == "stop":
            victim.stop(fault.for_s)
            self._last(f"{victim.name}/stopped", self._wake(victim, victim.label, fault.for_s))
            return
        victim.state = "down"  # from now on, for whoever looks
        ends = victim.kill() if what == "kill" else victim.terminate()
        self._last(f"{victim.name}/{what}", self._again(victim, ends, fault.for_s if what == "kill" else 0.0))

    async def _wake(self, victim: Process, label: str, after_s: float) -> None:
        await self._pass(after_s)
        if victim.label == label:
            victim.go_on()

    async def _again(self, victim: Process, ends: Coroutine[Any, Any, None], after_s: float) -> None:
        await ends
        await self._pass(after_s)
        await victim.start()

    def _to_a_link(self, fault: Fault) -> None:
        name = list(self._links)[fault.nth % len(self._links)]
        link = self._links[name]
        self.counts[fault.kind] += 1
        match fault.kind:
            case "cut":
                self._film.emit("fault", proc=None, how=f"{link.cut()} connections to {name} are cut")
                return
            case "reset":
                self._film.emit("fault", proc=None, how=f"{link.reset()} connections to {name} are reset")
                return
            case "half-open":
                link.silence()
                self._film.emit("cut", proc=None, a="everybody", b=name, s=fault.for_s, how="half-open: nobody is told")
            case "slow":
                link.weather.slow_s = SLOW_S
                self._film.emit("clog", proc=None, a="everybody", b=name, s=fault.for_s, delay_ms=SLOW_S * 1000)
            case "late":
                link.weather.delay_s = LATE_S
                self._film.emit("clog", proc=None, a="everybody", b=name, s=fault.for_s, delay_ms=LATE_S * 1000)
            case _:
                link.weather.refusing = True
                self._film.emit("cut", proc=None, a="everybody", b=name, s=fault.for_s, how="new connections refused")
        self._last(f"{name}/{fault.kind}", self._calm(link, fault.for_s))

    async def _calm(self, link: Link, after_s: float) -> None:
        await self._pass(after_s)
        link.calm()

    async def _to_a_host(self, fault: Fault) -> None:
        hosts = self._hosts.cables
        host = hosts[fault.nth % len(hosts)]
        self.counts[fault.kind] += 1
        self._film.emit("cut", proc=None, a=host.name, b="everybody else", s=fault.for_s, how="its cable is pulled out")
        await self._hosts.cut_off(host)
        self._last(f"{host.name}/cut-off", self._bring_back(host, fault.for_s))

    async def _bring_back(self, host: Host, after_s: float) -> None:
        await self._pass(after_s)
        await self._hosts.bring_back(host)
        self._film.emit("mend", proc=None, host=host.name)

    async def _to_the_database(self, fault: Fault) -> None:
        self.counts[fault.kind] += 1
        if fault.kind == "sever":
            count = await self._database.sever()
            self._film.emit("fault", proc=None, how=f"{count} connections to the database are cut")
        else:
            self._film.emit("fault", proc=None, how="the database is restarted")
            await self._database.restart()

    def _last(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._lasting = [task for task in self._lasting if not task.done()]
        self._lasting.append(self._spawn(name, work))

    async def _pass(self, seconds: float) -> None:
        """Wait so long, or until all is mended."""
        try:
            async with asyncio.timeout(seconds):
                await self._over.wait()
        except TimeoutError:
            pass
