"""The world of a chaos: processes, links, people, and those who judge what came of it."""

import asyncio
import contextlib
import socket
import traceback
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from ...domain.ports import Store
from ...infrastructure.eventstore import migrate_database, open_store
from ...infrastructure.verify import breaks
from ..violation import Violation
from ..workload.remote import RemoteWorker
from . import history
from .databases import Database
from .faults import Faults
from .film import Film
from .hosts import Host, NoHosts, hosts_of
from .judge import Judge
from .outcome import Options, Outcome
from .plan import plan
from .processes import LEASE_S, Command, NotStarted, Process
from .proxy import Link
from .rows import all_runs, rows_of
from .sockets import Sockets
from .story import Story

SETTLE_S: Final = 120.0
"""Seconds after the last fault within which everybody must be served and every run must have ended."""

READERS_A_STORY: Final = 5
"""Readers of one session and its run: one of the session, the others of the run."""

REMOTES: Final = 4
"""Workers that speak HTTP, beside the processes."""

REPORT_S: Final = 1.0
"""Seconds between two reports of progress."""

AGENTS: Final = f"{__package__}.agents:agents"
"""What servers offer and workers run."""

LOOPBACK: Final = "127.0.0.1"
"""Where the links in front of servers listen: the people are on this machine."""

CLIENTS_TOKEN: Final = "of-the-people"
WORKERS_TOKEN: Final = "of-the-workers"
TOKENS: Final = {"REATTACH_TOKENS": f"default={CLIENTS_TOKEN},*={WORKERS_TOKEN}"}
"""Who may what, where servers listen on more than loopback."""

WORKERS_PATHS: Final = ("/output", "/suspend", "/complete", "/fail", "/release")
"""How the paths of workers end."""

ACTIVE: Final = ("pending", "running", "waiting_for_approval")


