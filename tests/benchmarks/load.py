"""The load client: load.c, compiled when first needed; without a C compiler, its slower twin in Python."""

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from .machine import CLIENT_CPU, ROOT, start_pinned

SOURCE: Final = Path(__file__).with_name("load.c")
SETTLE_S: Final = 0.3
"""Seconds between the last reader's response head and the start of a measurement."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What all readers of one measurement saw, in sum. Times are producer -> reader."""

    readers: int
    ready_s: float
    frames: int
    texts: int
    payload_bytes: int
    lost: int
    duplicated: int
    reordered: int
    text_errors: int
    controls: int
    reconnects: int
    failed: int
    unfinished: int
    refused: int
    incomplete: int
    stopped: bool
    span_s: float
    p50_us: float
    p99_us: float
    max_us: float
    busy: float

    @property
    def faults(self) -> str:
        """What is wrong with the delivery; empty if nothing is."""
        names = ["lost", "duplicated", "reordered", "text_errors", "controls", "failed", "refused", "incomplete"]
        names += [] if self.stopped else ["unfinished"]
        return ", ".join(f"{name}={getattr(self, name)}" for name in names if getattr(self, name))


@dataclass(frozen=True, kw_only=True)
class Request:
    """A GET to be timed. `frames`: how many to read before leaving; 0: an ordinary body; -1: to the stream's end."""

    name: str
    path: str
    frames: int = 0
    after: int = -1
    header: str | None = None
    keep_alive: bool = False


@dataclass(frozen=True, kw_only=True)
class Timing:
    """A request's times: to the first frame (or byte), and to the last."""

    name: str
    first_p50_us: float
    first_p99_us: float
    last_p50_us: float
    frames: int
    errors: int


@dataclass(frozen=True, kw_only=True)
class Acknowledgements:
    """What came of a row of POSTs, one in flight a connection."""

    acknowledged: int
    errors: int
    seconds: float
    p50_us: float
    p99_us: float
    max_us: float


class Readers:
    """Attached readers of event streams; they leave when their streams end, or at `finish(stop=True)`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        ready = _line(process)
        if ready.get("event") != "ready":
            with process:
                message = f"the readers could not attach: {ready}"
            raise RuntimeError(message)
        time.sleep(SETTLE_S)

    def finish(self, *, stop: bool = False) -> Reading:
        """Wait for the streams' ends, or leave now."""
        if stop and self._process.stdin is not None:
            self._process.stdin.close()
        with self._process:
            done = _line(self._process)
        del done["event"]
        return Reading(**done)


class Load:
    """How to start the client. `is_c` False: the client itself may be what limits the figures."""

    def __init__(self, directory: Path) -> None:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        self.is_c = compiler is not None
        twin = [sys.executable, "-m", "tests.benchmarks.slow_load"]
        self._command = twin if compiler is None else [str(_compiled(compiler, directory))]

    def readers(
        self,
        port: int,
        paths: Sequence[str],
        *,
        readers: int = 1,
        texts: int = -1,
        gate: Path | None = None,
        quorum: int = 0,
        stalled: int = 0,
        limit_s: float = 120,
        niceness: int = 0,
    ) -> Readers:
        """Attach readers from the start of the streams.

        With `gate`, the producer is let go on text by text, when `quorum` readers (0: all) have the last one.
        """
        arguments = ["read", f"--readers={readers}", f"--texts={texts}", f"--stalled={stalled}", f"--limit-s={limit_s}"]
        arguments += [f"--gate={gate}", f"--quorum={quorum}"] if gate else []
        prefix = ["nice", "-n", str(niceness)] if niceness else []
        return Readers(self._start(port, [*arguments, *(f"--path={path}" for path in paths)], prefix))

    def first(self, port: int, requests: Sequence[Request], rounds: int) -> dict[str, Timing]:
        """Time these requests in random order, `rounds` times each."""
        arguments = ["first", f"--count={rounds}"]
        for request in requests:
            arguments.append(f"--request={'keep-alive' if request.keep_alive else 'new'}")
            arguments += [f"--name={request.name}", f"--path={request.path}", f"--frames={request.frames}"]
            arguments += [f"--after={request.after}", *([f"--header={request.header}"] if request.header else [])]
        lines = self._results(self._start(port, arguments))
        return {line["name"]: Timing(**line) for line in lines}

    def append(
        self, port: int, paths: Sequence[str], *, header: str, body: str, after: int, count: int, limit_s: float = 60
    ) -> Acknowledgements:
        """Post `count` bodies to each path, the next when the last is acknowledged. In `body`, %S is seq, %T a text."""
        arguments = ["append", f"--header={header}", f"--body={body}", f"--after={after}", f"--count={count}"]
        arguments += [f"--limit-s={limit_s}", *(f"--path={path}" for path in paths)]
        return Acknowledgements(**self._results(self._start(port, arguments))[0])

    def _start(self, port: int, arguments: Sequence[str], prefix: Sequence[str] = ()) -> "subprocess.Popen[str]":
        command = [*prefix, *self._command, *arguments[:1], f"--port={port}", *arguments[1:]]
        return start_pinned(command, CLIENT_CPU, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    @staticmethod
    def _results(process: "subprocess.Popen[str]") -> list[dict[str, Any]]:
        output: IO[str] | None = process.stdout
        with process:
            lines = [json.loads(line) for line in output] if output is not None else []
        if process.returncode != 0 or not lines:
            message = f"the load client gave up with {process.returncode}"
            raise RuntimeError(message)
        for line in lines:
            del line["event"]
        return lines


def _line(process: "subprocess.Popen[str]") -> dict[str, Any]:
    line = process.stdout.readline() if process.stdout is not None else ""
    if not line:
        with process:
            message = f"the load client gave up with {process.wait()}"
        raise RuntimeError(message)
    fields: dict[str, Any] = json.loads(line)
    return fields


def _compiled(compiler: str, directory: Path) -> Path:
    digest = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:12]
    binary = directory / f"load-{digest}"
    if not binary.exists():
        subprocess.run([compiler, "-O2", "-std=gnu11", "-o", binary, SOURCE], check=True, cwd=ROOT)
    return binary
