"""`run` and `follow`: what they print where, and how they exit."""

import json
from pathlib import Path

import pytest

from reattach.adapters.cli.running import read_input

from ..system.server import Server
from .command import CommandLine, script


def run_id_in(text: str) -> str:
    """The first run's id in an output."""
    at = text.index("run_")
    return text[at : at + 30]


def test_the_answer_goes_to_stdout_and_all_else_to_stderr(reattach: CommandLine) -> None:
    tool = {"name": "add", "arguments": {"a": 1}, "result": {"sum": 2}}
    steps = script({"reasoning": "let me think"}, {"text": "Hello"}, {"tool": tool}, {"text": "Bye"}, prompt="say hi")
    done = reattach("run", "script", "--input", steps)
    assert (done.code, done.out) == (0, "Hello\nBye\n")
    first, *rest, last = done.err.splitlines()
    assert run_id_in(first) in last
    assert "completed" in last
    assert rest == ["> say hi", "let me think", '→ add {"a":1}', '← add {"sum":2}']


def test_a_tool_that_fails(reattach: CommandLine) -> None:
    done = reattach("run", "script", "--input", script({"tool": {"name": "add", "arguments": {}, "error": "no\nway"}}))
    assert done.code == 0
    assert "✗ add: no way\n" in done.err


def test_a_failed_run_exits_with_1(reattach: CommandLine) -> None:
    failure = {"type": "llm_timeout", "message": "no answer", "retryable": True}
    done = reattach("run", "script", "--input", script({"text": "so"}, {"fail": failure}))
    assert done.code == 1
    assert "failed · llm_timeout: no answer" in done.err.splitlines()[-1]


def test_a_cancelled_run_exits_with_3(reattach: CommandLine) -> None:
    running = reattach.start("run", "script", "--input", script({"text": "so"}, {"wait_ms": 600_000}))
    running.until_answer("so")
    cancelled = reattach("cancel", run_id_in(running.until("run_")))
    assert cancelled.code == 0
    done = running.end()
    assert done.code == 3
    assert "cancelled" in done.err.splitlines()[-1]


def test_json_is_the_stream_itself(reattach: CommandLine, server: Server) -> None:
    done = reattach("run", "script", "--input", script({"text": "Hello", "chunk": 2}), "--json")
    assert (done.code, done.err) == (0, "")
    run_id = done.json[0]["run_id"]
    blocks = server.frames(run_id)
    assert done.json == [{**block.json, "id": block.id} for block in blocks]
    again = reattach("follow", run_id, "--json")
    assert (again.code, again.out) == (0, done.out)


def test_follow_goes_on_after_a_cursor(reattach: CommandLine, server: Server) -> None:
    run = server.run({"text": "Hello"})
    blocks = server.frames(run["run_id"])
    for after in (blocks[2].id or "", "3"):
        done = reattach("follow", run["run_id"], "--after", after, "--json")
        assert [frame["seq"] for frame in done.json] == [block.json["seq"] for block in blocks[3:]]
    at_the_end = reattach("follow", run["run_id"], "--after", blocks[-1].id or "")
    assert (at_the_end.code, at_the_end.out) == (0, "")
    assert "completed" in at_the_end.err


def test_a_cursor_that_cannot_be_honoured_shows_what_there_is(reattach: CommandLine, server: Server) -> None:
    run = server.run({"text": "Hello"}, {"text": "again"})
    server.frames(run["run_id"])
    done = reattach("follow", run["run_id"], "--after", f"{run['run_id']}.99.1.3")
    assert (done.code, done.out) == (0, "Hello\nagain\n")
    assert "lost (generation)" in done.err


def test_a_session_over_its_turns(reattach: CommandLine, server: Server) -> None:
    session = server.session()
    running = reattach.start("follow", session)
    assert "0 turns · idle" in running.until(session)
    for turn, word in enumerate(("one", "two"), 1):
        done = reattach("run", "script", "--session", session, "--input", script({"text": word}))
        assert (done.code, done.out) == (0, f"{word}\n")
        assert f"turn {turn} of {session}" in running.until("turn")
        running.until("completed")
    running.interrupt()
    left = running.end()
    assert (left.code, left.out) == (130, "one\ntwo\n")
    assert f"reattach follow {session}" in left.err


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("hello", "hello"),
        ("Write a poem: {x}", "Write a poem: {x}"),
        ('"quoted"', "quoted"),
        ("-5 degrees", "-5 degrees"),
        ("", ""),
        ("NaN", "NaN"),
        (' {"a": [1, null]} ', {"a": [1, None]}),
        ("42", 42),
        ("true", True),
    ],
)
def test_words_are_words_and_json_is_json(given: str, meant: object) -> None:
    assert read_input(given) == meant


def test_words_are_the_agents_prompt(reattach: CommandLine, server: Server) -> None:
    running = reattach.start("run", "demo", "--input", "Hello there", "--json")
    assert running.process.stdout is not None
    run_id = json.loads(running.process.stdout.readline())["run_id"]
    assert server.get(f"/v1/runs/{run_id}").json()["prompt"] == "Hello there"
    assert server.post(f"/v1/runs/{run_id}/cancel").status_code == 200
    assert running.end().code == 3


def test_input_from_a_file_and_from_stdin(reattach: CommandLine, tmp_path: Path) -> None:
    steps = script({"text": "Hellö"})
    (tmp_path / "input.json").write_text(steps, encoding="utf-8")
    assert reattach("run", "script", "--input", f"@{tmp_path / 'input.json'}").out == "Hellö\n"
    assert reattach.start("run", "script", "--input", "@-").end(steps).out == "Hellö\n"


@pytest.mark.parametrize("given", ["{", '{"steps": [}', "[1", '"open', "@/nowhere/at/all", "@/"])
def test_input_that_cannot_be_meant(reattach: CommandLine, given: str) -> None:
    done = reattach("run", "script", "--input", given)
    assert (done.code, done.out) == (2, "")
    assert "argument --input" in done.err


def test_the_agents_words_cannot_steer_anything(reattach: CommandLine) -> None:
    """In a pipe the answer is what the agent said, byte for byte; what is said about it never holds control bytes."""
    evil = "\x1b]0;title\x07\x1b[2J\r"
    tool = {"name": "t", "arguments": evil, "error": evil}
    done = reattach("run", "script", "--input", script({"text": evil}, {"tool": tool}, prompt=evil))
    assert done.out == f"{evil}\n"
    assert "\x1b" not in done.err
    assert "\x07" not in done.err
