"""The tools over HTTP, as one route of the service: both protocol eras, no state between two calls."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Final

from mcp.server.mcpserver import Context
from mcp.server.transport_security import TransportSecuritySettings
from starlette.types import ASGIApp, Receive, Scope, Send

from ...domain.ports import Ids
from ..client import Client, InProcess
from .tools import build

_LOOPBACK: Final = ("127.0.0.1", "localhost", "[::1]")


class Served:
    """The route's ASGI application. Who may call it is asked by the route; each call is made with its own token."""

    def __init__(self, ids: Ids, *, body_bytes_max: int, loopback: bool) -> None:
        """`loopback`: this service has no tokens, so only a page from this machine may reach it through a browser."""
        self._ids = ids
        self._app: ASGIApp | None = None
        self._server = build(self._connected)
        self._server.streamable_http_app(
            stateless_http=True,
            json_response=True,
            max_request_body_size=body_bytes_max,
            transport_security=_security(loopback=loopback),
        )

    @asynccontextmanager
    async def serving(self, app: ASGIApp) -> AsyncGenerator[None, None]:
        """Serve, for as long as this lasts, calls that ask `app`. Once only."""
        self._app = app
        async with self._server.session_manager.run():
            yield

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._server.session_manager.handle_request(scope, receive, send)

    def _connected(self, ctx: Context[Any, Any]) -> Client:
        assert self._app is not None
        scheme, _, token = (ctx.headers or {}).get("authorization", "").partition(" ")
        token = token.strip() if scheme.lower() == "bearer" else ""
        return Client("http://in-process", token or None, ids=self._ids, transport=InProcess(self._app))


def _security(*, loopback: bool) -> TransportSecuritySettings:
    if not loopback:
        return TransportSecuritySettings(enable_dns_rebinding_protection=False)
    hosts = [name for host in _LOOPBACK for name in (host, f"{host}:*")]
    return TransportSecuritySettings(
        allowed_hosts=hosts, allowed_origins=[f"{scheme}://{host}" for scheme in ("http", "https") for host in hosts]
    )
