"""One operation of the table: the one way in and out. Limits, who may, then the endpoint; or a problem document."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import groupby
from typing import Final, NamedTuple
from urllib.parse import unquote

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Receive, Scope, Send

from ...domain.errors import Draining, NotFound, ReattachError, RecordDamaged
from .auth import Audience, Tokens
from .problems import MethodNotAllowed, problem
from .query import check_query, refuse_query

Endpoint = Callable[[Request], Awaitable[ASGIApp]]

LOGGER: Final = logging.getLogger(__name__)

_SLASH: Final = "\udc2f"
"""No path holds a lone surrogate once it is decoded."""


class Operation(NamedTuple):
    """One method of one path. `starts_work`: not while this process drains. `stream`: no HEAD, for it has no end.

    `query`: the endpoint reads the query itself, and refuses what it does not know. What is PUBLIC ignores any.
    """

    method: str
    path: str
    endpoint: Endpoint
    audience: Audience = Audience.TENANT
    starts_work: bool = False
    stream: bool = False
    query: bool = False


class Door:
    """What every request has to pass before its endpoint sees it."""

    def __init__(self, tokens: Tokens, draining: Callable[[], bool]) -> None:
        self._tokens = tokens
        self._draining = draining

    def admit(self, scope: Scope, operation: Operation) -> None:
        """Note the tenant as `scope["tenant"]`. Raises Malformed, Unauthorized, Forbidden or Draining."""
        check_query(scope)
        if operation.audience is not Audience.PUBLIC:
            scope["tenant"] = self._tokens.tenant(scope, operation.audience)
            if not operation.query:
                refuse_query(scope)
        if operation.starts_work and self._draining():
            raise Draining


class Path:
    """One path and its methods, as an ASGI application. `operations` are the rows of the table, by method."""

    def __init__(self, door: Door, operations: Sequence[Operation]) -> None:
        self._door = door
        self.operations = {operation.method: operation for operation in operations}
        get = self.operations.get("GET")
        if get is not None and not get.stream:
            self.operations["HEAD"] = get  # the server leaves the body out
        self._allow = ", ".join(sorted([*self.operations, "OPTIONS"]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            respond = await self._respond(scope, receive)
            await respond(scope, receive, send)  # a stream, too, refuses by raising, before it has sent anything
        except ReattachError as error:
            await problem(error, scope["path_params"])(scope, receive, send)
        except ClientDisconnect:
            pass

    async def _respond(self, scope: Scope, receive: Receive) -> ASGIApp:
        if scope["path"].endswith("\n"):  # the router's patterns end in `$`, which overlooks it
            raise _nothing_at(scope)
        operation = self.operations.get(scope["method"])
        if operation is None:
            if scope["method"] == "OPTIONS":
                return Response(status_code=204, headers={"Allow": self._allow})
            raise MethodNotAllowed(f"Here: {self._allow}.", allow=self._allow)
        self._door.admit(scope, operation)
        try:
            return await operation.endpoint(Request(scope, receive))
        except RecordDamaged:
            LOGGER.exception("%s %s", operation.method, operation.path)
            raise
        except (ReattachError, ClientDisconnect):
            raise
        except Exception:
            LOGGER.exception("%s %s: a bug", operation.method, operation.path)  # the traceback is for us alone
            raise ReattachError from None


def routes(door: Door, operations: Iterable[Operation]) -> list[Route]:
    """One route a path, in the order of the table: it is matched from the top."""
    by_path = groupby(operations, key=lambda operation: operation.path)
    return [Route(path, Path(door, list(of_path))) for path, of_path in by_path]


class Table(Router):
    """Starlette's router without what nothing here uses (middleware, redirects, methods): a stream holds every frame
    of its way in for as long as it lasts."""

    def __init__(self, paths: Sequence[Route]) -> None:
        super().__init__(paths, redirect_slashes=False, default=unknown_path)
        self._paths = [(route.path_regex, route.app) for route in paths]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        path, raw = scope["path"], scope.get("raw_path") or b""
        slashes = b"%2F" in raw or b"%2f" in raw
        if slashes:
            path = _in_segments(raw)
        for pattern, app in self._paths:
            found = pattern.match(path)
            if found:
                parameters = found.groupdict()
                if slashes:
                    parameters = {name: text.replace(_SLASH, "/") for name, text in parameters.items()}
                scope["path_params"] = parameters
                await app(scope, receive, send)
                return
        await unknown_path(scope, receive, send)


async def unknown_path(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers every path that stands in no table."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1000})
        return
    await problem(_nothing_at(scope))(scope, receive, send)


def _in_segments(raw_path: bytes) -> str:
    """The path, decoded, with _SLASH for slashes inside a segment: part of an id, they lead to no other route."""
    segments = raw_path.decode("latin-1").split("/")
    return "/".join(unquote(segment).replace("/", _SLASH) for segment in segments)


def _nothing_at(scope: Scope) -> NotFound:
    return NotFound(f"There is nothing at {scope['path']!r:.80}.")
