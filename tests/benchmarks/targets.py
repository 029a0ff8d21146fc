"""What is measured: Reattach and the bare servers behind one face, so that every benchmark treats them alike."""

import itertools
import re
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from .load import Load, Reading
from .machine import Server
from .report import Report

FACTS_BEFORE_TEXT: Final = 5
"""Frames before the first text of a run: created, claimed, and the starts of step, message and text."""
WAIT_S_MAX: Final = 120.0
"""Seconds to wait for a run to get somewhere."""
POLL_S: Final = 0.02
"""Seconds between two looks."""


@dataclass(frozen=True)
class Plan:
    """How much to measure: all of it, or a tenth to see that everything works."""

    repeats: int
    quick: bool

    def size(self, full: int, quick: int) -> int:
        """A number of frames, readers or rounds."""
        return quick if self.quick else full


@dataclass
class Bench:
    """What every benchmark is given."""

    plan: Plan
    load: Load
    directory: Path
    report: Report

    def __post_init__(self) -> None:
        self._numbers = itertools.count(1)

    def new_path(self, suffix: str) -> Path:
        """A file name nobody has used."""
        return self.directory / f"{next(self._numbers)}{suffix}"


@dataclass(frozen=True)
class Produced:
    """A started run of the producer: where it is followed, and how it is told to go on."""

    events: str
    texts: int
    gate: Path
    run_id: str = ""

    def wait(self) -> None:
        """Wait until the producer stands at its gate."""
        deadline = time.monotonic() + WAIT_S_MAX
        while not self.gate.exists() and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def go(self) -> None:
        """Open the gate once."""
        self.wait()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"1", str(self.gate))


class Target(Protocol):
    """A server that runs the producer and streams what it yields."""

    @property
    def server(self) -> Server: ...

    def start(self, *, frames: int, bursts: int = 1, rate: float | None = None, hold: bool = False) -> Produced: ...


class Bare:
    """One of the bare servers: `memory` or `starlette`."""

    def __init__(self, bench: Bench, server: Server, kind: str) -> None:
        self._bench = bench
        self._kind = kind
        self.server = server

    def start(self, *, frames: int, bursts: int = 1, rate: float | None = None, hold: bool = False) -> Produced:
        """Start a producer at its gate."""
        gate = self._bench.new_path(".gate")
        script = {"gate": str(gate), "frames": frames, "bursts": bursts, "rate": rate, "hold": hold}
        log = self.server.http.post("/runs", json=script).raise_for_status().json()["log"]
        return Produced(f"/{self._kind}/{log}", frames * bursts, gate)


class Reattach:
    """`reattach serve` on a database of its own."""

    def __init__(self, bench: Bench, server: Server, database: Path) -> None:
        self._bench = bench
        self.server = server
        self.database = database

    def start(self, *, frames: int, bursts: int = 1, rate: float | None = None, hold: bool = False) -> Produced:
        """Start a run of the producer, which then stands at its gate."""
        gate = self._bench.new_path(".gate")
        script = {"gate": str(gate), "frames": frames, "bursts": bursts, "rate": rate, "hold": hold}
        run_id = self.start_run("bench", script)
        return Produced(f"/v1/runs/{run_id}/events", frames * bursts, gate, run_id)

    def start_run(self, agent: str, script: object) -> str:
        """A run in a session of its own."""
        session = self.server.http.post("/v1/sessions", json={}).raise_for_status().json()["session_id"]
        body = {"agent": agent, "input": script}
        run_id: str = (
            self.server.http.post(f"/v1/sessions/{session}/runs", json=body).raise_for_status().json()["run_id"]
        )
        return run_id

    def view(self, run_id: str) -> dict[str, Any]:
        """A run as it is now."""
        fields: dict[str, Any] = self.server.http.get(f"/v1/runs/{run_id}").raise_for_status().json()
        return fields

    def wait_for_head(self, run_id: str, seq: int) -> dict[str, Any]:
        """Wait until a run's log has come that far."""
        deadline = time.monotonic() + WAIT_S_MAX
        while (view := self.view(run_id))["head_seq"] < seq and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return view

    def wait_for_end(self, run_id: str) -> dict[str, Any]:
        """Wait until a run has ended."""
        deadline = time.monotonic() + WAIT_S_MAX
        while (view := self.view(run_id))["ended_at"] is None and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return view

    def cursor(self, run_id: str, seq: int) -> str:
        """The cursor of one frame, as the stream gave it."""
        with self.server.http.stream("GET", f"/v1/runs/{run_id}/events", params={"after": str(seq - 1)}) as stream:
            for line in stream.iter_lines():
                if found := re.fullmatch(r"id: (\S+)", line):
                    return found[1]
        message = f"{run_id} has no frame {seq}"
        raise RuntimeError(message)


@contextmanager
def bare(bench: Bench, kind: str = "memory") -> Generator[Bare]:
    """A bare server."""
    with Server(["tests.benchmarks.bare"], bench.directory / "servers.log") as server:
        yield Bare(bench, server, kind)


@contextmanager
def reattach(bench: Bench, *arguments: str, url: str = "") -> Generator[Reattach]:
    """A fresh server, on an empty file where no database is named."""
    database = bench.new_path(".db")
    place = url or f"sqlite:///{database}"
    command = ["reattach", "serve", "--agents", "tests.benchmarks.agents:bench", "--database", place]
    with Server([*command, *arguments], bench.directory / "servers.log") as server:
        yield Reattach(bench, server, database)


def delivered(
    bench: Bench, what: str, target: Target, run: Produced, readers: int, *, quorum: int | None = None
) -> tuple[Reading, float]:
    """Attach readers, let the producer go, and see them to the end; also the server's CPU seconds meanwhile.

    With `quorum` the next text is made when so many readers (0: all) have the last one.
    """
    gate = None if quorum is None else run.gate
    attached = bench.load.readers(
        target.server.port, [run.events], readers=readers, texts=run.texts, gate=gate, quorum=quorum or 0
    )
    cpu_before = target.server.cpu_s
    run.go()
    reading = bench.report.delivered(what, attached.finish())
    return reading, target.server.cpu_s - cpu_before
