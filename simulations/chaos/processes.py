"""Real processes of Reattach: started, killed, stopped, told to end, and started again."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ..violation import Violation
from .film import Film

START_S: Final = 120.0
"""Seconds a process gets to say that it works, over all its tries."""

AGAIN_S: Final = 0.5
"""Seconds before a process that did not come up is tried again."""

END_S: Final = 60.0
"""Seconds a process gets to end after it was told to."""

TIMES: Final[Mapping[str, str]] = {
    "REATTACH_LEASE_S": "2.0",
    "REATTACH_RENEW_S": "0.6",
    "REATTACH_SWEEP_S": "0.5",
    "REATTACH_RETRY_S": "0.2",
    "REATTACH_KEEPALIVE_S": "1.5",
    "REATTACH_DRAIN_GRACE_S": "0.5",
    "REATTACH_APPROVAL_TIMEOUT_S": "6",
    "REATTACH_CONCURRENCY": "64",
    "REATTACH_MCP": "false",
}
"""The service's own settings, with times that let much happen in a minute."""

LEASE_S: Final = float(TIMES["REATTACH_LEASE_S"])

_READY: Final = re.compile(r"^Reattach (listens on|works as) ")
_RAISED: Final = re.compile(r"^Traceback \(most recent call last\):\n(?:[ \t].*\n)+(\S.*)$", re.MULTILINE)
_CUT_SHORT: Final = "asyncio.exceptions.CancelledError: Task cancelled, timeout graceful shutdown exceeded"
"""How uvicorn says that a server that stops has not waited for a request: its client asks again elsewhere."""


class NotStarted(Exception):
    """A process does not come up: that is no finding, but the end of the chaos."""


@dataclass(frozen=True, slots=True)
class Command:
    """How a process is started: `reattach` with these arguments, this environment, behind this prefix.

    `planted` is a bug that it has then.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    prefix: tuple[str, ...] = ()
    planted: str | None = None

    def line(self) -> tuple[str, ...]:
        """The whole command."""
        module = ("reattach",) if self.planted is None else (f"{__package__}.planted", self.planted)
        return (*self.prefix, sys.executable, "-m", *module, *self.arguments)


class Process:
    """One process that is started again and again. `died` is told if it ends without being told to."""

    def __init__(
        self, name: str, command: Command, folder: Path, film: Film, died: Callable[[Violation], None]
    ) -> None:
        self.name = name
        self.state = "down"
        """`down`, `starting`, `up` or `stopped` (by SIGSTOP)."""
        self.number = 0
        self._command = command
        self._log = folder / f"{name}.log"
        self._film = film
        self._died = died
        self._process: asyncio.subprocess.Process | None = None
        self._watching: asyncio.Task[None] | None = None

    @property
    def label(self) -> str:
        """Its name and which life it is."""
        return f"{self.name}.{self.number}"

    @property
    def alive(self) -> bool:
        """Whether there is a process now, in whatever state."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it, until it says that it works. Raises NotStarted."""
        self.state, self.number = "starting", self.number + 1
        try:
            async with asyncio.timeout(START_S):
                while not await self._started():  # noqa: ASYNC110  - no event, but another try
                    await asyncio.sleep(AGAIN_S)
        except TimeoutError:
            raise NotStarted(f"{self.name} does not start; its last words: {self.last_words()}") from None
        self.state = "up"
        self._film.emit("up", proc=self.label)
        self._watching = asyncio.get_running_loop().create_task(self._watch(), name=f"{self.label}/watch")

    async def _started(self) -> bool:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("REATTACH_")}
        package = str(Path(__file__).parents[3])  # where this very package is imported from
        environment |= {**TIMES, **self._command.environment, "PYTHONPATH": package, "PYTHONUNBUFFERED": "1"}
        with self._log.open("ab") as log:
            log.write(f"--- {self.label}\n".encode())
            log.flush()
            self._process = await asyncio.create_subprocess_exec(
                *self._command.line(), env=environment, stdout=asyncio.subprocess.PIPE, stderr=log
            )
        self._film.pids[self._process.pid] = self.label
        if self._process.stdout is None:
            return False
        line = (await self._process.stdout.readline()).decode(errors="replace")
        if _READY.match(line):
            return True
        await self._process.wait()
        return False

    async def _watch(self) -> None:
        """Read what it says, so that it never waits for us; notice when it ends."""
        process, label = self._process, self.label
        if process is None or process.stdout is None:
            return
        with self._log.open("ab") as log:
            while line := await process.stdout.readline():
                log.write(line)
                log.flush()
        code = await process.wait()
        if self.state != "down" and label == self.label:
            self.state = "down"
            detail = f"{label} ended by itself with exit code {code}: {self.last_words()}"
            self._died(Violation("process-died", detail))

    # What is done to it.

    async def kill(self) -> None:
        """kill -9."""
        self.state = "down"
        self._film.emit("down", proc=self.label, how="kill")
        self._signal(signal.SIGKILL)
        await self._gone()

    async def terminate(self) -> None:
        """SIGTERM, and wait. Raises a Violation if it does not end."""
        self.state = "down"
        self._film.emit("down", proc=self.label, how="term")
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(END_S):
                await self._gone()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            detail = f"{self.label} does not end {END_S:.0f} s after SIGTERM: {self.last_words()}"
            raise Violation("drain-stuck", detail) from None
        self._film.emit("down", proc=self.label, how="end")
        code = self._process.returncode if self._process is not None else None
        if code:
            raise Violation("drain-failed", f"{self.label} drained with exit code {code}: {self.last_words()}")

    def stop(self, seconds: float) -> None:
        """SIGSTOP; `seconds` is how long it is meant to last."""
        self.state = "stopped"
        self._film.emit("pause", proc=self.label, s=round(seconds, 2))
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """SIGCONT, if it was stopped and not killed meanwhile."""
        if self.state == "stopped":
            self.state = "up"
            self._signal(signal.SIGCONT)
            self._film.emit("resume", proc=self.label)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _gone(self) -> None:
        if self._process is not None:
            await self._process.wait()
        if self._watching is not None:
            await self._watching

    # What it said.

    def last_words(self) -> str:
        """The end of its log."""
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        return text[-600:].strip() or "(none)"

    def check_log(self) -> None:
        """Raises process-raised if there is a traceback in it."""
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.exists() else ""
        for found in _RAISED.finditer(text):
            if not found[1].startswith(_CUT_SHORT):
                raise Violation("process-raised", f"{self.name} logged a traceback: {found[0][-1500:]}")


def free(processes: Sequence[Process], *states: str) -> list[Process]:
    """Those in one of these states."""
    return [process for process in processes if process.state in states]
