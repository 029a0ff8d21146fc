"""Calling tools with the SDK's own client, over real sockets or a real process's stdin and stdout."""

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import TextContent

from ..system.server import ROOT

MODES = {"modern": "2026-07-28", "legacy": "legacy"}
R = TypeVar("R")


class Refused(Exception):
    """A tool's error, as the model reads it."""


class Tools:
    """A connected client: `await tools("name", ...)` is the structured answer."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def __call__(self, tool: str, **arguments: Any) -> dict[str, Any]:
        result = await self.client.call_tool(tool, arguments)
        if result.is_error:
            raise Refused("".join(part.text for part in result.content if isinstance(part, TextContent)))
        answer: dict[str, Any] | None = result.structured_content
        assert answer is not None
        return answer


@dataclass(frozen=True)
class Way:
    """A way in: over HTTP, or through `reattach mcp`; in the modern era's protocol or the one before."""

    url: str
    transport: str = "http"
    era: str = "modern"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    @asynccontextmanager
    async def connected(self) -> AsyncGenerator[Tools]:
        mode = MODES[self.era]
        if self.transport == "stdio":
            environment = {"PYTHONPATH": str(ROOT / ".src"), "REATTACH_URL": self.url, **self.headers}
            command = StdioServerParameters(command=sys.executable, args=["-m", "reattach", "mcp"], env=environment)
            async with Client(stdio_client(command), mode=mode) as client:
                yield Tools(client)
            return
        async with (
            httpx2.AsyncClient(headers=self.headers, timeout=30) as http,
            Client(streamable_http_client(f"{self.url}/mcp", http_client=http), mode=mode) as client,
        ):
            yield Tools(client)

    def talk(self, scenario: Callable[[Tools], Awaitable[R]]) -> R:
        """Run a scenario with a connected client."""

        async def talking() -> R:
            async with self.connected() as tools:
                return await scenario(tools)

        return asyncio.run(talking())
