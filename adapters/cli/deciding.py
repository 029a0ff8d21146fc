"""`reattach approve`, `deny` and `cancel`: decide about a run from anywhere."""

import argparse

from pydantic_core import to_json

from ...domain.transitions import Status
from ..client import Client, Run
from .exits import Exit, UsageError
from .options import Commands, add_client_options, command_line, connect, in_loop
from .screen import call, ending
from .terminal import Terminal


def add(commands: Commands) -> None:
    """Declare the commands."""
    for verb, about in (("approve", "let a tool call run"), ("deny", "refuse a tool call")):
        decide = commands.add_parser(verb, help=f"{about} that waits for a decision", allow_abbrev=False)
        decide.add_argument("run", metavar="RUN", help="the run that waits")
        decide.add_argument("approval", metavar="APPROVAL", nargs="?", help="which approval; needed if several wait")
        decide.add_argument("--reason", help="what to record with the decision; a denial's reason is told to the agent")
        add_client_options(decide)
        decide.set_defaults(command=in_loop(_decide), verb=verb)
    cancel = commands.add_parser("cancel", help="end a run now", allow_abbrev=False)
    cancel.add_argument("run", metavar="RUN", help="the run to end")
    add_client_options(cancel)
    cancel.set_defaults(command=in_loop(_cancel))


async def _decide(options: argparse.Namespace, terminal: Terminal) -> int:
    async with connect(options) as client:
        before = await client.run(options.run)
        waiting = {approval.approval_id: approval for approval in before.pending_approvals}
        if not options.approval and not waiting:
            _nothing_waits(options, terminal, before)
            return Exit.FAILED
        approval_id = options.approval or _only(options, list(waiting))
        run = await _send(client, options, approval_id)
    verb = "Approved" if options.verb == "approve" else "Denied"
    what = f": {call(waiting[approval_id])}" if approval_id in waiting else ", as decided before"
    if options.json:
        terminal.result(as_json(run))
        return Exit.COMPLETED
    terminal.result(f"{verb} {approval_id}{what}")
    rest = [approval.approval_id for approval in run.pending_approvals]
    if rest:
        terminal.note(f"The run still waits for {', '.join(rest)}.")
    else:
        terminal.note(f"Follow the run: {command_line(options, 'follow', run.run_id)}")
    return Exit.COMPLETED


def _nothing_waits(options: argparse.Namespace, terminal: Terminal, run: Run) -> None:
    terminal.error(f"{run.run_id} waits for no approval: it is {run.status}.")
    terminal.note(f"Everything it asked, and what was decided: {command_line(options, 'follow', run.run_id)}")
    named = command_line(options, options.verb, run.run_id, "APPROVAL")
    terminal.note(f"Naming an approval gives the decision recorded for it: {named}")


async def _send(client: Client, options: argparse.Namespace, approval_id: str) -> Run:
    if options.verb == "approve":
        return await client.approve(options.run, approval_id, reason=options.reason)
    return await client.deny(options.run, approval_id, reason=options.reason)


def _only(options: argparse.Namespace, waiting: list[str]) -> str:
    """The one approval that waits. What is decided must never depend on a guess."""
    if len(waiting) == 1:
        return waiting[0]
    commands = "\n".join(f"  {command_line(options, options.verb, options.run, approval)}" for approval in waiting)
    raise UsageError(f"{options.run} waits for {len(waiting)} approvals; say which:\n{commands}")


async def _cancel(options: argparse.Namespace, terminal: Terminal) -> int:
    async with connect(options) as client:
        run = await client.cancel(options.run)
    if options.json:
        terminal.result(as_json(run))
    else:
        terminal.result(ending(run.status, run.run_id, run.model_dump())[0])
    if run.status == Status.CANCELLED:
        return Exit.COMPLETED
    terminal.note("The run had ended before; nothing was cancelled.")
    return Exit.FAILED


def as_json(run: Run) -> str:
    """A run on one line, as the API answered it."""
    return to_json(run.model_dump(mode="json")).decode()
