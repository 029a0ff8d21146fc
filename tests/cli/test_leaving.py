"""Going away and coming back: Ctrl-C, a closed pipe, a server that dies. The run never notices."""

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reattach.adapters.cli.options import DEFAULT_URL, command_line

from ..system.server import Server, free_port
from .command import CommandLine, script
from .test_running import run_id_in

SLOW = {"repeat": {"times": 30, "steps": [{"text": "on and on ", "chunk": 5, "delay_ms": 30}]}}


def test_ctrl_c_leaves_the_run_alive_and_says_how_to_come_back(reattach: CommandLine, server: Server) -> None:
    running = reattach.start("run", "script", "--input", script({"text": "start"}, {"wait_ms": 300}, {"text": "end"}))
    running.until_answer("start")
    running.interrupt()
    left = running.end()
    run_id = run_id_in(left.err)
    assert left.code == 130
    assert f"reattach follow {run_id} --url {server.url}\n" in left.err
    assert f"reattach cancel {run_id} --url {server.url}\n" in left.err
    back = reattach("follow", run_id)
    assert (back.code, back.out) == (0, "start\nend\n")


@pytest.mark.parametrize(
    ("called", "found", "printed"),
    [
        (".venv/bin/reattach", None, ".venv/bin/reattach"),
        ("my programs/reattach", None, "'my programs/reattach'"),
        (".venv/bin/reattach", "elsewhere/reattach", ".venv/bin/reattach"),
        (".venv/bin/reattach", ".venv/bin/reattach", "reattach"),
        ("lib/reattach/__main__.py", ".venv/bin/reattach", "python -m reattach"),
        ("lib/pytest/__main__.py", None, "reattach"),
    ],
)
def test_a_command_to_copy_is_called_like_this_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, called: str, found: str | None, printed: str
) -> None:
    for program in (called, found or called):
        path = tmp_path / program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str((tmp_path / found).parent) if found else "/nowhere")
    monkeypatch.setattr(sys, "argv", [called])
    assert command_line(argparse.Namespace(url=DEFAULT_URL), "cancel", "run_1") == f"{printed} cancel run_1"


def test_nobody_reads_on(reattach: CommandLine, server: Server) -> None:
    reading, writing = os.pipe()
    running = reattach.start("run", "script", "--input", script(SLOW), stdout=writing)
    os.close(writing)
    assert os.read(reading, 1) == b"o"
    os.close(reading)
    done = running.end()
    assert done.code == 141
    run_id = run_id_in(done.err)
    assert server.frames(run_id)[-1].event == "run.completed"


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "reattach.db", free_port(), {"REATTACH_DRAIN_GRACE_S": "0.2"}).start()
    yield server
    server.kill()


@pytest.mark.slow
def test_a_server_killed_and_started_again(reattach: CommandLine, mortal: Server) -> None:
    """kill -9 in the middle: one line says so, every frame comes once, and the exit code is the run's."""
    arguments = ("--input", script(SLOW), "--url", mortal.url)
    shown = reattach.start("run", "script", *arguments)
    run_id = run_id_in(shown.until("run_"))
    listed = reattach.start("follow", run_id, "--json", "--url", mortal.url)
    shown.until_answer("on and on ")
    mortal.kill()
    shown.until("coming back")
    mortal.start()
    done, frames = shown.end(), listed.end().json
    assert done.code == 0
    assert done.err.count("coming back") == 1
    assert [frame["seq"] for frame in frames] == list(range(1, len(frames) + 1))
    assert [frame["id"] for frame in frames] == [block.id for block in mortal.frames(run_id)]
    deltas = "".join(frame["text"] for frame in frames if frame["type"] == "text.delta")
    assert done.out.replace("\n", "") == deltas


@pytest.mark.slow
def test_a_server_that_stops_tells_where_the_run_goes_on(reattach: CommandLine, mortal: Server) -> None:
    """SIGTERM: a drain is no end of the run, and the next server goes on with it."""
    running = reattach.start("run", "script", "--input", script(SLOW), "--url", mortal.url)
    running.until_answer("on and on ")
    mortal.terminate()
    running.until("coming back")
    mortal.start()
    done = running.end()
    assert done.code == 0
    assert "completed" in done.err.splitlines()[-1]


def test_a_pipe_gets_text_as_it_arrives(reattach: CommandLine) -> None:
    running = reattach.start(
        "run", "script", "--input", script({"text": "now", "chunk": 1}, {"wait_ms": 600_000}), stdout=subprocess.PIPE
    )
    running.until_answer("now")
    running.interrupt()
    assert running.end().code == 130
