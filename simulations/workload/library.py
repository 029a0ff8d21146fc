"""What people ask by the Python client instead of plain HTTP: it repeats by itself, with keys of its own."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from ...adapters.client import Client as Library
from ...adapters.client import Patience
from ...domain.errors import SessionBusy
from ...domain.identifiers import RunId, SessionId
from ..violation import Violation
from .board import Board
from .client import ANSWER_S, RETRY_S, TRIES_MAX, Client
from .program import ORIGIN
from .transport import TapeIds, Wire

BUSY_S: Final = 0.5
"""Seconds before another try where somebody else's turn is under way."""

PATIENCE: Final = Patience(
    wait_min_s=RETRY_S, wait_max_s=RETRY_S, connect_s=ANSWER_S, answer_s=ANSWER_S, attempts_max=TRIES_MAX
)


async def start_by_library(
    client: Client, ids: TapeIds, board: Board, session_id: SessionId, body: Mapping[str, Any]
) -> RunId:
    """Start a run. One call is one run, however often it is sent. Raises turn-refused."""
    wire = Wire(client, lambda _: None, lambda: None, lambda: False)
    client.act("start", agent=body["agent"], library=True)
    async with Library(ORIGIN, ids=ids, patience=PATIENCE, transport=wire) as library:
        while True:
            try:
                run = await library.start_run(
                    body["agent"], body["input"], session_id, request_config=body.get("request_config")
                )
            except SessionBusy as busy:
                if session_id not in board.intruded:
                    detail = f"{client.name} (the Python client): {busy} Its last run had ended."
                    raise Violation("turn-refused", detail) from busy
                await asyncio.sleep(BUSY_S)
            else:
                client.world.mark("started-by-the-client")
                return RunId(run.run_id)
