"""The routes of sessions: create, list, get, and the history of messages."""

import re
from collections.abc import Sequence
from typing import Final

from pydantic import JsonValue
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from ...domain.application import Application
from ...domain.errors import NotFound, TooLarge
from ...domain.identifiers import RUN_PREFIX, RunId, is_identifier
from ...domain.messages import Fields
from ...domain.request_config import RequestConfig
from ...domain.run import Run
from ...domain.session import Session
from ...domain.snapshot import Snapshot
from ...domain.transitions import SessionStatus
from .body import Bodies, Body
from .problems import UnknownPage
from .query import REPLAYED, PageQuery, idempotency_in
from .resources import Resource, active_run_resource, answer, page, session_path, session_resource

METADATA_BYTES_MAX: Final = 16_384
"""Bytes of a session's metadata as JSON."""

_ORDINAL: Final = re.compile(r"[0-9]{1,9}", re.ASCII)
_LISTED: Final = (SessionStatus.OPEN.value, SessionStatus.FINALIZED.value)

Place = tuple[int, int, int]


class CreateSession(Body):
    """The body of a new session. `metadata` is the client's own; nothing here reads it."""

    metadata: dict[str, JsonValue] = {}


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
        return answer(session_resource(session), 201, headers)

    async def browse(self, request: Request) -> Response:
        """GET /v1/sessions?status=&cursor=&limit="""
        query = PageQuery.of(request.scope, "status")
        query.choice("status", _LISTED)
        tenant: str = request.scope["tenant"]
        if query.cursor is not None:
            await self._known(tenant, query.cursor)
        found = await self._store.sessions(tenant, query.filters, query.cursor, query.limit)
        items = [session_resource(session) for session in found.items if isinstance(session, Session)]
        return answer(page(items, found.next_cursor))

    async def get(self, request: Request) -> Response:
        """GET /v1/sessions/{session_id}, with the run it is busy with."""
        session = await self._session(request.scope)
        active = await self._active_run(session)
        if active is None:  # it may have ended between the two reads: the session's own row then says so already
            session = session.model_copy(update={"active_run_id": None})
        return answer({**session_resource(session), "active_run": active and active_run_resource(active)})

    async def messages(self, request: Request) -> Response:
        """GET /v1/sessions/{session_id}/messages?before=&limit=: the newest page first, in it the oldest first."""
        query = PageQuery.of(request.scope, cursor="before")
        session = await self._session(request.scope)
        before = await self._place(session, query.cursor) if query.cursor is not None else None
        found = await self._store.messages(session.session_id, before, query.limit + 1)
        items = [message for _, message in found[-query.limit :]]
        more = len(found) > query.limit
        shown = await self._as_configured(items)
        return answer(page(shown, items[0]["message_id"] if more else None))

    async def _session(self, scope: Scope) -> Session:
        return await self._application.session(scope["tenant"], scope["path_params"]["session_id"])

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

    async def _place(self, session: Session, message_id: str) -> Place:
        """Where the message stands that a page ended with. Raises UnknownPage."""
        given, _, rest = message_id.partition(":")
        run_id, _, ordinal = rest.partition(":")
        if given == session.session_id and is_identifier(RUN_PREFIX, run_id) and _ORDINAL.fullmatch(ordinal):
            view = await self._store.run_view(RunId(run_id))
            if view is not None and view.run.session_id == session.session_id:
                return view.run.turn, view.run.attempt, int(ordinal)
        raise UnknownPage(field="before")

    async def _as_configured(self, messages: Sequence[Fields]) -> Sequence[Resource]:
        """Every message as its run's request_config shows it, like the stream of that run does."""
        shown: list[Resource] = []
        configs: dict[RunId, RequestConfig] = {}
        for message in messages:
            run_id = RunId(message["message_id"].split(":")[1])
            if run_id not in configs:
                view = await self._store.run_view(run_id)
                configs[run_id] = view.run.request_config if view is not None else RequestConfig()
            shown.append(_as_shown(message, configs[run_id]))
        return shown


def _as_shown(message: Fields, config: RequestConfig) -> Resource:
    if config.shows_everything:
        return message
    state: Fields = {"run": {}, "messages": [message], "pending_approvals": []}
    filtered: Resource = Snapshot.load(state, 0).state(config)["messages"][0]
    return filtered
