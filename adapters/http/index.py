"""What the server says about itself: the front page, its agents, that it lives, and whether it is ready."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from ...domain.application import Application
from ...domain.errors import Draining
from .resources import agent_resource, answer, page

_PAGE: Final = Path(__file__).with_name("index.html").read_bytes()
_PAGE_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "Content-Type": "text/html; charset=utf-8",
}


class Index:
    """The endpoints that need no tenant, and the list of agents."""

    def __init__(self, application: Application, draining: Callable[[], bool]) -> None:
        self._application = application
        self._draining = draining
        self._alive = answer({"status": "alive"})  # one answer for all: this is what latencies are measured against
        self._ready = answer({"status": "ready"})

    async def front_page(self, _: Request) -> Response:
        """GET /"""
        return Response(_PAGE, headers=_PAGE_HEADERS)

    async def alive(self, _: Request) -> Response:
        """GET /healthz: this process answers, whatever else may be wrong."""
        return self._alive

    async def ready(self, _: Request) -> Response:
        """GET /readyz: the store can be read, and new work is welcome. Raises Draining or StoreUnavailable."""
        if self._draining():
            raise Draining
        await self._application.store.check()
        return self._ready

    async def agents(self, _: Request) -> Response:
        """GET /v1/agents"""
        agents = sorted(self._application.agents.items())
        return answer(page([agent_resource(agent) for _, agent in agents], None))
