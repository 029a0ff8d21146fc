"""The composition root: the one place where ports meet their implementations."""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import uvicorn
from starlette.types import ASGIApp

from ..domain.agent import Agent
from ..domain.application import Application
from ..domain.identifiers import RUN_PREFIX, identifier
from ..domain.ports import Clock, Ids, Store
from ..domain.requests import Limits
from ..infrastructure.clock import SystemClock, UuidV7
from ..infrastructure.eventstore import migrate_database, open_store
from ..infrastructure.migrations import HEAD
from ..infrastructure.settings import Settings
from ..infrastructure.settings import load_settings as _load_settings
from ..infrastructure.verify import breaks
from .agents.loading import load_agents
from .agents.remote import RemoteAgent
from .http.app import create_app
from .http.auth import Tokens
from .http.body import HttpLimits
from .http.broadcaster import Broadcaster, StreamTimes
from .http.connection import Connection
from .http.stream import RunEvents, SessionEvents
from .mcp import is_installed
from .stopping import any_of, leave_behind, stop_asked, until_stopped
from .worker import Worker, WorkerTimes
from .working import attend

if TYPE_CHECKING:
    from .mcp.served import Served

DEFAULT_AGENTS: Final = "reattach.adapters.agents.demo:agents"
"""Loaded when no agents are named: what a first user meets."""

STREAMS_CLOSE_S: Final = 1.0
"""Seconds connections get to close after they were told to."""

T = TypeVar("T")

_log: Final = logging.getLogger("reattach")


def load_settings(**overrides: Any) -> Settings:
    """The settings of this process: these overrides, then the environment, then the defaults."""
    return _load_settings(os.environ, overrides)


def verified(settings: Settings) -> Iterator[str]:
    """What is wrong in the database, a line each; nothing for a healthy one. Raises as `verify.breaks` does."""
    return (f"{found.stream} seq {found.seq}: {found.what}" for found in breaks(settings.database))


def migrated(settings: Settings) -> str:
    """Bring the database to this version's schema, and say what was done. Raises as `migrate_database` does."""
    before = migrate_database(settings.database)
    if before == HEAD:
        return f"{settings.database_shown} has the schema {HEAD} already."
    return f"{settings.database_shown} now has the schema {HEAD} ({before or 'nothing'} before)."


def system_clock() -> Clock:
    """The machine's clock."""
    return SystemClock()


def system_ids() -> Ids:
    """New identifiers from the machine's randomness."""
    return UuidV7(SystemClock())


@dataclass(frozen=True, slots=True)
class Service:
    """One process of Reattach, put together: what it serves and what it runs."""

    store: Store
    application: Application
    broadcaster: Broadcaster
    worker: Worker | None
    app: ASGIApp

    def start(self) -> None:
        """Begin to stream and to work."""
        self.broadcaster.start()
        if self.worker is not None:
            self.worker.start()

    async def drain(self, grace_s: float) -> list[str]:
        """Ask readers to reconnect elsewhere, let runs finish or hand them back; the runs whose agents did not stop."""
        self.broadcaster.drain()
        return await self.worker.drain(grace_s) if self.worker is not None else []

    def stop(self) -> None:
        """The end; nothing is streamed any more."""
        self.broadcaster.stop()


def compose(
    store: Store,
    settings: Settings,
    clock: Clock,
    ids: Ids,
    *,
    agents: Mapping[str, Agent],
    name: str,
    mcp: ASGIApp | None = None,
) -> Service:
    """A service over an open store. `name` is its worker's, and must be no other process's. `mcp` answers /mcp."""
    application = _application(store, settings, ids, agents)
    times = StreamTimes(keepalive_s=settings.keepalive_s, retry_s=settings.retry_s)
    broadcaster = Broadcaster(store, clock, times)
    run_events = RunEvents(application, broadcaster)
    app = create_app(
        application,
        tokens=Tokens.parse(settings.tokens),
        run_events=run_events,
        session_events=SessionEvents(application, broadcaster),
        start_stream=run_events.stream,
        draining=lambda: broadcaster.draining,
        limits=HttpLimits(body_bytes_max=settings.body_bytes_max),
        mcp=mcp,
    )
    worker = Worker(application, name, _here(agents), _worker_times(settings)) if settings.worker else None
    return Service(store, application, broadcaster, worker, app)


def _application(store: Store, settings: Settings, ids: Ids, agents: Mapping[str, Agent]) -> Application:
    limits = Limits(
        lease_s=settings.lease_s,
        approval_timeout_s=settings.approval_timeout_s,
        idempotency_retention_s=settings.idempotency_retention_s,
        session_lease_s=settings.session_lease_s,
        session_grace_s=settings.session_grace_s,
        handoff_timeout_s=settings.handoff_timeout_s,
        summary_lease_s=settings.summary_lease_s,
    )
    return Application(store, ids, agents, limits)


