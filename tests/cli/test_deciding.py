"""`approve`, `deny` and `cancel`, from another terminal than the one that watches."""

import shlex
from collections.abc import Mapping
from typing import Any

import pytest

from ..system.server import Server
from .command import CommandLine, Running, script
from .test_running import run_id_in

SEND = {"tool": "send", "arguments": {"to": "ann", "text": "x" * 200}, "result": "sent"}
REMOVE = {"tool": "remove", "arguments": {"path": "/"}, "result": "gone"}


def waiting(reattach: CommandLine, *approvals: Mapping[str, Any]) -> tuple[Running, str]:
    """A watched run that waits for these approvals, and its id."""
    steps = script({"text": "may I?"}, {"approvals": approvals}, {"text": "thanks"})
    running = reattach.start("run", "script", "--input", steps)
    run_id = run_id_in(running.until("run_"))
    for _ in approvals:
        running.until("reattach deny")
    return running, run_id


def test_the_printed_command_approves(reattach: CommandLine) -> None:
    """What people are asked to copy works as it stands, and shows the whole call before it is approved."""
    running, run_id = waiting(reattach, SEND)
    assert "x" * 200 in running.err
    line = next(line for line in running.err.splitlines() if "reattach approve" in line)
    python, m, program, *arguments = shlex.split(line)  # as the test called it
    assert (python, m, program) == ("python", "-m", "reattach")
    approved = reattach(*arguments)
    assert approved.code == 0
    assert approved.out.startswith("Approved 1.1.a1: send ")
    assert f"reattach follow {run_id}" in approved.err
    done = running.end()
    assert (done.code, done.out) == (0, "may I?\nthanks\n")
    assert "1.1.a1 was approved by default" in done.err


def test_deny_with_a_reason(reattach: CommandLine) -> None:
    running, run_id = waiting(reattach, REMOVE)
    assert reattach("deny", run_id, "--reason", "too much").out == 'Denied 1.1.a1: remove {"path":"/"}\n'
    done = running.end()
    assert "1.1.a1 was denied by default (too much)" in done.err
    assert "✗ remove: " in done.err


def test_of_several_one_must_be_named(reattach: CommandLine) -> None:
    running, run_id = waiting(reattach, SEND, REMOVE)
    unnamed = reattach("approve", run_id)
    assert (unnamed.code, unnamed.out) == (2, "")
    assert f"reattach approve {run_id} 1.1.a2" in unnamed.err
    first = reattach("approve", run_id, "1.1.a1")
    assert "still waits for 1.1.a2" in first.err
    assert reattach("deny", run_id).code == 0
    assert running.end().code == 0


def test_the_first_decision_stands(reattach: CommandLine) -> None:
    running, run_id = waiting(reattach, SEND)
    assert reattach("approve", run_id, "1.1.a1").code == 0
    again = reattach("approve", run_id, "1.1.a1")
    assert (again.code, again.out) == (0, "Approved 1.1.a1, as decided before\n")
    opposite = reattach("deny", run_id, "1.1.a1")
    assert (opposite.code, opposite.out) == (4, "")
    assert '"outcome":"approve"' in opposite.err
    assert running.end().code == 0
    nothing_left = reattach("approve", run_id)
    assert (nothing_left.code, nothing_left.out) == (1, "")
    assert "waits for no approval: it is completed." in nothing_left.err
    for command in ("follow {}", "approve {} APPROVAL"):
        assert f"reattach {command.format(run_id)} --url" in nothing_left.err
    assert reattach("approve", run_id, "1.1.a1").out == "Approved 1.1.a1, as decided before\n"


def test_a_replay_calls_for_nothing_that_is_decided(reattach: CommandLine) -> None:
    running, run_id = waiting(reattach, SEND)
    joined = reattach.start("follow", run_id)
    joined.until("reattach deny")
    reattach("approve", run_id)
    assert running.end().code == joined.end().code == 0
    replay = reattach("follow", run_id)
    assert replay.out == "may I?\nthanks\n"
    assert "reattach approve" not in replay.err


def test_a_cursor_behind_the_question_still_asks(reattach: CommandLine, server: Server) -> None:
    running, run_id = waiting(reattach, SEND)
    head = server.get(f"/v1/runs/{run_id}").json()["head_seq"]
    joined = reattach.start("follow", run_id, "--after", str(head))
    joined.until(f"reattach approve {run_id} 1.1.a1")
    assert reattach("cancel", run_id).code == 0
    assert running.end().code == joined.end().code == 3


def test_cancel_answers_with_the_actual_state(reattach: CommandLine, server: Server) -> None:
    run = server.run({"text": "Hello"})
    server.frames(run["run_id"])
    late = reattach("cancel", run["run_id"])
    assert late.code == 1
    assert late.out.startswith("✓ completed")
    assert "nothing was cancelled" in late.err


@pytest.mark.parametrize("verb", ["approve", "deny"])
def test_json_is_the_run(reattach: CommandLine, server: Server, verb: str) -> None:
    running, run_id = waiting(reattach, SEND)
    done = reattach(verb, run_id, "--json")
    assert (done.code, done.err) == (0, "")
    assert done.json[0]["run_id"] == run_id
    assert done.json[0]["pending_approvals"] == []
    assert running.end().code == 0
    cancelled = reattach("cancel", run_id, "--json")
    assert (cancelled.json[0]["status"], cancelled.code) == ("completed", 1)
    assert cancelled.json[0] == server.get(f"/v1/runs/{run_id}").json()
