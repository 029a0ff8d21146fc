"""The service on real ports: one store, one application, as many servers as tests need, in a thread of their own."""

import asyncio
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPResponse
from pathlib import Path
from typing import Any, TypeVar

import httpx
import uvicorn
import uvloop
from starlette.routing import Route, Router

from reattach.adapters.agents.loading import agent
from reattach.adapters.agents.script import ScriptAgent
from reattach.adapters.http.app import create_app
from reattach.adapters.http.auth import Tokens
from reattach.adapters.http.body import HttpLimits
from reattach.adapters.http.broadcaster import Broadcaster, StreamTimes
from reattach.adapters.http.connection import Connection
from reattach.adapters.http.routes import Path as PathApp
from reattach.adapters.http.stream import RunEvents, SessionEvents
from reattach.domain.agent import Context, Output, Text
from reattach.domain.application import Application
from reattach.domain.requests import Limits
from reattach.infrastructure.clock import SystemClock, UuidV7
from reattach.infrastructure.eventstore import open_store

TIMEOUT_S = 10.0
T = TypeVar("T")


@agent(name="plain")
async def plain(context: Context) -> AsyncIterator[Output]:
    """An agent that takes any input. No worker runs here: the tests are the workers."""
    yield Text(str(context.input))


class Backend:
    """Store and application on their own loop; `call` runs a coroutine there, `serve` opens a port."""

    def __init__(self, directory: Path) -> None:
        self.database = directory / "reattach.db"
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="backend")
        self._thread.start()
        assert self._started.wait(TIMEOUT_S)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._live())

    async def _live(self) -> None:
        clock = SystemClock()
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        async with open_store(f"sqlite:///{self.database}", clock) as store:
            agents = {"script": ScriptAgent(), "plain": plain}
            self.application = Application(store, UuidV7(clock), agents, Limits(lease_s=3600))
            self.broadcaster = Broadcaster(store, clock, StreamTimes())
            self.broadcaster.start()
            self._started.set()
            await self._stop.wait()
            self.broadcaster.stop()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Its result, or what it raises."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(TIMEOUT_S)

    def close(self) -> None:
        """Stop everything."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(TIMEOUT_S)

    @contextmanager
    def serve(
        self, tokens: str = "", limits: HttpLimits | None = None, draining: Callable[[], bool] = lambda: False
    ) -> Generator[int]:
        """A server with these settings; its port."""
        runs = RunEvents(self.application, self.broadcaster)
        app = create_app(
            self.application,
            run_events=runs,
            session_events=SessionEvents(self.application, self.broadcaster),
            start_stream=runs.stream,
            tokens=Tokens.parse(tokens),
            draining=draining,
            limits=limits or HttpLimits(),
        )
        self.operations = list(table_of(app))
        listener = socket.create_server(("127.0.0.1", 0))
        config = uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="error",
            timeout_graceful_shutdown=2,
        )
        server = uvicorn.Server(config)
        serving = asyncio.run_coroutine_threadsafe(server.serve([listener]), self._loop)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            serving.result(TIMEOUT_S)


def table_of(app: Router) -> Iterator[tuple[str, str]]:
    """Every method and path that the application knows."""
    for route in app.routes:
        assert isinstance(route, Route)
        assert isinstance(route.app, PathApp)
        yield from ((method, route.path) for method in route.app.operations)


@dataclass
class Api:
    """A client of one server, with the few requests that every test makes."""

    port: int
    token: str | None = None
    http: httpx.Client = field(init=False)

    def __post_init__(self) -> None:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token is not None else {}
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=TIMEOUT_S, headers=headers)

    def get(self, path: str, **options: Any) -> httpx.Response:
        """GET"""
        return self.http.get(path, **options)

    def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """POST of JSON; underscores in header names stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(path, json={} if body is None else body, headers=named)

    def session(self, **metadata: Any) -> str:
        """A new session."""
        answer = self.post("/v1/sessions", {"metadata": metadata})
        assert answer.status_code == 201, answer.text
        session_id: str = answer.json()["session_id"]
        return session_id

    def run(self, session_id: str | None = None, **fields: Any) -> dict[str, Any]:
        """A new run, pending."""
        body = {"agent": "plain", "input": "hello", **fields}
        answer = self.post(f"/v1/sessions/{session_id or self.session()}/runs", body)
        assert answer.status_code == 202, answer.text
        run: dict[str, Any] = answer.json()
        return run

    def start(self, session_id: str, body: Any = None, **headers: str) -> httpx.Response:
        """Start a run, or try to."""
        return self.post(
            f"/v1/sessions/{session_id}/runs", {"agent": "plain", "input": "hi"} if body is None else body, **headers
        )

    def decide(self, run_id: str, *decisions: Any) -> httpx.Response:
        """Decide, or try to."""
        return self.post(f"/v1/runs/{run_id}/decisions", {"decisions": list(decisions)})

    def read(self, run: "dict[str, Any] | Held") -> dict[str, Any]:
        """The run as it is now."""
        run_id = run.run_id if isinstance(run, Held) else run["run_id"]
        found: dict[str, Any] = self.get(f"/v1/runs/{run_id}").raise_for_status().json()
        return found

    def claim(self, run: dict[str, Any], worker: str = "w1") -> "Held":
        """Claim runs until this one is ours; what others left behind is cancelled."""
        while True:
            items = self.post("/v1/work/claim", {"worker": worker, "agents": ["plain", "script"], "limit": 1}).json()[
                "items"
            ]
            assert items, f"{run['run_id']} can't be claimed"
            if items[0]["run"]["run_id"] == run["run_id"]:
                return Held(self, items[0])
            self.post(f"/v1/runs/{items[0]['run']['run_id']}/cancel")


