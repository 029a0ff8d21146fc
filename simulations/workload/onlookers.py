"""Those who come by: rivals decide and cancel what others started, watchers look over their shoulders."""

import asyncio
from contextlib import suppress
from typing import Final

from ...domain.identifiers import RunId, SessionId
from ..exchange import ConnectionLost
from ..oracle.delivery import Asked, Delivery
from ..violation import Violation
from .board import Board, Known
from .client import Client, Place, Reply, asking
from .deciding import VERDICTS, Deciding
from .readers import reader

GLANCE_S: Final = 6.0
"""Seconds a watcher looks at a session's stream, which has no end."""


class Rival:
    """Comes by now and then, and decides or cancels what others started."""

    def __init__(self, world: Place, board: Board, name: str) -> None:
        self._world = world
        self._board = board
        self._client = Client(world, name)
        self._deciding = Deciding(self._client, board)

    async def live(self) -> None:
        """Until the authors have gone."""
        tape, name = self._world.tape, self._client.name
        while not self._world.healed:
            await asyncio.sleep(0.4 + tape.between(f"rival.pause:{name}", 0.0, 2.0, 8))
            if not self._board.runs or self._world.healed:
                continue
            known = self._board.runs[-1 - tape.draw(f"rival.run:{name}", len(self._board.runs))]
            await self._look(known)

    async def _look(self, known: Known) -> None:
        tape, name = self._world.tape, self._client.name
        before = self._world.log.head(known.run_id)
        reply = await self._client.ask("GET", f"/v1/runs/{known.run_id}")
        self._judge_view(known.run_id, reply, before)
        for approval in reply.body["pending_approvals"]:
            if tape.chance(f"rival.decides:{name}", 0.5):
                verdict = tape.pick(f"decide.verdict:{name}", VERDICTS[:3])
                await self._deciding.decide(known.run_id, approval, verdict)
        if tape.chance(f"rival.cancels:{name}", 0.05):
            await self._deciding.cancel(known.run_id)
        if tape.chance(f"rival.intrudes:{name}", 0.15):
            await self._intrude(known.session_id)

    async def _intrude(self, session_id: SessionId) -> None:
        """Take a turn in another's session; it is refused while one is active."""
        self._board.intruded.add(session_id)
        self._client.act("start", session=session_id)
        body = {"agent": "script", "input": {"steps": [{"text": "And me?"}, {"wait_ms": 300}]}}
        path = f"/v1/sessions/{session_id}/runs"
        reply = await self._client.ask("POST", path, body, key=self._client.new_key())
        if reply.status == 202:
            await reader(self._client, RunId(reply.body["run_id"])).follow()
        elif reply.code != "session_busy":
            detail = f"{self._client.name}: a turn in {session_id} was answered {reply.status}: {reply.body}"
            raise Violation("answer-wrong", detail)

    def _judge_view(self, run_id: RunId, reply: Reply, before: int) -> None:
        if reply.status != 200:
            raise Violation("run-lost", f"{self._client.name}: {run_id} exists, but was answered {reply.status}.")
        head = reply.body["head_seq"]
        if not before <= head <= self._world.log.head(run_id):
            detail = f"{self._client.name}: {run_id} was said to end at {head}, it was {before} before."
            raise Violation("view-stale", detail, run_id=run_id)


class Watcher:
    """Looks over others' shoulders: runs and sessions, from anywhere in them, late or early."""

    def __init__(self, world: Place, board: Board, name: str) -> None:
        self._world = world
        self._board = board
        self._client = Client(world, name)

    async def live(self) -> None:
        """Until the authors have gone, and then to the end of what it watches."""
        tape, name = self._world.tape, self._client.name
        while self._board.authors_left or not self._board.runs:
            await asyncio.sleep(0.2 + tape.between(f"watcher.pause:{name}", 0.0, 3.0, 8))
            if not self._board.runs:
                continue
            known = self._board.runs[-1 - tape.draw(f"watcher.run:{name}", len(self._board.runs))]
            match tape.draw(f"watcher.how:{name}", 3):
                case 0:
                    await reader(self._client, known.run_id, restless=0.1).follow()
                case 1:
                    await self._replay(known.run_id)
                case _:
                    await self._session(known.session_id)

    async def _replay(self, run_id: RunId) -> None:
        """?follow=false: what is there, and no more."""
        request = asking("GET", f"/v1/runs/{run_id}/events?follow=false")
        delivery = Delivery(self._world.log, Asked(run_id, None, follow=False), self._client.name, self._world.mark)
        with suppress(ConnectionLost):
            async with self._client.exchange(request) as exchange:
                await exchange.head()
                while data := await exchange.read():
                    delivery.feed(data)
                delivery.ended()

    async def _session(self, session_id: SessionId) -> None:
        """A session's stream, for a while: it goes on over its runs and has no end."""
        follower = reader(self._client, session_id=session_id, restless=0.1)
        self._world.loop.call_later(GLANCE_S, follower.stop)
        await follower.follow()
