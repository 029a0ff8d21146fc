"""The routes of a session's owner: resume, renew, detach, and the planned handoff to the next one."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from ...domain.application import Application
from ...domain.handoffs import HANDOFF_ID_CHARS_MAX
from ...domain.requests import HANDOFF_TIMEOUT_S_MAX
from ...domain.session_facts import Handoff
from ...domain.sessions import CLIENT_CHARS_MAX
from .body import Bodies, Body
from .query import PAGE_LIMIT, REPLAYED, idempotency_in, owner_epoch_in
from .resources import answer, handoff_resource, session_resource
from .sessions import Nothing
from .tail import tail_resource

ClientId = Annotated[str, Field(min_length=1, max_length=CLIENT_CHARS_MAX)]
HandoffId = Annotated[str, Field(pattern=rf"^[A-Za-z0-9][A-Za-z0-9._~-]{{0,{HANDOFF_ID_CHARS_MAX - 1}}}$")]


class Resume(Body):
    """The body of a resume. `takeover` also replaces a live owner; `handoff_id` is for the target of a handoff."""

    client_id: ClientId
    takeover: bool = False
    handoff_id: HandoffId | None = None


class RequestHandoff(Body):
    """The body of a new handoff. Whoever may have to ask again chooses the id, or sends an Idempotency-Key."""

    handoff_id: HandoffId | None = None
    timeout_s: Annotated[float, Field(gt=0, le=HANDOFF_TIMEOUT_S_MAX)] | None = None


class MoveHandoff(Body):
    """The body of a handoff's next step."""

    action: Literal["ready", "abandon"]


class Ownership:
    """The endpoints, each one use case."""

    def __init__(self, application: Application, bodies: Bodies) -> None:
        self._application = application
        self._bodies = bodies

    async def resume(self, request: Request) -> Response:
        """POST /v1/sessions/{session_id}/resume: 200 and the session, or 201, a new one and why."""
        scope = request.scope
        body = await self._bodies.read(request, Resume)
        idempotency = idempotency_in(scope, body.model_dump(mode="json"))
        resumed = await self._application.sessions.resume(
            scope["tenant"],
            scope["path_params"]["session_id"],
            body.client_id,
            takeover=body.takeover,
            handoff_id=body.handoff_id,
            idempotency=idempotency,
        )
        replayed = {REPLAYED: "true"} if idempotency is not None and idempotency.replayed else {}
        tail = await tail_resource(self._application.store, resumed.session_id, PAGE_LIMIT)
        return answer({**resumed.model_dump(), "tail": tail}, 200 if resumed.resumed else 201, replayed)

    async def renew(self, request: Request) -> Response:
        """POST /v1/sessions/{session_id}/renew: the owner's lease begins anew."""
        scope = request.scope
        await self._bodies.read(request, Nothing)
        await self._application.sessions.renew(scope["tenant"], _session_id(scope), owner_epoch_in(scope))
        return await self._session(request)

    async def detach(self, request: Request) -> Response:
        """POST /v1/sessions/{session_id}/detach: nobody owns it any more."""
        scope = request.scope
        await self._bodies.read(request, Nothing)
        await self._application.sessions.detach(scope["tenant"], _session_id(scope), owner_epoch_in(scope))
        return await self._session(request)

    async def request_handoff(self, request: Request) -> Response:
        """POST /v1/sessions/{session_id}/handoffs: 201, or 200 for one that was requested before."""
        scope = request.scope
        body = await self._bodies.read(request, RequestHandoff)
        idempotency = idempotency_in(scope, body.model_dump(mode="json"))
        handoff, new = await self._application.handoffs.request(
            scope["tenant"], _session_id(scope), body.handoff_id, body.timeout_s, idempotency
        )
        replayed = {REPLAYED: "true"} if idempotency is not None and idempotency.replayed else {}
        return await self._handoff(request, handoff, 201 if new else 200, replayed)

    async def handoff(self, request: Request) -> Response:
        """GET /v1/sessions/{session_id}/handoffs/{handoff_id}"""
        scope = request.scope
        tenant, handoff_id = scope["tenant"], scope["path_params"]["handoff_id"]
        return await self._handoff(
            request, await self._application.handoffs.get(tenant, _session_id(scope), handoff_id)
        )

    async def move_handoff(self, request: Request) -> Response:
        """POST /v1/sessions/{session_id}/handoffs/{handoff_id}: the owner is ready, or somebody calls it off."""
        scope = request.scope
        body = await self._bodies.read(request, MoveHandoff)
        tenant, session_id, handoff_id = scope["tenant"], _session_id(scope), scope["path_params"]["handoff_id"]
        handoffs = self._application.handoffs
        if body.action == "ready":
            handoff = await handoffs.ready(tenant, session_id, handoff_id, owner_epoch_in(scope))
        else:
            handoff = await handoffs.abandon(tenant, session_id, handoff_id)
        return await self._handoff(request, handoff)

    async def _handoff(
        self, request: Request, handoff: Handoff, status: int = 200, headers: Mapping[str, str] | None = None
    ) -> Response:
        session = await self._application.session(request.scope["tenant"], _session_id(request.scope))
        return answer(handoff_resource(handoff, session), status, headers)

    async def _session(self, request: Request) -> Response:
        view = await self._application.session_view(request.scope["tenant"], _session_id(request.scope))
        return answer(session_resource(view))


def _session_id(scope: Scope) -> str:
    session_id: str = scope["path_params"]["session_id"]
    return session_id
