"""Watching a run or a session: every frame on the display, over every disconnect, until it ends or one leaves."""

import argparse
import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from textwrap import indent

from ...domain.identifiers import RUN_PREFIX, is_identifier
from ..client import Client, Frame, PendingApproval, Unreachable
from .exits import OUTCOMES, Exit
from .options import command_line
from .screen import JsonLines, Screen, ending, in_full, until
from .terminal import Terminal


class Watch:
    """One command's watching. Going away never touches a run, and the last line says how to come back."""

    def __init__(self, client: Client, options: argparse.Namespace, terminal: Terminal) -> None:
        self._client = client
        self._options = options
        self._terminal = terminal
        self._display = JsonLines(terminal) if options.json else Screen(terminal)

    async def run(self, run_id: str, after: str | int | None = None) -> int:
        """Follow a run to its end; the exit code of its outcome. Raises what the client raises."""
        stream = self._client.follow(run_id, after, interrupted=self._display.interrupted)
        last = await self._follow(stream, run_id)
        if last is not None:
            return _outcome(last.type.partition(".")[2])
        run = await self._client.run(run_id)  # the cursor was at the end already
        self._terminal.note(*ending(run.status, run_id, run.model_dump()))
        return _outcome(run.status)

    async def session(self, session_id: str, after: str | None = None) -> int:
        """Show a session's tail and follow it from there until one leaves. Raises what the client raises.

        With `after` it goes on there instead.
        """
        if after is None:
            tail = await self._client.tail(session_id)
            self._display.show_tail(tail)
            after = tail.cursor
        stream = self._client.follow_session(session_id, after, interrupted=self._display.interrupted)
        await self._follow(stream, session_id)
        return Exit.COMPLETED

    def call_for_decisions(self, run_id: str, approvals: Sequence[PendingApproval]) -> None:
        """The call to action: what waits, until when, and the exact commands that decide it."""
        if not approvals or self._options.json:
            return
        note = self._terminal.note
        note("\nApproval needed. The run waits, without a worker, until this is decided:", "yellow")
        for approval in approvals:
            note("\n" + indent(in_full(approval), "  "), "bold")
            note(f"  open until {until(approval.expires_at)}; in another terminal:", "dim")
            for verb in ("approve", "deny"):
                note(f"    {command_line(self._options, verb, run_id, approval.approval_id)}")
        note("")

    async def _follow(self, stream: AsyncGenerator[Frame, None], watched: str) -> Frame | None:
        last: Frame | None = None
        try:
            async with aclosing(stream) as frames:
                async for frame in frames:
                    last = frame
                    self._display.show(frame)
                    if frame.type == "run.suspended" and isinstance(self._display, Screen):
                        run_id = frame.data["run_id"]
                        self.call_for_decisions(run_id, await self._undecided(run_id, self._display.asked))
        except (asyncio.CancelledError, Unreachable):
            self._terminal.note(f"The run goes on. Come back: {command_line(self._options, 'follow', watched)}")
            if is_identifier(RUN_PREFIX, watched):
                self._terminal.note(f"         Or stop it: {command_line(self._options, 'cancel', watched)}")
            raise
        return last

    async def _undecided(self, run_id: str, asked: Sequence[PendingApproval]) -> Sequence[PendingApproval]:
        """What still waits by now: in a replay most has been decided long ago."""
        try:
            return (await self._client.run(run_id)).pending_approvals
        except Unreachable:
            return asked


def _outcome(status: str) -> int:
    return next((code for final, code in OUTCOMES.items() if final == status), Exit.COMPLETED)
