"""Planned handoffs: the source asks, drains and lets go, or forgets to; the target comes, or never does."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from ...domain.identifiers import SessionId
from ..violation import Violation
from .board import Board
from .client import Client
from .resuming import Held, Resuming

POLL_S: Final = 0.25
"""Seconds between two looks at a handoff."""

LOOKS_MAX: Final = 14
"""Looks before one gives up: longer than a handoff lasts."""

TIMEOUTS_S: Final = (3.0, 1.0)
"""Seconds a handoff waits for its target."""


class Handing:
    """One client's part in handoffs, on either side."""

    def __init__(self, client: Client, board: Board, resuming: Resuming) -> None:
        self._client = client
        self._board = board
        self._resuming = resuming
        self._count = 0

    # The source.

    async def let_go(self, held: Held, start: Callable[[], Awaitable[None]]) -> None:
        """Ask, perhaps with inputs before and after; wait until all is done; say so. Raises a Violation."""
        tape, name = self._client.world.tape, self._client.name
        if tape.chance(f"handing.input-before:{name}", 0.5):
            await start()
        self._count += 1
        handoff_id = f"{name}-h{self._count}"
        if not await self._request(held.session_id, handoff_id):
            return
        if tape.chance(f"handing.input-after:{name}", 0.6):
            await start()
        if tape.chance(f"handing.forgets:{name}", 0.15):
            return
        if await self._drained(held.session_id, handoff_id):
            await self._move(held, handoff_id, "ready")
        if tape.chance(f"handing.abandons:{name}", 0.2):
            await self._move(held, handoff_id, "abandon")

    async def _request(self, session_id: SessionId, handoff_id: str) -> bool:
        """Whether it is under way. The same id is the same handoff."""
        path = f"/v1/sessions/{session_id}/handoffs"
        body = {
            "handoff_id": handoff_id,
            "timeout_s": self._client.world.tape.pick(f"handing.timeout:{self._client.name}", TIMEOUTS_S),
        }
        self._client.act("hand over", session=session_id, handoff=handoff_id)
        first = await self._client.ask("POST", path, body)
        if first.status not in (200, 201):
            self._refused(first.status, first.code, first.body)
            return False
        self._board.handoffs.setdefault(session_id, []).append(handoff_id)
        again = await self._client.ask("POST", path, body)
        if again.status == 200 and any(again.body[name] != first.body[name] for name in ("barrier", "expires_at")):
            raise Violation("handoff-twice", f"{handoff_id} is {first.body}, and then {again.body}.")
        return True

    async def _drained(self, session_id: SessionId, handoff_id: str) -> bool:
        for _ in range(LOOKS_MAX):
            seen = await self._look(session_id, handoff_id)
            if seen is None or seen["status"] not in ("requested", "ready"):
                return False
            if seen["drained"]:
                return True
            await asyncio.sleep(POLL_S)
        return False

    async def _move(self, held: Held, handoff_id: str, action: str) -> None:
        path = f"/v1/sessions/{held.session_id}/handoffs/{handoff_id}"
        reply = await self._client.ask("POST", path, {"action": action}, headers=held.headers)
        if reply.status != 200:
            self._refused(reply.status, reply.code, reply.body)

    # The target.

    async def arrive(self, session_id: SessionId) -> Held | None:
        """Wait until somebody's handoff is ready, and go on with the session; None if there is none for it."""
        tape, name = self._client.world.tape, self._client.name
        waiting = self._board.handoffs.get(session_id, [])
        if not waiting:
            return None
        handoff_id = waiting[-1]
        patient = tape.chance(f"handing.patient:{name}", 0.8)
        for _ in range(LOOKS_MAX if patient else 1):
            seen = await self._look(session_id, handoff_id)
            if seen is None or seen["status"] in ("completed", "abandoned"):
                return None
            if seen["status"] == "ready" or not patient:
                break
            await asyncio.sleep(POLL_S)
        key = self._client.new_key() if tape.chance(f"handing.keyed:{name}", 0.5) else None
        return await self._resuming.resume(session_id, handoff_id=handoff_id, key=key)

    async def _look(self, session_id: SessionId, handoff_id: str) -> dict[str, Any] | None:
        reply = await self._client.ask("GET", f"/v1/sessions/{session_id}/handoffs/{handoff_id}")
        if reply.status == 200:
            seen: dict[str, Any] = reply.body
            return seen
        self._refused(reply.status, reply.code, reply.body)
        return None

    def _refused(self, status: int, code: str | None, body: Any) -> None:
        if code not in ("handoff_conflict", "not_found", "stale_epoch", "session_finalized", "illegal_transition"):
            raise Violation("answer-wrong", f"{self._client.name}: a handoff was answered {status}: {body}")
