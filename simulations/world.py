"""The world of one seed: real service processes, a faulty network and store, people, and those who judge them.

Two phases. First everything that the configuration allows goes wrong, and nothing unsafe may happen. Then all of it is
mended, and everything must settle: every run ends, every reader has its last frame, a new run is served promptly, and
nothing is left behind.
"""

import asyncio
import traceback
from collections.abc import Coroutine, Sequence
from contextlib import closing
from contextvars import Context
from functools import partial
from typing import Any, Final

from ..domain.ports import Store
from ..infrastructure.eventstore.writer import Work, Written
from .anyio_patch import patched_anyio
from .bugs import bugs_end
from .config import Config, conditions, draw_config, machines, trouble
from .faults import Machine, Plan, come_to_rest, left_behind, unwell_for
from .guard import guarded
from .limits import small_limits
from .loop import SimLoop, SimulationEscape
from .misuse import ended, hanging
from .network import Network
from .node import SETTINGS, Node
from .oracle import Log, Oracle
from .oracle.delivery import Delivery
from .oracle.expiries import check_expiries
from .oracle.following import Following
from .oracle.handed import handed
from .oracle.outcomes import check_outcomes
from .oracle.outputs import check_outputs
from .oracle.races import check_races
from .planted import planted_bug, store_of
from .process import EPOCH, Process, SimClock, SimIds
from .report import Report
from .store import open_over
from .store.faulty import FaultyStore, Shore, Way
from .store.opening import core_of, kind_of
from .tape import Tape
from .teardown import quiet_gc
from .telling import plain, running, tell_fact, told_commit, unhandled
from .trace import Trace
from .violation import Violation
from .watch import watched
from .workload.agents import SPOKEN, world_agents
from .workload.board import Board
from .workload.looking import Looking
from .workload.people import lives, probes
from .workload.remote import RemoteWorker
from .workload.users import Users

SETTLE_S: Final = 60.0
"""Seconds after the healing within which everything must have settled."""

STEPS_MAX: Final = 150_000
"""Steps of one world. A hundred times what most need."""


def run_world(
    tape: Tape, *, planted: str | None = None, agents: str | None = None, store: str | None = None, tracing: bool = True
) -> Report:
    """Run the world that this tape describes, from its start to its end or to the first broken promise."""
    tape.planted = planted
    with planted_bug(planted), small_limits(tape), quiet_gc():
        return _lived(tape, agents, store or store_of(planted), tracing=tracing)


def _lived(tape: Tape, agents: str | None, store: str | None, *, tracing: bool) -> Report:
    """A function of its own, so that nothing holds the world any more when its garbage is collected."""
    world = World(tape, agents, store, tracing=tracing)
    loop, judge = world.loop, partial(hanging, files=world.users.files) if world.users.agents else None
    with guarded(loop, tape.seed), patched_anyio(), bugs_end(loop), watched(loop, judge), closing(loop):
        world.run()
    return world.report()


