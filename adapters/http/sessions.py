"""The routes of sessions: create, list, get, tail, the history of messages, and the end."""

from typing import Final

from pydantic import JsonValue
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from ...domain.application import Application
from ...domain.errors import Malformed, NotFound, TooLarge
from ...domain.ports import SessionView, Span
from ...domain.run import Run
from ...domain.session import Session
from ...domain.transitions import SessionStatus
from .body import Bodies, Body
from .history import history, place_of
from .problems import UnknownPage
from .query import REPLAYED, PageQuery, idempotency_in, session_epoch_in
from .resources import active_run_resource, answer, page, session_path, session_resource
from .tail import tail_resource

METADATA_BYTES_MAX: Final = 16_384
"""Bytes of a session's metadata as JSON."""

_LISTED: Final = (SessionStatus.OPEN.value, SessionStatus.FINALIZED.value)


class CreateSession(Body):
    """The body of a new session. `metadata` is the client's own; nothing here reads it."""

    metadata: dict[str, JsonValue] = {}


class Nothing(Body):
    """A body without fields."""


class Sessions:
    """The endpoints, each one use case."""

    def __init__(self, application: Application, bodies: Bodies) -> None:
        self._application = application
        self._store = application.store
        self._bodies = bodies

    async def create(self, request: Request) -> Response:
        """POST /v1/sessions"""
        body = await self._bodies.read(request, CreateSession)
        if len(to_json(body.metadata)) > METADATA_BYTES_MAX:
            raise TooLarge(f"Metadata has at most {METADATA_BYTES_MAX} bytes.", limit=METADATA_BYTES_MAX)
        idempotency = idempotency_in(request.scope, body.metadata)
        session = await self._application.create_session(request.scope["tenant"], body.metadata, idempotency)
        headers = {"Location": session_path(session, request.scope)}
        if idempotency is not None and idempotency.replayed:
            headers[REPLAYED] = "true"
        return answer(session_resource(SessionView(session, None)), 201, headers)

    async def browse(self, request: Request) -> Response:
        """GET /v1/sessions?status=&cursor=&limit="""
        query = PageQuery.of(request.scope, "status")
        query.choice("status", _LISTED)
        tenant: str = request.scope["tenant"]
        if query.cursor is not None:
            await self._known(tenant, query.cursor)
        found = await self._store.sessions(tenant, query.filters, query.cursor, query.limit)
        items = [session_resource(view) for view in found.items if isinstance(view, SessionView)]
        return answer(page(items, found.next_cursor))

    async def get(self, request: Request) -> Response:
        """GET /v1/sessions/{session_id}, with the run it is busy with."""
        view = await self._view(request.scope)
        active = await self._active_run(view.session)
        resource = session_resource(view)
        if active is None:  # it may have ended between the two reads: the session's own row then says so already
            resource["active_run_id"] = None
        return answer({**resource, "active_run": active and active_run_resource(active)})

    async def messages(self, request: Request) -> Response:
        """GET /v1/sessions/{session_id}/messages?before=|after=&limit=: the newest page, or those beside a message.

        Oldest first. `next_cursor` is the message to go on from in the same direction.
        """
        query = PageQuery.of(request.scope, "after", cursor="before")
        session = (await self._view(request.scope)).session
        after = query.filters.get("after")
        if after is not None and query.cursor is not None:
            raise Malformed("?before and ?after exclude each other.", field="after")
        span = Span(
            after=await place_of(self._store, session, after, "after") if after is not None else None,
            before=await place_of(self._store, session, query.cursor, "before") if query.cursor is not None else None,
            oldest=after is not None,
        )
        items, more = await history(self._store, session.session_id, span, query.limit)
        return answer(page(items, items[-1 if span.oldest else 0]["message_id"] if more else None))

    async def tail(self, request: Request) -> Response:
        """GET /v1/sessions/{session_id}/tail?limit=: all that a client needs to show the session and to go on."""
        query = PageQuery.of(request.scope, cursor=None)
        session = (await self._view(request.scope)).session
        return answer(await tail_resource(self._store, session.session_id, query.limit))

    async def finalize(self, request: Request) -> Response:
        """POST /v1/sessions/{session_id}/finalize: the session as it is afterwards, also if it was finalized before."""
        scope = request.scope
        await self._bodies.read(request, Nothing)
        session_id: str = scope["path_params"]["session_id"]
        await self._application.sessions.finalize(scope["tenant"], session_id, session_epoch_in(scope))
        return answer(session_resource(await self._view(scope)))

    async def delete(self, request: Request) -> Response:
        """DELETE /v1/sessions/{session_id}: 204; from then on it is unknown to everybody."""
        scope = request.scope
        session_id: str = scope["path_params"]["session_id"]
        await self._application.sessions.delete(scope["tenant"], session_id, session_epoch_in(scope))
        return Response(status_code=204, headers={"Cache-Control": "no-store"})

    async def _view(self, scope: Scope) -> SessionView:
        return await self._application.session_view(scope["tenant"], scope["path_params"]["session_id"])

    async def _active_run(self, session: Session) -> Run | None:
        if session.active_run_id is None:
            return None
        view = await self._store.run_view(session.active_run_id)
        return None if view is None or view.run.final else view.run

    async def _known(self, tenant: str, cursor: str) -> None:
        """Raise UnknownPage unless the cursor is a session of the tenant."""
        try:
            await self._application.session(tenant, cursor)
        except NotFound:
            raise UnknownPage(field="cursor") from None
