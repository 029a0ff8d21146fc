"""Summarizers: they claim what is due, ask a model, keep what it said, and die in between like everybody else."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from ...domain.identifiers import SessionId
from ..violation import Violation
from .board import Board
from .client import Client, Place, Reply

POLL_S: Final = 0.7
"""Seconds between two looks."""

MODEL_S: Final = (0.1, 0.6, 2.0)
"""Seconds a model takes; the last is longer than the claim."""

DONE_S: Final = 30.0
"""Seconds after the last owner has gone within which all memories are summarized."""

_REFUSED: Final = ("summary_not_due", "stale_token", "illegal_transition", "not_found")


class Summarizer:
    """One that looks after all sessions there are."""

    def __init__(self, world: Place, board: Board, name: str) -> None:
        self._world = world
        self._board = board
        self._client = Client(world, name)

    async def live(self) -> None:
        """Until all is summarized that the owners have left. Raises summary-never."""
        until: float | None = None
        while True:
            await asyncio.sleep(POLL_S)
            for session_id in tuple(self._board.shared):
                await self._look(session_id)
            if not self._world.healed or self._board.owners_left:
                continue
            due = [name for name in self._board.shared if not self._summarized(name)]
            if not due:
                return
            now = self._world.loop.time()
            until = until if until is not None else now + DONE_S
            if now > until:
                detail = f"{due[0]} is not summarized {DONE_S:.0f} s after its last owner has gone."
                raise Violation("summary-never", detail, session_id=due[0])

    def _summarized(self, session_id: SessionId) -> bool:
        session = self._world.log.sessions[session_id]
        return session.status == "deleted" or session.watermark == len(session.hashes)

    async def _look(self, session_id: SessionId) -> None:
        path = f"/v1/sessions/{session_id}/summary"
        reply = await self._client.ask("POST", f"{path}/claim", {"by": self._client.name})
        if not self._taken(reply):
            return
        work = reply.body
        if work["is_staged"]:
            self._check_staged(session_id, work)
        elif not await self._ask_model(session_id, path, work):
            return
        if self._dies("complete"):
            return
        reply = await self._client.ask("POST", f"{path}/complete", {"token": work["token"]})
        if self._taken(reply) and reply.body["watermark"] < work["through"]:
            raise Violation("answer-wrong", f"{self._client.name}: completed up to {reply.body['watermark']}: {work}.")

    async def _ask_model(self, session_id: SessionId, path: str, work: Mapping[str, Any]) -> bool:
        """Whether the result is safe."""
        if self._dies("model"):
            return False
        seconds = self._world.tape.pick(f"summary.model:{self._client.name}", MODEL_S[: 1 if self._world.healed else 3])
        await asyncio.sleep(seconds)
        result = {"up_to": work["through"], "by": self._client.name}
        self._board.staged.setdefault((session_id, work["through"]), []).append(result)
        reply = await self._client.ask("POST", f"{path}/stage", {"token": work["token"], "result": result})
        return self._taken(reply)

    def _check_staged(self, session_id: SessionId, work: Mapping[str, Any]) -> None:
        """Raises staged-wrong: what is brought back is what somebody staged for the same memories."""
        self._world.mark("staged-used")
        if work["staged"] not in self._board.staged.get((session_id, work["through"]), []):
            detail = f"{self._client.name} is brought {work['staged']}, which nobody staged up to {work['through']}."
            raise Violation("staged-wrong", detail, session_id=session_id)

    def _dies(self, where: str) -> bool:
        """Whether it forgets what it was doing."""
        dead = not self._world.healed and self._world.tape.chance(
            f"summary.dies-before-{where}:{self._client.name}", 0.3
        )
        if dead:
            self._client.act(f"die before {where}")
        return dead

    def _taken(self, reply: Reply) -> bool:
        if reply.status == 200:
            return True
        if reply.code not in _REFUSED:
            raise Violation("answer-wrong", f"{self._client.name}: a summary was answered {reply.status}: {reply.body}")
        return False
