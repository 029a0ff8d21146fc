"""The tools over stdin and stdout, for a client that starts its servers itself: a client of a Reattach server.

It holds nothing: kill it, or the server it talks to, and the next call goes on.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

from mcp.server.mcpserver import Context

from ..client import Client, Patience
from .tools import build

PATIENCE: Final = Patience(attempts_max=9)
"""A server that restarts is waited for about half a minute; a model would only repeat the call."""


async def serve(url: str, token: str | None) -> None:
    """Serve until stdin ends. Raises Invalid for a URL or token that can't work."""
    async with Client(url, token, patience=PATIENCE) as client:

        @asynccontextmanager
        async def connected(_: Context[Any, Any]) -> AsyncGenerator[Client, None]:
            yield client  # one for all calls: it has one caller

        await build(connected).run_stdio_async()
