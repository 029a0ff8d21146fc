"""Real servers for tests: processes that are started, killed and started again, and a client that trusts nothing."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx

from ..postgres import new_database

ROOT = Path(__file__).parents[2]
STORE = os.environ.get("REATTACH_TEST_STORE", "sqlite")
TIMEOUT_S = 30.0
FAST = {
    "REATTACH_LEASE_S": "0.5",
    "REATTACH_RENEW_S": "0.15",
    "REATTACH_SWEEP_S": "0.1",
    "REATTACH_RETRY_S": "0.1",
    "REATTACH_DRAIN_GRACE_S": "0.2",
    "REATTACH_MCP": "false",  # the SDK takes its time to load
}
# One client for all: making one loads certificates, which costs more than the requests. No connection is used twice,
# because servers are killed here.
CLIENT = httpx.Client(timeout=TIMEOUT_S, limits=httpx.Limits(max_connections=None, max_keepalive_connections=0))
TERMINAL = ("run.completed", "run.failed", "run.cancelled")


@dataclass
class Server:
    """One `reattach serve` process on a database file; `port` stays the same over restarts."""

    database: Path
    port: int
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    arguments: tuple[str, ...] = ()
    folder: Path = ROOT
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "Server":
        environment = {k: v for k, v in os.environ.items() if not k.startswith("REATTACH_")}
        environment |= FAST | dict(self.environment) | {"PYTHONPATH": str(ROOT / ".src"), "PYTHONUNBUFFERED": "1"}
        database = database_url(self.database)
        command = [sys.executable, "-m", "reattach", "serve", "--port", str(self.port), "--database", database]
        self.process = subprocess.Popen(
            [*command, *self.arguments], env=environment, stdout=subprocess.PIPE, text=True, cwd=self.folder
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert re.search(r"listens on http://127\.0\.0\.1:\d+", line), f"the server said {line!r}"
        return self

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def terminate(self) -> None:
        self._end(signal.SIGTERM)

    def send_signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def _end(self, number: int) -> None:
        if self.process is None:
            return
        self.process.send_signal(number)
        self.process.wait(TIMEOUT_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None

    # Requests, in the plainest way.

    def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        return CLIENT.post(self.url + path, json=body if body is not None else {}, headers=headers)

    def get(self, path: str, **headers: str) -> httpx.Response:
        return CLIENT.get(self.url + path, headers=headers)

    def session(self) -> str:
        return str(self.post("/v1/sessions").json()["session_id"])

    def run(self, *steps: Any, session: str | None = None, **fields: Any) -> dict[str, Any]:
        """Start the script agent with these steps; the run as the server answers it."""
        body = {"agent": "script", "input": {"prompt": "go", "steps": list(steps)}, **fields}
        answer = self.post(f"/v1/sessions/{session or self.session()}/runs", body)
        assert answer.status_code == 202, answer.text
        run: dict[str, Any] = answer.json()
        return run

    @contextlib.contextmanager
    def events(self, path: str, cursor: str | None = None) -> Generator["Events", None, None]:
        """Open an event stream."""
        headers = {"Last-Event-ID": cursor} if cursor is not None else {}
        with CLIENT.stream("GET", self.url + path, headers=headers) as answer:
            yield Events(answer)

    @staticmethod
    def blocks(url: str, cursor: str | None = None) -> Iterator["Block"]:
        """The blocks of one connection to any URL."""
        headers = {"Last-Event-ID": cursor} if cursor is not None else {}
        with CLIENT.stream("GET", url, headers=headers) as answer:
            yield from Events(answer)

    def frames(self, run_id: str, cursor: str | None = None) -> list["Block"]:
        """All blocks of a run's stream until the server closes it."""
        with self.events(f"/v1/runs/{run_id}/events", cursor) as events:
            return list(events)


@dataclass(frozen=True)
class Block:
    """One SSE block, as its bytes stood on the wire."""

    event: str
    id: str | None
    data: str

    @property
    def json(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.data)
        return parsed


class Events:
    """The blocks of one response. Strict: anything the contract does not allow is an error here."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.comments = 0
        self.retry: int | None = None

    def __iter__(self) -> Iterator[Block]:
        buffer = b""
        for piece in self.answer.iter_raw():
            buffer += piece
            while b"\n\n" in buffer:
                raw, _, buffer = buffer.partition(b"\n\n")
                block = self._parse(raw)
                if block is not None:
                    yield block
        assert buffer == b"", f"a block was cut: {buffer!r}"

    def _parse(self, raw: bytes) -> Block | None:
        if raw.startswith(b":"):
            self.comments += 1
            return None
        lines = raw.decode().split("\n")
        values: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(": ")
            assert name not in values, raw
            values[name] = value
        if "retry" in values:
            self.retry = int(values["retry"])
        return Block(values["event"], values.get("id"), values["data"])


@lru_cache
def database_url(path: Path) -> str:
    """The database that stands for this path: the file, or with REATTACH_TEST_STORE=postgresql one of its own."""
    return new_database() if STORE == "postgresql" else f"sqlite:///{path}"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
