"""`reattach run` and `reattach follow`: watch a run, over every disconnect, until it ends or you leave."""

import argparse
import asyncio
import sys
from collections.abc import Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

from pydantic import JsonValue
from pydantic_core import from_json

from ...domain.identifiers import RUN_PREFIX, SESSION_PREFIX, is_identifier, parse_seq
from ..client import Client, Frame, Run, Unreachable
from .exits import OUTCOMES, Exit, UsageError
from .options import Commands, add_client_options, command_line, connect
from .screen import Display, JsonLines, Screen, call, ending, until
from .terminal import Terminal


def add(commands: Commands) -> None:
    """Declare the commands."""
    run = commands.add_parser("run", help="start a run and follow it", allow_abbrev=False)
    run.add_argument("agent", metavar="AGENT", help="the agent's name")
    run.add_argument(
        "--input", metavar="JSON|@FILE", type=read_input, help="its input: JSON, plain words, or @FILE (@- is stdin)"
    )
    run.add_argument("--session", metavar="SESSION", help="take a turn in this session (default: a new one)")
    add_client_options(run)
    run.set_defaults(command=lambda options, terminal: asyncio.run(_run(options, terminal)))
    follow = commands.add_parser("follow", help="follow a run or a session", allow_abbrev=False)
    follow.add_argument("id", metavar="RUN|SESSION", help="a run's or a session's id")
    follow.add_argument("--after", metavar="CURSOR", help="go on after this frame (default: from the start)")
    add_client_options(follow)
    follow.set_defaults(command=lambda options, terminal: asyncio.run(_follow(options, terminal)))


def read_input(text: str) -> JsonValue:
    """JSON, or words as they are; `@file` reads either from a file. Raises ArgumentTypeError, which argparse shows."""
    where = "the input"
    if text.startswith("@"):
        where = text[1:]
        try:
            text = (sys.stdin.buffer.read() if where == "-" else Path(where).read_bytes()).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise argparse.ArgumentTypeError(f"{where} can't be read: {error}") from error
    try:
        value: JsonValue = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        if text.lstrip().startswith(("{", "[", '"')):  # it was meant as JSON: a prompt with a typo would be a surprise
            raise argparse.ArgumentTypeError(f"{where} is no JSON: {error}") from error
        return text
    return value


async def _run(options: argparse.Namespace, terminal: Terminal) -> int:
    async with connect(options) as client:
        run = await client.start_run(options.agent, options.input, options.session)
        return await _watch_run(client, run.run_id, None, options, terminal, lambda _: False)


async def _follow(options: argparse.Namespace, terminal: Terminal) -> int:
    async with connect(options) as client:
        if is_identifier(SESSION_PREFIX, options.id):
            return await _watch_session(client, options, terminal)
        if not is_identifier(RUN_PREFIX, options.id):
            raise UsageError(f"{options.id} is no id: a run's begins with run_, a session's with ses_.")
        run = await client.run(options.id)
        seq = parse_seq(options.after) if options.after else None
        after = options.after if seq is None else seq
        if after is not None and run.pending_approvals and not options.json:
            _ask(options, terminal)(run.run_id, [dict(approval) for approval in run.pending_approvals])
        return await _watch_run(client, run.run_id, after, options, terminal, _decided_before(run))


async def _watch_run(
    client: Client,
    run_id: str,
    after: str | int | None,
    options: argparse.Namespace,
    terminal: Terminal,
    is_history: Callable[[Frame], bool],
) -> int:
    display = _display(options, terminal, is_history)
    last: Frame | None = None
    with _Leaving(options, terminal, run_id):
        async with aclosing(client.follow(run_id, after, interrupted=display.interrupted)) as frames:
            async for frame in frames:
                display.show(frame)
                last = frame
    if last is None:  # the cursor was at the end already
        run = await client.run(run_id)
        terminal.note(*ending(run.status, run_id, run.model_dump()))
        return _outcome(run.status)
    return _outcome(last.type.partition(".")[2])


async def _watch_session(client: Client, options: argparse.Namespace, terminal: Terminal) -> int:
    session = await client.session(options.id)
    active = await client.run(session.active_run_id) if session.active_run_id else None
    display = _display(options, terminal, _decided_before(active))
    with _Leaving(options, terminal, options.id):
        stream = client.follow_session(options.id, options.after, interrupted=display.interrupted)
        async with aclosing(stream) as frames:
            async for frame in frames:
                display.show(frame)
    return Exit.COMPLETED


def _display(options: argparse.Namespace, terminal: Terminal, is_history: Callable[[Frame], bool]) -> Display:
    if options.json:
        return JsonLines(terminal)
    return Screen(terminal, _ask(options, terminal), is_history=is_history)


def _decided_before(run: Run | None) -> Callable[[Frame], bool]:
    """Whether a frame asks for an approval that had been decided by the time `run` was read (None: no active run)."""
    pending = [approval.approval_id for approval in run.pending_approvals] if run is not None else []
    head_seq = run.head_seq if run is not None else 0
    run_id = run.run_id if run is not None else None

    def is_history(frame: Frame) -> bool:
        if frame.data.get("run_id") != run_id or frame.data["approval_id"] in pending:
            return False
        return frame.seq is not None and frame.seq <= head_seq

    return is_history


def _ask(options: argparse.Namespace, terminal: Terminal) -> Callable[[str, list[Mapping[str, Any]]], None]:
    """The call to action: what waits, until when, and the exact commands that decide it."""

    def ask(run_id: str, approvals: list[Mapping[str, Any]]) -> None:
        terminal.note("")
        terminal.note("Approval needed. The run waits, without a worker, until this is decided:", "yellow")
        for approval in approvals:
            terminal.note(f"\n  {call(approval)}", "bold")
            terminal.note(f"  open until {until(str(approval['expires_at']))}; in another terminal:", "dim")
            for words in (("approve",), ("deny",)):
                terminal.note(f"    {command_line(options, *words, run_id, approval['approval_id'])}")
        terminal.note("")

    return ask


def _outcome(status: str) -> int:
    return next((code for final, code in OUTCOMES.items() if final == status), Exit.COMPLETED)


class _Leaving:
    """Going away never touches the run, and the last line says how to come back."""

    def __init__(self, options: argparse.Namespace, terminal: Terminal, watched: str) -> None:
        self._options = options
        self._terminal = terminal
        self._watched = watched

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind is not None and issubclass(kind, asyncio.CancelledError | Unreachable):
            self._terminal.note(f"The run goes on. Come back: {command_line(self._options, 'follow', self._watched)}")
            if is_identifier(RUN_PREFIX, self._watched):
                self._terminal.note(f"         Or stop it: {command_line(self._options, 'cancel', self._watched)}")