@dataclass
class Held:
    """A run that the test works on."""

    api: Api
    assignment: dict[str, Any]

    @property
    def run_id(self) -> str:
        run_id: str = self.assignment["run"]["run_id"]
        return run_id

    @property
    def epoch(self) -> str:
        return str(self.assignment["run"]["epoch"])

    def message(self, ordinal: int) -> str:
        """The id of the run's message."""
        return f"{self.assignment['run']['session_id']}:{self.run_id}:{ordinal}"

    def part(self, number: int) -> str:
        """The id of the run's part."""
        return f"{self.assignment['run']['turn']}.{self.assignment['run']['attempt']}.{number}"

    def post(self, verb: str, body: Any = None, **headers: str) -> httpx.Response:
        """What its worker says."""
        return self.api.post(f"/v1/runs/{self.run_id}/{verb}", body, **{"Run_Epoch": self.epoch, **headers})

    def output(self, *frames: dict[str, Any], first_seq: int | None = None, **fields: Any) -> httpx.Response:
        """Append frames; by default where the claim said."""
        first = self.assignment["next_seq"] if first_seq is None else first_seq
        return self.post("output", {"first_seq": first, "frames": list(frames), **fields})

    def says(self, text: str, ordinal: int = 1, part: int = 1) -> list[dict[str, Any]]:
        """The frames of one whole message."""
        message = self.message(ordinal)
        return [
            {"type": "message.start", "message_id": message, "role": "assistant"},
            {"type": "text.start", "part": self.part(part), "message_id": message},
            {"type": "text.delta", "part": self.part(part), "text": text},
            {"type": "text.end", "part": self.part(part)},
            {"type": "message.end", "message_id": message, "role": "assistant"},
        ]

    def frames(self) -> list[str]:
        """The run's log so far, as its stream has it."""
        text = self.api.get(f"/v1/runs/{self.run_id}/events", params={"follow": "false"}).text
        return [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]

    def suspend(self, *tools: str) -> list[str]:
        """Ask for approvals; their ids."""
        approvals = [{"tool_call_id": f"c-{tool}", "tool": tool, "arguments": {"for": tool}} for tool in tools]
        answer = self.post("suspend", {"approvals": approvals, "step": 1, "state": {"at": 1}})
        assert answer.status_code == 200, answer.text
        return [approval["approval_id"] for approval in answer.json()["pending_approvals"]]


@contextmanager
def connection(port: int) -> Generator[socket.socket]:
    """A socket for what no client library would send."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as opened:
        yield opened


def answer_on(opened: socket.socket) -> httpx.Response:
    """The next answer that comes on a socket."""
    with HTTPResponse(opened) as response:
        response.begin()
        return httpx.Response(response.status, headers=response.getheaders(), content=response.read())


def problem_of(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of an answer, after checking that it is one."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem: dict[str, Any] = answer.json()
    assert (answer.status_code, problem["code"], problem["status"]) == (status, code, status), answer.text
    assert problem["type"] == f"urn:reattach:problem:{code}"
    assert isinstance(problem["title"], str)
    assert isinstance(problem["detail"], str)
    return problem