def _here(agents: Mapping[str, Agent]) -> Mapping[str, Agent]:
    """Those that our own workers run."""
    return {name: agent for name, agent in agents.items() if not isinstance(agent, RemoteAgent)}


def _process_name(ids: Ids) -> str:
    return f"{socket.gethostname()}:{os.getpid()}:{identifier(RUN_PREFIX, ids.uuid())[-6:]}"


def _worker_times(settings: Settings) -> WorkerTimes:
    return WorkerTimes(
        renew_s=settings.renew_s,
        sweep_s=settings.sweep_s,
        linger_s=settings.linger_s,
        concurrency=settings.concurrency,
    )


@contextlib.asynccontextmanager
async def running(settings: Settings, replaced: Callable[[], object] = lambda: None) -> AsyncGenerator[Service, None]:
    """A started service; closed at the end. Once `replaced` is called (see `open_store`), only that is left."""
    clock, ids = system_clock(), system_ids()
    agents = load_agents(settings.agents or DEFAULT_AGENTS)
    mcp = _mcp(settings, ids)
    async with open_store(settings.database, durability=settings.durability, replaced=replaced) as store:
        service = compose(store, settings, clock, ids, agents=agents, name=_process_name(ids), mcp=mcp)
        async with mcp.serving(service.app) if mcp is not None else contextlib.nullcontext():
            service.start()
            try:
                yield service
            finally:
                service.stop()


def _mcp(settings: Settings, ids: Ids) -> "Served | None":
    """The MCP tools, where their extra is installed."""
    if not settings.mcp or not is_installed():
        return None
    from .mcp.served import Served  # noqa: PLC0415  - the SDK is no part of the base install

    return Served(ids, body_bytes_max=settings.body_bytes_max, loopback=not settings.tokens)


class _Server(uvicorn.Server):
    """uvicorn without its own idea of signals (a drain comes first), which says when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def serve(settings: Settings, announce: Callable[[str], None] = print) -> None:
    """Serve until SIGTERM or SIGINT, then drain: streams are told to reconnect, runs finish or are handed back.

    A database that had a fail-over is served anew: what this process knew of it may never have been.
    """
    stop = stop_asked()
    await until_stopped(stop, lambda replaced: _serve(settings, stop, replaced, announce))


async def _serve(
    settings: Settings, stop: asyncio.Event, replaced: asyncio.Event, announce: Callable[[str], None]
) -> None:
    loop = asyncio.get_running_loop()
    stuck: list[str] = []
    async with running(settings, lambda: loop.call_soon_threadsafe(replaced.set)) as service:
        server = _Server(_uvicorn_config(service.app, settings))
        serving = loop.create_task(server.serve())
        ending = loop.create_task(any_of(stop, replaced))
        listening = loop.create_task(server.listening.wait())
        try:
            await asyncio.wait((serving, listening), return_when=asyncio.FIRST_COMPLETED)
            if server.started:
                announce(_greeting(server, service, settings))
            await asyncio.wait((serving, ending), return_when=asyncio.FIRST_COMPLETED)
            _log.info("draining")
            stuck = await service.drain(0.0 if replaced.is_set() else settings.drain_grace_s)
        finally:
            ending.cancel()
            listening.cancel()
            server.should_exit = True
            await serving
    leave_behind(stuck)


async def work(settings: Settings, announce: Callable[[str], None] = print) -> None:
    """Run agents without a server until SIGTERM or SIGINT, then drain: runs finish or are handed back."""
    stop = stop_asked()
    await until_stopped(stop, lambda replaced: _work(settings, stop, replaced, announce))


async def _work(
    settings: Settings, stop: asyncio.Event, replaced: asyncio.Event, announce: Callable[[str], None]
) -> None:
    ids, agents = system_ids(), load_agents(settings.agents or DEFAULT_AGENTS)
    notice = asyncio.get_running_loop().call_soon_threadsafe
    async with open_store(
        settings.database, durability=settings.durability, replaced=lambda: notice(replaced.set)
    ) as store:
        application = _application(store, settings, ids, agents)
        worker = Worker(application, _process_name(ids), _here(agents), _worker_times(settings))
        announce(
            f"Reattach works as {worker.name} (agents: {', '.join(agents)}; database: {settings.database_shown}; "
            f"at most {settings.concurrency} runs at once)"
        )
        stuck = await attend(worker, stop, replaced, settings.drain_grace_s, announce)
    leave_behind(stuck)


def _greeting(server: _Server, service: Service, settings: Settings) -> str:
    host, port = server.servers[0].sockets[0].getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    agents = ", ".join(service.application.agents)
    return f"Reattach listens on http://{host}:{port} (agents: {agents}; database: {settings.database_shown})"


def _uvicorn_config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        http=Connection,
        ws="none",
        proxy_headers=False,
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=int(STREAMS_CLOSE_S),
        backlog=2048,
    )


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run the process's main coroutine on the fastest loop that is installed."""
    try:
        import uvloop  # noqa: PLC0415  - optional where it does not build
    except ImportError:
        return asyncio.run(work)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)
