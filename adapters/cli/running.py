"""`reattach run` and `reattach follow`."""

import argparse
import asyncio
import sys
from pathlib import Path

from pydantic import JsonValue
from pydantic_core import from_json

from ...domain.identifiers import RUN_PREFIX, SESSION_PREFIX, is_identifier, parse_seq
from .exits import UsageError
from .options import Commands, add_client_options, connect, in_loop, is_text
from .terminal import Terminal
from .watch import Watch


def add(commands: Commands) -> None:
    """Declare the commands."""
    run = commands.add_parser("run", help="start a run and follow it", allow_abbrev=False)
    run.add_argument("agent", metavar="AGENT", help="the agent's name")
    run.add_argument(
        "--input", metavar="JSON|@FILE", type=read_input, help="its input: JSON, plain words, or @FILE (@- is stdin)"
    )
    run.add_argument("--session", metavar="SESSION", help="take a turn in this session (default: a new one)")
    add_client_options(run)
    run.set_defaults(command=in_loop(_run))
    follow = commands.add_parser("follow", help="follow a run or a session", allow_abbrev=False)
    follow.add_argument("id", metavar="RUN|SESSION", help="a run's or a session's id")
    follow.add_argument(
        "--after",
        metavar="CURSOR",
        help="go on after this frame (default: a run from its start, a session from its tail)",
    )
    add_client_options(follow)
    follow.set_defaults(command=in_loop(_follow))


def read_input(text: str) -> JsonValue:
    """JSON, or words as they are; `@file` reads either from a file. Raises ArgumentTypeError, which argparse shows."""
    where = "the input"
    if text.startswith("@"):
        where = text[1:]
        try:
            text = (sys.stdin.buffer.read() if where == "-" else Path(where).read_bytes()).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise argparse.ArgumentTypeError(f"{where} can't be read: {error}") from error
    if not is_text(text):
        message = "these words are no UTF-8; write them into a UTF-8 file, and name it: --input @FILE"
        raise argparse.ArgumentTypeError(message)
    try:
        value: JsonValue = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        if text.lstrip().startswith(("{", "[", '"')):  # it was meant as JSON: a prompt with a typo would be a surprise
            raise argparse.ArgumentTypeError(f"{where} is no JSON: {error}") from error
        return text
    return value


async def _run(options: argparse.Namespace, terminal: Terminal) -> int:
    async with connect(options) as client:
        try:
            run = await client.start_run(options.agent, options.input, options.session)
        except asyncio.CancelledError:
            terminal.note("Left before the server had answered: the run may have been started.")
            raise
        return await Watch(client, options, terminal).run(run.run_id)


async def _follow(options: argparse.Namespace, terminal: Terminal) -> int:
    async with connect(options) as client:
        watch = Watch(client, options, terminal)
        if is_identifier(SESSION_PREFIX, options.id):
            if options.after:
                await client.session(options.id)  # an unknown id, or no server, is said at once
            return await watch.session(options.id, options.after)
        if not is_identifier(RUN_PREFIX, options.id):
            raise UsageError(f"{options.id} is no id: a run's begins with run_, a session's with ses_.")
        run = await client.run(options.id)
        if options.after:
            watch.call_for_decisions(run.run_id, run.pending_approvals)  # asked for before the cursor, perhaps
        seq = parse_seq(options.after or "")
        return await watch.run(run.run_id, options.after if seq is None else seq)