class World:
    """Everything of one chaos. `outcome` grows while it lives; `film` holds the end of what happened."""

    def __init__(self, options: Options, database: Database, report: Callable[[Outcome], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.seed = options.seed
        self.healed = False
        self.film = Film(self.loop.time)
        self.outcome = Outcome()
        self._options = options
        self._database = database
        self._report = report
        self._failed: asyncio.Future[None] = self.loop.create_future()
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._links: dict[str, Link] = {}
        self._ways: Mapping[str, Link] = {}
        self._stories: list[Story] = []
        self._told = 0
        headers = _credentials if options.hosts else _nothing
        self.network = Sockets(lambda: {name: (LOOPBACK, link.port) for name, link in self._links.items()}, headers)

    # What stories need.

    def mark(self, name: str) -> None:
        """Something interesting was reached."""
        self.outcome.marks[name] += 1

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """A task of the world. What it raises ends the world."""
        task = self.loop.create_task(self._lived(work), name=name)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task

    def fail(self, error: Exception) -> None:
        """The first error ends it."""
        if not self._failed.done():
            self._failed.set_exception(error)

    async def _lived(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001  - told apart where the world ends
            self.fail(error)

    # From the beginning to the end.

    async def run(self) -> Outcome:
        """Live. Nothing is raised: what went wrong stands in the outcome."""
        started = self.loop.time()
        reporting = self.spawn("progress", self._progress(started))
        try:
            migrate_database(self._database.url)
            async with (
                hosts_of(self._options.hosts) as self._hosts,
                self._database.opened(self._hosts.bridge) as (url, self._ways),
                self._processes(url) as (servers, workers),
                open_store(self._database.url) as store,
            ):
                living = self.loop.create_task(self._live(servers, workers, store))
                await asyncio.wait((living, self._failed), return_when=asyncio.FIRST_COMPLETED)
                living.cancel()
                try:
                    with contextlib.suppress(asyncio.CancelledError):
                        await living
                    for process in (*servers, *workers):
                        process.check_log()
                finally:
                    await history.write_open(self._options.folder, self._stories, store)
        except Violation as violation:
            self.outcome.violation = violation
        except (NotStarted, NoHosts) as error:
            self.outcome.trouble = str(error)
        except Exception:  # noqa: BLE001  - a bug of the harness says nothing about the code under test
            self.outcome.trouble = traceback.format_exc()
        if self._failed.done() and (first := self._failed.exception()) is not None:
            self._blame(first)
        reporting.cancel()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.outcome.elapsed_s = self.loop.time() - started
        return self.outcome

    def _blame(self, error: BaseException) -> None:
        if isinstance(error, Violation):
            self.outcome.violation = error
        elif isinstance(error, NotStarted):
            self.outcome.trouble = str(error)
        else:
            self.outcome.trouble = "".join(traceback.format_exception(error))

    @asynccontextmanager
    async def _processes(self, url: str) -> AsyncGenerator[tuple[list[Process], list[Process]], None]:
        servers: list[Process] = []
        for n in range(self._options.servers):
            port = free_port()
            host = self._host(n)
            link = self._links[f"n{n}"] = Link(partial(_address, host, port))
            await link.open()
            serve = ("serve", "--no-worker", "--host", host.address, "--port", str(port))
            servers.append(self._process(f"n{n}", url, host, *serve))
        workers = [self._process(f"w{n}", url, self._host(n), "worker") for n in range(self._options.workers)]
        try:
            await asyncio.gather(*(process.start() for process in (*servers, *workers)))
            yield servers, workers
        finally:
            for process in (*servers, *workers):
                if process.alive:
                    await process.kill()
            for link in self._links.values():
                await link.close()

    def _host(self, n: int) -> Host:
        return self._hosts.all[n % len(self._hosts.all)]

    def _process(self, name: str, url: str, host: Host, command: str, *arguments: str) -> Process:
        line = (command, "--database", url, "--agents", AGENTS, *arguments)
        command_line = Command(line, TOKENS if host.open else {}, host.prefix, self._options.planted)
        return Process(name, command_line, self._options.folder, self.film, self.fail)

    async def _live(self, servers: Sequence[Process], workers: Sequence[Process], store: Store) -> None:
        links = {**self._links, **self._ways}
        faults = Faults(servers, workers, links, self._database, self._hosts, film=self.film, spawn=self.spawn)
        self.outcome.faults = faults.counts
        self.outcome.phase = "faults"
        self.film.emit("phase", name="faults")
        slots = max(1, self._options.readers // READERS_A_STORY)
        people = [self.spawn(f"slot{n}", self._slot(n, slots, store)) for n in range(slots)]
        ground = Story(self, 1_000_000, 0)  # where those stand who belong to no story
        remotes = [ground.spawn(f"x{n}", RemoteWorker(ground, f"x{n}").live()) for n in range(REMOTES)]
        options = self._options
        can = possible(options, self._database)
        await faults.carry_out(options.script or plan(options.seed, options.seconds, options.kills, can))
        self.outcome.phase = "settling"
        self.film.emit("phase", name="heal")
        self.healed = True
        await faults.mend()
        await self._settle(people, store)
        for task in remotes:
            task.cancel()
        self.outcome.phase = "checking"
        await asyncio.gather(*(process.terminate() for process in (*servers, *workers)))
        self._verify()

    async def _slot(self, n: int, slots: int, store: Store) -> None:
        """One story after the other, until the faults are over."""
        for number in range(n, 1_000_000, slots):
            if self.healed:
                return
            story = Story(self, number, max(2, self._options.readers // slots))
            self._stories.append(story)
            await story.live()
            await self._judge(story, store)
            self._stories.remove(story)

    async def _judge(self, story: Story, store: Store) -> None:
        """Raises a Violation. What was recorded is let go then."""
        if story.session_id is None:
            return
        rows = await rows_of(store, story.session_id)
        judge = Judge(rows, LEASE_S, self.mark)
        try:
            judge.judge(story.told, story.board, story.deliveries, story.followings)
        except Violation:
            history.write(self._options.folder, story, rows)
            self._stories.remove(story)
            raise
        finally:
            self.film.commits(rows, judge)
        outcome = self.outcome
        outcome.stories += 1
        outcome.runs += len(story.told)
        outcome.streams += len(story.deliveries) + len(story.followings)
        outcome.frames += sum(one.frames for one in story.deliveries) + sum(one.frames for one in story.followings)
        outcome.decisions += len(story.board.decisions)

    async def _settle(self, people: Sequence[asyncio.Task[None]], store: Store) -> None:
        """Everybody is served, and every run has ended."""
        _, pending = await asyncio.wait(people, timeout=SETTLE_S)
        left = [view.run for status in ACTIVE for view in await all_runs(store, {"status": status})]
        if left:
            detail = f"{left[0].run_id} is still {left[0].status} {SETTLE_S:.0f} s after the last fault."
            raise Violation("run-stuck", detail, run_id=left[0].run_id)
        if pending:
            waiting = sorted(task.get_name() for story in self._stories for task in story.waiting())
            detail = f"{', '.join(waiting)} still wait {SETTLE_S:.0f} s after the last fault."
            raise Violation("not-served", detail)

    def _verify(self) -> None:
        """Every record and every row, read once more from the database itself."""
        found = next(breaks(self._database.url), None)
        if found is not None:
            raise Violation("database-damaged", f"{found.stream} seq {found.seq}: {found.what}")

    async def _progress(self, started: float) -> None:
        while True:
            outcome = self.outcome
            outcome.elapsed_s = self.loop.time() - started
            outcome.kills = outcome.faults["kill-server"] + outcome.faults["kill-worker"]
            marks = outcome.marks
            outcome.takeovers = marks["take-over"]
            outcome.resumes = sum(count for name, count in marks.items() if name.startswith("resumed-"))
            self._report(outcome)
            await asyncio.sleep(REPORT_S)


def possible(options: Options, database: Database) -> Sequence[str]:
    """The faults that only this database and these hosts can suffer."""
    return (*database.faults, *(("cut-host",) if options.hosts else ()))


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        port: int = listener.getsockname()[1]
        return port


def _address(host: Host, port: int) -> tuple[str, int]:
    return host.address, port


def _credentials(path: str) -> tuple[tuple[str, str], ...]:
    """Of a client, or of a worker where only workers may."""
    token = WORKERS_TOKEN if path.startswith("/v1/work/") or path.endswith(WORKERS_PATHS) else CLIENTS_TOKEN
    return (("Authorization", f"Bearer {token}"),)


def _nothing(_: str) -> tuple[tuple[str, str], ...]:
    return ()
