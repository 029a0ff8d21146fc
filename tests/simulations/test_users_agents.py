"""Agents of users in the real world: what no world can hold is told as that, and Ctrl-C is Ctrl-C."""

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from reattach.simulations import watch, world
from reattach.simulations.verdicts import Verdict

from .simulating import Simulate

MODULE = """
import asyncio, os, signal, socket, sys, threading, time
from time import sleep
import reattach

simulated_inputs = ["Hello"]


async def child():
    sys.exit(2)


@reattach.agent()
async def mine(context):
    yield reattach.Text("I begin.")
    {does}
"""

Write = Callable[[str], None]


@pytest.fixture
def simulate(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Simulate:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return Simulate(capsys)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(does: str) -> None:
        (tmp_path / "my_agents.py").write_text(MODULE.format(does=does), encoding="utf-8")

    return write


ESCAPES = {
    "thread": ("threading.Thread(target=print).start()", "starting a thread: a simulated world has one thread"),
    "socket": ("socket.create_connection(('localhost', 1))", "socket.getaddrinfo: a simulated world has no outside"),
    "sleep": ("time.sleep(1)", "time.sleep(1): it blocks the whole world: await asyncio.sleep"),
    "sleep by its name": ("sleep(1)", "time.sleep(1): it blocks the whole world: await asyncio.sleep"),
    "question": ("input()", "builtins.input"),
    "_exit": ("os._exit(3)", "os._exit(3): it ends the whole process"),
    "exit": ("sys.exit(3)", "SystemExit(3): it would end the whole process: raise AgentFailure"),
}


@pytest.mark.parametrize(("does", "told"), ESCAPES.values(), ids=ESCAPES)
def test_what_no_world_can_hold_is_told_with_its_line(simulate: Simulate, write: Write, does: str, told: str) -> None:
    write(does)
    done = simulate("run", "--seed", "0", "--agents", "my_agents:mine")
    assert done.code == Verdict.AGENT
    assert "AN AGENT CAN'T BE SIMULATED AS IT IS: agent-" in done.out
    assert told in done.out
    assert "The agent mine" in done.out
    assert f"(my_agents.py, line 16, in mine: `{does}`)" in done.out
    assert done.last == "reattach simulate run --seed 0 --agents my_agents:mine"


def test_what_an_agent_catches_is_told_all_the_same(simulate: Simulate, write: Write) -> None:
    write("\n    try:\n        time.sleep(1)\n    except BaseException:\n        pass")
    done = simulate("run", "--seed", "0", "--agents", "my_agents:mine", "--json")
    assert (done.code, done.json["verdict"], done.json["violation"]) == (Verdict.AGENT, "agent", "agent-escapes")


def test_an_exit_in_a_task_of_its_own(simulate: Simulate, write: Write) -> None:
    write("await asyncio.create_task(child())")
    done = simulate("run", "--seed", "0", "--agents", "my_agents:mine")
    assert done.code == Verdict.AGENT
    assert "(my_agents.py, line 10, in child: `sys.exit(2)`): SystemExit(2)" in done.out


def test_an_agent_that_never_waits(simulate: Simulate, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "TICK_S", 0.02)
    write("\n    while True: pass")
    done = simulate("run", "--seed", "0", "--agents", "my_agents:mine")
    assert done.code == Verdict.AGENT
    assert "The agent mine (my_agents.py, line 17, in mine: `while True: pass`): no await for" in done.out


def test_an_agent_whose_waits_take_no_time(simulate: Simulate, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "STEPS_MAX", 20_000)
    write("\n    while True: await asyncio.sleep(0)")
    done = simulate("run", "--seed", "2", "--agents", "my_agents:mine")
    assert done.code == Verdict.AGENT
    assert "The agent mine takes all the steps there are" in done.out


def test_a_hunt_tells_it_too(simulate: Simulate, write: Write) -> None:
    write("time.sleep(1)")
    hunt = ("hunt", "--seeds", "0:5", "--agents", "my_agents:mine", "--jobs", "1")
    done = simulate(*hunt)
    assert done.code == Verdict.AGENT
    assert "(my_agents.py, line 16, in mine: `time.sleep(1)`)" in done.out
    again = simulate.printed(done.last)
    assert (again.code, again.last) == (Verdict.AGENT, done.last)
    (misuse,) = simulate(*hunt, "--json").json["misuses"]
    assert misuse["replay"] == done.last


def test_an_audit_proves_nothing_of_it(simulate: Simulate, write: Write) -> None:
    write("time.sleep(1)")
    audit = ("audit", "--seeds", "0:1", "--hash-seeds", "0", "--agents", "my_agents:mine", "--jobs", "1")
    done = simulate(*audit)
    assert done.code == Verdict.AGENT
    assert "AN AGENT CAN'T BE SIMULATED AS IT IS: agent-" in done.out
    assert done.last == "reattach simulate run --seed 0 --agents my_agents:mine"
    assert simulate(*audit, "--json").json["verdict"] == "agent"


def test_ctrl_c_is_not_the_agents_failure(simulate: Simulate, write: Write) -> None:
    write("signal.raise_signal(signal.SIGINT)")
    done = simulate("run", "--seed", "0", "--agents", "my_agents:mine")
    assert (done.code, done.out) == (Verdict.INTERRUPTED, "")


def test_an_exception_is_told_with_its_line(simulate: Simulate, write: Write) -> None:
    write("raise ValueError('no such model')")
    done = simulate("run", "--seed", "0", "--agents", "my_agents:mine")
    assert done.code == Verdict.VIOLATION
    assert "BROKEN PROMISE agent-raised" in done.out
    assert (
        "(my_agents.py, line 16, in mine: `raise ValueError('no such model')`): ValueError: no such model" in done.out
    )


def test_a_failure_that_is_meant_breaks_no_promise(simulate: Simulate, write: Write) -> None:
    write("raise reattach.AgentFailure('model_down', 'Try later.')")
    assert simulate("run", "--seed", "0", "--agents", "my_agents:mine").code == Verdict.CLEAN


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("simulated_inputs = 'Hello'", "simulated_inputs must be a list of at least one input"),
        ("simulated_inputs = []", "simulated_inputs must be a list of at least one input"),
        ("simulated_inputs = ['a', {1, 2}]", "simulated_inputs[1] is no JSON value"),
        ("simulated_inputs = [float('nan')]", "simulated_inputs[0] is no JSON value"),
        ("simulated_inputs = [7]", "the agent picky refuses simulated_inputs[0]: Only texts."),
        ("check_run = 3", "check_run must be a function"),
        ("import sys; sys.exit(1)", "my_agents ends the process while it is imported"),
    ],
)
def test_a_module_that_is_wrong_is_usage(simulate: Simulate, tmp_path: Path, line: str, told: str) -> None:
    source = """
        import reattach

        def only_texts(given):
            if not isinstance(given, str):
                raise reattach.Invalid("Only texts.")

        @reattach.agent(check=only_texts)
        async def picky(context):
            yield reattach.Text("Yes.")
        """
    (tmp_path / "my_agents.py").write_text(f"{textwrap.dedent(source)}\n{line}\n", encoding="utf-8")
    done = simulate("run", "--seed", "0", "--agents", "my_agents:picky")
    assert done.code == Verdict.USAGE
    assert told in done.err
    assert "Traceback" not in done.err
