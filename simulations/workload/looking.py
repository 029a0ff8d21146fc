"""Somebody who looks at everything once all is at rest: whatever can be read, and nothing may change by it."""

from collections.abc import Iterator
from typing import Final

from ..store.core import Core
from ..store.halfway import check_halfway
from ..violation import Violation
from .board import Board
from .client import Client, Place, asking, whole

LOOKS_P: Final = 0.5
"""Part of the worlds in which somebody looks."""


class Looking:
    """Reads every resource there is, on every node. `core` is the store, which is looked at from outside."""

    def __init__(self, world: Place, board: Board, name: str, core: Core) -> None:
        self._world = world
        self._board = board
        self._client = Client(world, name)
        self._core = core

    async def live(self) -> None:
        """Look, or don't. Raises get-wrote, half-kept, answer-wrong and ConnectionLost."""
        check_halfway(self._core)
        if not self._world.tape.chance(f"look:{self._client.name}", LOOKS_P):
            return
        before = self._core.digest()
        for node in sorted(self._world.network.nodes):
            for path in self._paths():
                await self._look(node, path)
        if self._core.digest() != before:
            raise Violation("get-wrote", "Somebody looked at everything, and the store is another afterwards.")
        self._world.mark("looked-at-rest")

    def _paths(self) -> Iterator[str]:
        yield from ("/", "/healthz", "/readyz", "/v1/agents", "/v1/sessions?limit=5", "/v1/runs?limit=5")
        if self._board.runs:
            known = self._board.runs[-1]
            run, session = f"/v1/runs/{known.run_id}", f"/v1/sessions/{known.session_id}"
            yield from (run, f"{run}/events?follow=false", f"{run}/events?snapshot=true")
            yield from (session, f"{session}/messages?limit=5", f"{session}/events?follow=false")

    async def _look(self, node: str, path: str) -> None:
        exchange = self._world.network.open(self._client.name, node, asking("GET", path))
        try:
            head = await exchange.head()
            await whole(exchange)
        finally:
            exchange.close()
        if head.status != 200:
            raise Violation("answer-wrong", f"{self._client.name}: GET {path} at rest was answered {head.status}.")
