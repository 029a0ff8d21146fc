"""`reattach tail`: what a session looks like now, and the commands to go on."""

import argparse

from ..client import Tail
from .exits import Exit
from .options import Commands, add_client_options, command_line, connect, in_loop
from .screen import Screen, state_of, until
from .terminal import Terminal, shortened
from .watch import Watch


def add(commands: Commands) -> None:
    """Declare the command."""
    tail = commands.add_parser("tail", help="show what a session looks like now", allow_abbrev=False)
    tail.add_argument("session", metavar="SESSION", help="the session's id")
    tail.add_argument("--limit", metavar="N", type=int, help="how many messages, 1 to 100 (default: 20)")
    add_client_options(tail)
    tail.set_defaults(command=in_loop(_tail))


async def _tail(options: argparse.Namespace, terminal: Terminal) -> int:
    async with connect(options) as client:
        tail = await client.tail(options.session, options.limit)
        if options.json:
            terminal.result(tail.model_dump_json())
            return Exit.COMPLETED
        Screen(terminal).show_messages(message.model_dump() for message in tail.messages)
        active = tail.active_run
        if active is not None:
            if active.prompt and active.message_id not in [message.message_id for message in tail.messages]:
                terminal.note(f"> {active.prompt}", "dim")
            Watch(client, options, terminal).call_for_decisions(active.run_id, tail.pending_approvals)
        _note_session(options, terminal, tail)
    return Exit.COMPLETED


def _note_session(options: argparse.Namespace, terminal: Terminal, tail: Tail) -> None:
    """What runs, who owns the session, and how to go on."""
    session = tail.session
    if session.warning is not None:
        terminal.note(session.warning.detail, "yellow")
    terminal.note(state_of(tail), "dim")
    if session.queue:
        terminal.note(f"{len(session.queue)} more wait for their turn: {', '.join(session.queue)}", "dim")
    if session.owner is not None and session.lease_expires_at is not None:
        owner = shortened(session.owner)  # a client's own words
        terminal.note(f"Owner: {owner}, with a lease to {until(session.lease_expires_at)}.", "dim")
    terminal.note(f"Follow it from here: {command_line(options, 'follow', session.session_id, '--after', tail.cursor)}")