class World:
    """Everything of one seed. Clients, faults and checkers see it through small protocols of their own."""

    def __init__(self, tape: Tape, agents: str | None, store: str | None, *, tracing: bool) -> None:
        self.tape = tape
        self.config: Config = draw_config(tape, kind_of(store))
        config = self.config
        self.loop = SimLoop(tape, config.strategy, config.density, max_steps=STEPS_MAX)
        knobs = {"faults": list(config.faults), "store": config.store, "strategy": config.strategy}
        self.trace = Trace(self.loop.time, running, on=tracing, seed=tape.seed, planted=tape.planted, knobs=knobs)
        self.network = Network(self.loop, tape, self.trace, conditions(config, tape))
        self.watchdog = config.watchdog
        self.healed = False
        self._well_since = EPOCH
        self.marks: dict[str, int] = {}
        self.board = Board()
        self._found: Violation | None = None
        self._trouble: str | None = None
        self._clock = SimClock(self.loop)
        self._core, self._end_core = core_of(store or config.store, self._clock)
        self._core.on_commit = self._committed
        self.oracle = Oracle(
            self._core,
            self._clock.now,
            self.mark,
            retention_s=SETTINGS.idempotency_retention_s,
            rows=self._core,
            tell=partial(tell_fact, self.trace),
            grace_s=SETTINGS.session_grace_s,
        )
        self.log: Log = self.oracle.log
        self.delivery = partial(Delivery, self.log, mark=self.mark)
        self.following = partial(Following, self.log)
        self.users = Users.load(agents)
        agents_here = world_agents(self.users.agents, elsewhere=config.remote_workers > 0)
        self._agents = handed(agents_here, self.log, self._core, self.loop.abort)
        self._shore = Shore(self.loop, tape, self.trace, trouble(config, tape), self._core, self.oracle.next_end)
        self._sources = 0
        self._machines = [self._machine(name, serves=serves) for name, serves in machines(config)]
        self._plans = [Plan(self, machine) for machine in self._machines]
        self._clients: list[str] = []

    # What clients and faults need.

    def mark(self, name: str) -> None:
        """Something interesting was reached."""
        if name not in self.marks:
            self.trace.emit("mark", name=name)
        self.marks[name] = self.marks.get(name, 0) + 1

    def clients(self) -> Sequence[str]:
        """Their names."""
        return self._clients

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of the world. A Violation in it ends the world; anything else is a bug of the harness."""
        return self.loop.create_task(self._lived(work), name=name, context=Context())

    async def _lived(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001  - told apart where the world ends
            self.loop.abort(error)

    # The processes.

    def _machine(self, name: str, *, serves: bool) -> Machine:
        node = Node(self.network, self._open_store, self._agents, self._clock_and_ids, serves=serves)
        skew_s = self.tape.between(f"config.skew:{name}", 0.0, 8.0, 9) if self.config.has("skew") else 0.0
        if skew_s and self.tape.chance(f"config.skew-back:{name}", 0.5):
            skew_s = -skew_s
        process = Process(self.loop, name, node.main, skew_s)
        process.on_down.append(lambda incarnation: self._down(process, incarnation.label))
        return Machine(process, node, [])

    def _down(self, process: Process, label: str) -> None:
        self.trace.emit("down", proc=label, how="end")
        self.network.down(process)

    async def _open_store(self, process: Process) -> Store:
        machine, plan = next(p for p in zip(self._machines, self._plans, strict=True) if p[0].process is process)
        self.trace.emit("up", proc=process.label)
        way = Way(self._shore, process, plan.crash)
        store = open_over(self._core, way.committer, way.wakeups)
        await store.start()
        machine.ways.append(way)
        return FaultyStore(store, way)

    def _clock_and_ids(self, process: Process) -> tuple[SimClock, SimIds]:
        self._sources += 1
        clock = SimClock(self.loop, process)
        return clock, SimIds(clock, self._sources)

    # Commits.

    def _committed(self, group: Sequence[Work], written: Written) -> None:
        if written.news:
            self.trace.emit("commit", **(told_commit(self._writer(), group, written) if self.trace.on else {}))
        try:
            self.oracle.committed(group, written)
        except Exception as error:  # noqa: BLE001  - told apart where the world ends
            self.loop.abort(error)
        if written.news:
            for machine in self._machines:
                if machine.way is not None and not machine.way.committer.writing and machine.process.up:
                    machine.way.hint()

    def _writer(self) -> str:
        return next((m.process.label for m in self._machines if m.way and m.way.committer.writing), "world")

    # The phases.

    def run(self) -> None:
        """Live from the first instant to the last, or to the first broken promise."""
        main = self.loop.create_task(self._main(), name="world", context=Context())
        try:
            self.loop.run_until_complete(main)
            if self.loop.unhandled:
                self._found = unhandled(self.loop.unhandled[0])
        except Violation as violation:
            self._found = violation
        except (Exception, SimulationEscape, SystemExit) as error:  # noqa: BLE001  - told apart there
            self._found = ended(error, self.users.files)
            self._trouble = None if self._found else traceback.format_exc()
        if self._found is not None:
            self.trace.emit("violation", name=self._found.name, detail=self._found.detail, **plain(self._found.fields))
        self.trace.finish(schedule=self.loop.schedule_digest, marks=self.marks)
        self.loop.close()
        self._end_core()

    async def _main(self) -> None:
        self.trace.emit("phase", name="faults")
        for machine in self._machines:
            machine.process.start()
        people, remotes = self._people(), self._remotes()
        planned = [self.spawn(f"{plan.name}/plan", plan.run()) for plan in self._plans]
        await asyncio.wait([*people, *planned], timeout=self.config.faulty_s)
        self._heal(planned)
        await self._settle(people)
        for task in remotes:  # every run of theirs has ended: they would ask in vain
            task.cancel()
        await self._probe()
        await self._rest()

    def _people(self) -> list[asyncio.Task[None]]:
        everybody = lives(self, self.config, self.board, self.users)
        self._clients += everybody
        return [self.spawn(name, life) for name, life in everybody.items()]

    def _remotes(self) -> list[asyncio.Task[None]]:
        names = [f"x{n}" for n in range(self.config.remote_workers)]
        self._clients += names
        return [self.spawn(name, RemoteWorker(self, name).live()) for name in names]

    def _heal(self, planned: Sequence[asyncio.Task[None]]) -> None:
        self.trace.emit("phase", name="heal")
        self.healed = True
        self._well_since = self._clock.now() + unwell_for(self._machines, self._shore.trouble, self.loop.time())
        for task in planned:
            task.cancel()
        self.network.mend()
        self._shore.trouble.end()
        for plan in self._plans:
            plan.heal()

    async def _settle(self, people: Sequence[asyncio.Task[None]]) -> None:
        """Everybody is served, and every run has ended."""
        until = self.loop.time() + SETTLE_S
        _, pending = await asyncio.wait(people, timeout=SETTLE_S)
        while (self.log.unended() or self.oracle.handing()) and self.loop.time() < until:  # noqa: ASYNC110  - a late request's; costs no time
            await asyncio.sleep(1.0)
        runs, handoff = self.log.unended(), self.oracle.handing()
        if runs:
            run = self.oracle.safety.runs[runs[0]]
            detail = f"{runs[0]} is still {run.now.status} {SETTLE_S:.0f} s after the last fault."
            raise Violation("run-stuck", detail, run_id=runs[0])
        if handoff:
            raise Violation("handoff-stuck", f"{handoff} has not ended {SETTLE_S:.0f} s after the last fault.")
        if pending:
            names = ", ".join(sorted(task.get_name() for task in pending))
            raise Violation("not-served", f"{names} still wait {SETTLE_S:.0f} s after the last fault.")
        self.oracle.settled()
        check_races(self.board.decisions, self.board.endings, self.oracle.safety)
        check_outputs(self._core, self.oracle.safety.runs, SPOKEN, self.users.agents)
        check_outcomes(self.log, self._core)
        check_expiries(self.log, self._well_since)
        self.users.judge_all(self._core, self.log.all())

    async def _probe(self) -> None:
        """What is new is served promptly: a wake-up that was lost for good shows here."""
        await asyncio.sleep(unwell_for(self._machines, self._shore.trouble, self.loop.time()).total_seconds())
        self.trace.emit("phase", name="probe")
        for probe, most_s in probes(self, self.board, self._machines):
            _, pending = await asyncio.wait([self.spawn("probe", probe)], timeout=most_s)
            if pending:
                raise Violation("probe-late", f"What is new was not served within {most_s:.0f} s although all is well.")

    async def _rest(self) -> None:
        """Nothing is left behind, and looking changes nothing."""
        self.trace.emit("phase", name="rest")
        await come_to_rest(self._machines, self.loop)
        await Looking(self, self.board, "look", self._core).live()
        if (left := left_behind(self._machines, self.loop.waiting())) is not None:
            raise left

    def report(self) -> Report:
        """What came of it."""
        return Report(
            seed=self.tape.seed,
            planted=self.tape.planted,
            violation=self._found,
            trouble=self._trouble,
            decisions=self.tape.decisions,
            trace=self.trace,
            marks=self.marks,
            steps=self.loop.steps,
            simulated_s=self.loop.time(),
            exchanges=self.network.exchanges,
            commits=self._core.commits,
        )
