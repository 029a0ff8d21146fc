"""The command line as a person uses it: processes with arguments, output, exit codes and Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest

from reattach.adapters.cli import main

from ..system.server import ROOT, TIMEOUT_S


def script(*steps: Mapping[str, Any], **fields: Any) -> str:
    """The script agent's input, as --input takes it."""
    return json.dumps({"steps": steps, **fields})


class CommandLine:
    """`reattach` with this environment. `start` is a process of its own; calling it is the same code right here."""

    def __init__(self, environment: Mapping[str, str], capsys: pytest.CaptureFixture[str]) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("REATTACH_")}
        self._environment: dict[str, str] = {**inherited, **environment}
        self._capsys = capsys
        self._running: list[Running] = []

    def __call__(self, *arguments: str, **environment: str) -> "Done":
        """Run a command to its end."""
        self._capsys.readouterr()
        with mock.patch.dict(os.environ, self._environment | environment, clear=True):
            try:
                code = main(arguments)
            except SystemExit as usage:  # argparse
                code = int(str(usage.code))
        out, err = self._capsys.readouterr()
        return Done(code, out, err)

    def start(self, *arguments: str, stdout: int = subprocess.PIPE, **environment: str) -> "Running":
        """Start a command and let it run."""
        ours = {"PYTHONPATH": str(ROOT / ".src"), "PYTHONWARNINGS": "error"}
        process = subprocess.Popen(
            [sys.executable, "-m", "reattach", *arguments],
            env=self._environment | ours | environment,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._running.append(Running(process))
        return self._running[-1]

    def kill(self) -> None:
        """Whatever still runs."""
        for one in self._running:
            one.kill()


@dataclass
class Done:
    """How a command ended. A traceback is never right."""

    code: int
    out: str
    err: str

    def __post_init__(self) -> None:
        assert "Traceback" not in self.err, self.err

    @property
    def json(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass
class Running:
    """A command that runs. What was read while it ran is part of what it said."""

    process: "subprocess.Popen[str]"
    out: str = ""
    err: str = ""

    def until(self, text: str) -> str:
        """Read stderr until a line holds this text; that line."""
        assert self.process.stderr is not None
        while line := self.process.stderr.readline():
            self.err += line
            if text in line:
                return line
        message = f"{text!r} never came: {self.err}"
        raise AssertionError(message)

    def until_answer(self, text: str) -> None:
        """Read stdout until the answer so far ends with this text."""
        assert self.process.stdout is not None
        while not self.out.endswith(text):
            character = self.process.stdout.read(1)
            assert character, f"{text!r} never came: {self.out!r}"
            self.out += character

    def interrupt(self) -> None:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)

    def end(self, stdin: str = "") -> Done:
        """Wait for the end."""
        out, err = self.process.communicate(stdin, timeout=TIMEOUT_S)
        return Done(self.process.returncode, self.out + (out or ""), self.err + err)

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
