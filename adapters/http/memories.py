"""The routes of a session's memory and of its summaries."""

from typing import Annotated

from pydantic import Field, JsonValue
from starlette.requests import Request
from starlette.responses import Response

from ...domain.application import Application
from ...domain.sessions import CLIENT_CHARS_MAX
from .body import Bodies, Body
from .query import REPLAYED, PageQuery, idempotency_in, number_in, session_epoch_in
from .resources import answer, page

Token = Annotated[str, Field(min_length=1, max_length=100)]


class AppendMemory(Body):
    """The body of a memory: any JSON."""

    content: JsonValue


class ClaimSummary(Body):
    """The body of a claim: who summarizes."""

    by: Annotated[str, Field(min_length=1, max_length=CLIENT_CHARS_MAX)]


class StageSummary(Body):
    """The body of a result that is kept."""

    token: Token
    result: JsonValue


class CompleteSummary(Body):
    """The body of a completion."""

    token: Token


class Memories:
    """The endpoints, each one use case."""

    def __init__(self, application: Application, bodies: Bodies) -> None:
        self._application = application
        self._bodies = bodies

    async def append(self, request: Request) -> Response:
        """POST /v1/sessions/{session_id}/memories: 201 and the entry with its place in the chain."""
        scope = request.scope
        body = await self._bodies.read(request, AppendMemory)
        idempotency = idempotency_in(scope, body.content)
        memory = await self._application.sessions.append_memory(
            scope["tenant"], scope["path_params"]["session_id"], body.content, session_epoch_in(scope), idempotency
        )
        replayed = {REPLAYED: "true"} if idempotency is not None and idempotency.replayed else {}
        return answer(memory.model_dump(), 201, replayed)

    async def browse(self, request: Request) -> Response:
        """GET /v1/sessions/{session_id}/memories?after=&limit=: in order; `after` is a sequence number."""
        query = PageQuery.of(request.scope, cursor="after")
        after = number_in("after", query.cursor) if query.cursor is not None else 0
        session = await self._application.session(request.scope["tenant"], request.path_params["session_id"])
        found = await self._application.store.memories(session.session_id, after, query.limit + 1)
        items = [memory.model_dump() for memory in found[: query.limit]]
        more = len(found) > query.limit
        return answer(page(items, str(items[-1]["sequence"]) if more else None))

    async def claim_summary(self, request: Request) -> Response:
        """POST /v1/sessions/{session_id}/summary/claim: what is to be summarized, and the token to come back with."""
        body = await self._bodies.read(request, ClaimSummary)
        scope = request.scope
        summaries = self._application.summaries
        idempotency = idempotency_in(scope, body.by)
        work = await summaries.claim(scope["tenant"], scope["path_params"]["session_id"], body.by, idempotency)
        replayed = {REPLAYED: "true"} if idempotency is not None and idempotency.replayed else {}
        return answer(work.model_dump(), headers=replayed)

    async def stage_summary(self, request: Request) -> Response:
        """POST /v1/sessions/{session_id}/summary/stage: the result is safe."""
        body = await self._bodies.read(request, StageSummary)
        scope = request.scope
        session_id: str = scope["path_params"]["session_id"]
        await self._application.summaries.stage(scope["tenant"], session_id, body.token, body.result)
        return answer({"session_id": session_id, "staged": True})

    async def complete_summary(self, request: Request) -> Response:
        """POST /v1/sessions/{session_id}/summary/complete: the staged result is the summary."""
        body = await self._bodies.read(request, CompleteSummary)
        scope = request.scope
        session_id: str = scope["path_params"]["session_id"]
        session = await self._application.summaries.complete(scope["tenant"], session_id, body.token)
        return answer({"session_id": session_id, "watermark": session.watermark, "result": session.summary})
