"""Those who come in the middle: they read a session's tail, and the rest of it from the cursor that the tail gives."""

import asyncio
from typing import Final

from .board import Board
from .client import Client, Place
from .follower import Follower
from .resuming import Resuming

GLANCE_S: Final = (0.5, 2.0, 5.0)
"""Seconds such a reader stays."""


class Tailer:
    """Reads tails of sessions that others are busy with, under load: the tail and the stream are the whole."""

    def __init__(self, world: Place, board: Board, name: str) -> None:
        self._world = world
        self._board = board
        self._client = Client(world, name)
        self._resuming = Resuming(self._client, board)

    async def live(self) -> None:
        """Until the faults are over. Raises a Violation."""
        tape, name = self._world.tape, self._client.name
        while not self._world.healed:
            await asyncio.sleep(0.1 + tape.between(f"tailer.pause:{name}", 0.0, 2.0, 8))
            known = [*self._board.shared, *dict.fromkeys(run.session_id for run in self._board.runs)]
            if not known:
                continue
            session_id = known[-1 - tape.draw(f"tailer.session:{name}", len(known))]
            tail = await self._resuming.tail(session_id)
            if tail is not None and tape.chance(f"tailer.follows:{name}", 0.5):
                follower = Follower(self._client, session_id=session_id, restless=0.1, after=tail["cursor"])
                self._world.loop.call_later(tape.pick(f"tailer.stays:{name}", GLANCE_S), follower.stop)
                await follower.follow()
                self._world.mark("tail-and-stream")
