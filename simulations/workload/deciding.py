"""Deciding and cancelling: each request with its place in a history, so that races can be judged afterwards."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic_core import from_json, to_json

from ...domain.identifiers import RunId
from ..oracle.delivery import Seen
from ..oracle.histories import REFUSED, SUCCESS, UNKNOWN, Conflict, Operation, Said
from ..oracle.state import FINAL
from ..violation import Violation
from .board import Board
from .client import Client, Reply

THINK_S: Final = (0.0, 0.3, 1.5, 4.0)
"""Seconds people take; the last is longer than a short deadline."""

VERDICTS: Final = ("approve", "deny", "edit", "ignore")
"""What people do about an approval."""


class Deciding:
    """What people do about approvals and runs, each request with its place in a history."""

    def __init__(self, client: Client, board: Board) -> None:
        self._client = client
        self._world = client.world
        self._board = board

    def took(self, seen: Seen) -> None:
        """A frame arrived: perhaps somebody is asked for something."""
        if seen.kind == "approval.requested" and seen.run_id is not None:
            asked = from_json(seen.data)
            self._world.spawn(f"{self._client.name}/decide", self.decide_later(seen.run_id, asked))

    async def decide_later(self, run_id: RunId, approval: Mapping[str, Any]) -> None:
        """Think, then decide; perhaps say it twice, perhaps change one's mind."""
        tape, name = self._world.tape, self._client.name
        await asyncio.sleep(tape.pick(f"decide.think:{name}", THINK_S))
        verdict = tape.pick(f"decide.verdict:{name}", VERDICTS)
        if verdict == "ignore":
            return
        await self.decide(run_id, approval, verdict)
        if tape.chance(f"decide.again:{name}", 0.3):
            await self.decide(run_id, approval, tape.pick(f"decide.verdict:{name}", VERDICTS[:3]))

    async def decide(self, run_id: RunId, approval: Mapping[str, Any], verdict: str) -> None:
        """One decision about what was asked for, until it is answered."""
        approval_id = approval["approval_id"]
        asked: dict[str, Any] = {"approval_id": approval_id, "outcome": "deny" if verdict == "deny" else "approve"}
        asked["reason"] = f"{self._client.name} says so"
        if verdict == "edit":
            asked["arguments"] = {"sum": 1000}
        self._client.act(verdict, run=run_id, approval=approval_id)
        history = self._board.decisions.setdefault((run_id, approval_id), [])
        approved = None if verdict == "deny" else to_json(asked.get("arguments", approval["arguments"])).decode()
        said = Said(asked["outcome"], approved, reason=asked["reason"])
        await self._asked(f"/v1/runs/{run_id}/decisions", {"decisions": [asked]}, said, history, _verdict)

    async def cancel_later(self, run_id: RunId) -> None:
        """Cancel at some moment."""
        await asyncio.sleep(self._world.tape.between(f"cancel.when:{self._client.name}", 0.0, 6.0, 16))
        await self.cancel(run_id)

    async def cancel(self, run_id: RunId) -> None:
        """Cancel, until it is answered: with a final state, whoever won."""
        self._client.act("cancel", run=run_id)
        history = self._board.endings.setdefault(run_id, [])
        reply = await self._asked(f"/v1/runs/{run_id}/cancel", {"reason": "enough"}, "cancelled", history, _ending)
        if reply.status == 200 and reply.body["status"] not in FINAL:
            raise Violation("cancel-lost", f"{self._client.name} cancelled {run_id}; it is {reply.body['status']}.")

    async def _asked(
        self, path: str, body: Any, what: Any, history: list[Operation], answer: Callable[[Reply], Any]
    ) -> Reply:
        loop, name = self._world.loop, self._client.name
        unknown: list[float] = []
        called, place = loop.time(), len(history)
        history.append(Operation(name, what, UNKNOWN, called))  # until it is answered, which may be never
        reply = await self._client.ask("POST", path, body, unknown=lambda: unknown.append(loop.time()))
        if unknown:
            # Every try is an operation of its own: one that was lost may have happened at any time since.
            history.append(Operation(name, what, answer(reply), reply.called, reply.returned))
        else:
            history[place] = Operation(name, what, answer(reply), called, reply.returned)
        return reply


def _verdict(reply: Reply) -> Any:
    if reply.status == 200:
        return SUCCESS
    if reply.code != "decision_conflict":
        return REFUSED
    winner = reply.body["decision"]
    denied = winner["outcome"] == "deny"
    return Conflict(Said(winner["outcome"], None if denied else to_json(winner["decided_arguments"]).decode()))


def _ending(reply: Reply) -> Any:
    return reply.body["status"] if reply.status == 200 else REFUSED
