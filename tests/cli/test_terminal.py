"""The terminal's rules: fresh lines for notes, pipes left alone, colours only where they are wanted."""

import io
import os
import pty
import subprocess
import sys
from typing import Any

import pytest

from reattach.adapters.cli.screen import Screen, duration
from reattach.adapters.cli.terminal import Terminal, harmless, shortened
from reattach.adapters.client import Frame, Interruption

from ..client.logs import AT, RUN, SESSION, log
from ..system.server import ROOT, Server
from .command import CommandLine, script

BROKEN = Interruption("the connection broke", 1, 0.1)


class Tty(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def on_terminal() -> tuple[Terminal, io.StringIO]:
    """A terminal where both streams come out in one place."""
    both = Tty()
    return Terminal(both, both, color=False), both


def in_pipes() -> tuple[Terminal, io.StringIO, io.StringIO]:
    """Two pipes."""
    out, err = io.StringIO(), io.StringIO()
    return Terminal(out, err, color=False), out, err


def frame(kind: str, **fields: Any) -> Frame:
    return Frame(kind, None, None, {"type": kind, **fields})


def test_a_note_in_the_middle_of_an_answer() -> None:
    terminal, both = on_terminal()
    terminal.answer("Hel")
    terminal.note("coming back")
    terminal.answer("lo")
    terminal.end_answer()
    assert both.getvalue() == "Hel\ncoming back\nlo\n"


def test_a_pipe_never_gets_a_line_end_that_is_not_the_answers() -> None:
    terminal, out, err = in_pipes()
    terminal.answer("Hel")
    terminal.note("coming back")
    terminal.answer("lo")
    terminal.end_answer()
    assert (out.getvalue(), err.getvalue()) == ("Hello\n", "coming back\n")


def test_asides_end_where_the_answer_begins() -> None:
    terminal, both = on_terminal()
    for aside in ("let me", " think"):
        terminal.aside(aside)
    terminal.answer("Hello")
    terminal.aside("hm")
    terminal.note("done")
    assert both.getvalue() == "let me think\nHello\nhm\ndone\n"


def test_answers_that_end_their_own_line() -> None:
    terminal, out, _ = in_pipes()
    terminal.answer("Hello\n")
    terminal.end_answer()
    terminal.answer("")
    assert out.getvalue() == "Hello\n"


def test_what_steers_a_terminal_is_made_harmless() -> None:
    terminal, both = on_terminal()
    terminal.answer("\x1b[2J\r\x9b\x7fa\tb\n")
    terminal.aside("\x1b[2J")
    terminal.note("\x07")
    assert both.getvalue() == "\ufffd[2J\ufffd\ufffd\ufffda\tb\n\ufffd[2J\n\ufffd\n"
    assert harmless("né\u2028🌍") == "né\u2028🌍"
    assert harmless("rm \u202ea\u2066b\u200fc") == "rm \ufffda\ufffdb\ufffdc"


def test_long_lines_are_shortened() -> None:
    assert shortened("a\n  b", 10) == "a b"
    assert shortened("x" * 20, 10) == "x" * 9 + "…"


def test_only_the_first_break_in_a_row_is_told() -> None:
    terminal, _, err = in_pipes()
    screen = Screen(terminal)
    for count in (1, 2, 3):
        screen.interrupted(Interruption("the server can't be reached", count, 0.1))
    assert err.getvalue().count("\n") == 1


def test_a_snapshot_shows_what_was_said() -> None:
    terminal, out, err = in_pipes()
    screen = Screen(terminal)
    call = {"kind": "tool", "part": "1.1.1", "tool_call_id": "c", "name": "add", "arguments": {"a": 1}, "state": "done"}
    parts = [
        {"kind": "text", "text": "Hello", "state": "done"},
        call,
        {"kind": "tool_result", "tool_call_id": "c", "output": 2},
        {"kind": "text", "text": "and", "state": "open"},
    ]
    things = [
        {"kind": "reasoning", "text": "hm", "state": "done"},
        {"kind": "data", "name": "n", "value": [1]},
        {"kind": "source", "url": "http://x", "title": None},
        {"kind": "file", "name": "f", "media_type": "text/plain", "url": "http://y"},
        {"kind": "novelty"},
    ]
    failed = {"kind": "event", "event": "run.failed", "error": {"type": "llm_timeout", "message": "no answer"}}
    cancelled = {"kind": "event", "event": "run.cancelled", "reason": "enough", "by": "ann"}
    messages = [
        {"role": "user", "status": "complete", "parts": [{"kind": "text", "text": "go"}]},
        {"role": "assistant", "status": "abandoned", "parts": [{"kind": "text", "text": "void"}]},
        {"role": "assistant", "status": "complete", "parts": things},
        {"role": "event", "status": "complete", "parts": [failed]},
        {"role": "event", "status": "complete", "parts": [cancelled]},
        {"role": "assistant", "status": "open", "parts": parts},
    ]
    state = {"run": {"run_id": RUN}, "messages": messages, "pending_approvals": []}
    screen.show(frame("stream.reset", reason="trimmed", cursor="x"))
    screen.show(frame("stream.snapshot", state=state, seq=7))
    screen.show(frame("text.delta", part="1.1.2", text=" more"))
    assert out.getvalue() == "Hello\nand more"
    assert err.getvalue().splitlines()[1:] == [
        "> go",
        "hm",
        "· n: [1]",
        "· source: http://x",
        "· file: f (text/plain) http://y",
        "✗ failed · llm_timeout: no answer",
        "■ cancelled · enough",
        '→ add {"a":1}',
        "← add 2",
    ]


def test_every_other_kind_of_frame_has_its_line_or_none() -> None:
    terminal, out, err = in_pipes()
    screen = Screen(terminal)
    for one in (
        frame("data", name="n", value=[1]),
        frame("source", url="http://x", title=None),
        frame("file", name="f", media_type="text/plain", url="http://y"),
        frame("tool.result", tool_call_id="?", output=None, omitted=True),
        frame("step.reset", to_seq=3, closes=[]),
        frame("run.released", run_id=RUN, epoch=1, worker="w", at=AT),
        frame("stream.error", first_seq=4, last_seq=6, code="record_damaged"),
        frame("session.superseded", epoch=2),
        frame("run.claimed", run_id=RUN, epoch=1, worker="w", at=AT),
        frame("stream.novelty"),
        frame("novelty"),
    ):
        screen.show(one)
    assert out.getvalue() == ""
    assert len(err.getvalue().splitlines()) == 8


def test_a_whole_run() -> None:
    terminal, out, err = in_pipes()
    screen = Screen(terminal)
    for line in log("Hel", "lo", end="cancelled"):
        screen.show(line.as_frame())
    assert out.getvalue() == "Hello\n"
    head, prompt, last = err.getvalue().splitlines()
    assert head == f"{RUN} · demo · turn 1 of {SESSION}"
    assert (prompt, last) == ("> go", f"■ cancelled · enough · 0.0 s · {RUN}")


@pytest.mark.parametrize(("ended", "says"), [("10:40:01.25", "1.2 s"), ("10:50:00", "10.0 min")])
def test_durations(ended: str, says: str) -> None:
    assert duration(AT, f"2026-11-21T{ended}Z") == says
    assert duration(None, AT) == ""


def on_a_real_terminal(server: Server, **environment: str) -> str:
    """What a person's terminal receives."""
    steps = script({"reasoning": "hm"}, {"text": "\x1b[2JHello"})
    ours, theirs = pty.openpty()
    inherited = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    path = {"PYTHONPATH": str(ROOT / ".src"), "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-m", "reattach", "run", "script", "--url", server.url, "--input", steps],
        env=inherited | path | environment,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    received = b""
    try:
        while piece := os.read(ours, 4096):
            received += piece
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(ours)
    assert process.wait() == 0
    return received.decode()


def test_colours_on_a_terminal(server: Server) -> None:
    received = on_a_real_terminal(server)
    assert "\x1b[2mhm\x1b[0m" in received
    assert "\ufffd[2JHello" in received


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_no_colours_where_nobody_wants_them(server: Server, environment: dict[str, str]) -> None:
    assert "\x1b" not in on_a_real_terminal(server, **environment)


def test_characters_that_the_terminal_lacks(reattach: CommandLine) -> None:
    running = reattach.start("run", "script", "--input", script({"text": "né 🌍"}), PYTHONIOENCODING="ascii")
    done = running.end()
    assert (done.code, done.out) == (0, "n? ?\n")
