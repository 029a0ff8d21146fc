"""Server processes on the first core, everything that measures on the last; their memory and processor time."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import httpx

ROOT: Final = Path(__file__).parents[2]
CPUS: Final = sorted(os.sched_getaffinity(0))
SERVER_CPU: Final = CPUS[0]
CLIENT_CPU: Final = CPUS[-1]
POLL_S: Final = 0.05
"""Seconds between two looks whether it answers."""
START_S_MAX: Final = 30.0
"""Seconds a server may take to answer its first request."""
STOP_S_MAX: Final = 20.0
"""Seconds a server may take to end after SIGTERM; then it is killed."""


def start_pinned(
    command: Sequence[str],
    cpu: int,
    *,
    stdin: int | None = None,
    stdout: int | IO[str] | None = None,
    stderr: int | IO[str] | None = None,
) -> "subprocess.Popen[str]":
    """Start a process of this checkout on one core. Its threads inherit that: none exists yet."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("REATTACH_")}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / ".src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stdin=stdin, stdout=stdout, stderr=stderr)
    os.sched_setaffinity(process.pid, {cpu})
    return process


def together(modules: Sequence[Sequence[str]], cpu: int) -> float:
    """Run these modules of ours, each a process; the seconds of the slowest.

    They say `ready`, begin at a line on their stdin, all at once, and print how many seconds they took.
    """
    commands = [[sys.executable, "-m", *module] for module in modules]
    processes = [start_pinned(command, cpu, stdin=subprocess.PIPE, stdout=subprocess.PIPE) for command in commands]
    for process in processes:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            message = f"{process.args} did not get ready"
            raise RuntimeError(message)
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return max(float(process.communicate()[0]) for process in processes)


def free_port() -> int:
    """A loopback port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """One server process, from its first answer to its end."""

    def __init__(self, arguments: Sequence[str], log: Path) -> None:
        self.port = free_port()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)
        self._arguments = [*arguments, "--port", str(self.port)]
        self._log = log

    def __enter__(self) -> Self:
        with self._log.open("a", encoding="utf-8") as log:
            command = [sys.executable, "-m", *self._arguments]
            self._process = start_pinned(command, SERVER_CPU, stdout=log, stderr=log)
        self.pid = self._process.pid
        deadline = time.monotonic() + START_S_MAX
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self._process.kill()
                message = f"{' '.join(self._arguments)} did not start; see {self._log}"
                raise RuntimeError(message)
            time.sleep(POLL_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.http.close()
        self._process.terminate()
        try:
            self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _answers(self) -> bool:
        try:
            return self.http.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    @property
    def memory_kib(self) -> int:
        """What the process holds in memory now (RSS)."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        return int(status.partition("VmRSS:")[2].split()[0])

    @property
    def cpu_s(self) -> float:
        """Processor seconds of all its threads so far, to the nanosecond."""
        threads = Path(f"/proc/{self.pid}/task").iterdir()
        return sum(int((thread / "schedstat").read_text(encoding="ascii").split()[0]) for thread in threads) / 1e9
