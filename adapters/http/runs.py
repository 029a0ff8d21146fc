"""The routes of runs for clients: start, list, get, cancel, decide."""

from collections.abc import Awaitable
from typing import Annotated, Literal, Protocol

from pydantic import Field, JsonValue, field_validator
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from ...domain.application import Application
from ...domain.errors import Invalid, Malformed, NotFound
from ...domain.identifiers import SESSION_PREFIX, is_identifier
from ...domain.ports import RunView
from ...domain.request_config import KINDS_MAX
from ...domain.requests import APPROVALS_MAX, StartRun
from ...domain.run import Run
from ...domain.run_facts import Decision
from ...domain.transitions import Status
from .body import Bodies, Body, Reason
from .place import Wish, check_config
from .problems import UnknownPage
from .query import REPLAYED, PageQuery, idempotency_in, refuse_query, session_epoch_in, wants_stream
from .resources import answer, page, run_path, run_resource, started_resource


class StartStream(Protocol):
    """Answers the request that started `run` with the run's event stream; `headers` are added to the answer's own.

    Like the streams of GET, it may raise a ReattachError before it has sent anything.
    """

    def __call__(
        self, scope: Scope, receive: Receive, send: Send, run: Run, /, *headers: tuple[bytes, bytes]
    ) -> Awaitable[None]: ...


class Start(StartRun):
    """The body of a new run. A list that is too long is not even looked at: its faults would outgrow it by far."""

    @field_validator("request_config", mode="before")
    @classmethod
    def _short(cls, config: JsonValue) -> JsonValue:
        kinds = config.get("kinds") if isinstance(config, dict) else None
        if isinstance(kinds, list) and len(kinds) > KINDS_MAX:
            message = f"kinds has at most {KINDS_MAX} entries"
            raise ValueError(message)
        return config


class Cancel(Body):
    """The body of a cancel."""

    reason: Reason = "cancelled"


class Verdict(Body):
    """One decision. `arguments` with an approval is an edit: they are executed instead of what was asked for."""

    approval_id: Annotated[str, Field(max_length=100)]
    outcome: Literal["approve", "deny"]
    reason: Reason | None = None
    arguments: JsonValue = None


class Decide(Body):
    """The body of decisions: all of them are recorded, or none."""

    decisions: Annotated[list[Verdict], Field(max_length=APPROVALS_MAX)]


class Runs:
    """The endpoints, each one use case."""

    def __init__(self, application: Application, bodies: Bodies, start_stream: StartStream) -> None:
        self._application = application
        self._store = application.store
        self._bodies = bodies
        self._start_stream = start_stream

    async def start(self, request: Request) -> ASGIApp:
        """POST /v1/sessions/{session_id}/runs: 202 and the run, or with Accept: text/event-stream the run's stream."""
        scope = request.scope
        streams = wants_stream(scope)
        if not streams:
            refuse_query(scope)
        body = await self._bodies.read(request, Start)
        if streams:  # what the stream would refuse must not start anything
            check_config(body.request_config, Wish.of(scope))
        idempotency = idempotency_in(scope, body.model_dump(mode="json"))
        session_id: str = scope["path_params"]["session_id"]
        epoch = session_epoch_in(scope)
        run = await self._application.start_run(scope["tenant"], session_id, body, idempotency, epoch)
        headers = {"Location": run_path(run, scope), "Reattach-Run-Id": run.run_id}
        if idempotency is not None and idempotency.replayed:
            headers[REPLAYED] = "true"
        if streams:
            return self._stream(run, headers)
        return answer(started_resource(run, scope), 202, headers)

    async def browse(self, request: Request) -> Response:
        """GET /v1/runs?session_id=&agent=&status=&cursor=&limit="""
        query = PageQuery.of(request.scope, "session_id", "agent", "status")
        query.choice("status", tuple(Status))
        session_id = query.filters.get("session_id")
        if session_id is not None and not is_identifier(SESSION_PREFIX, session_id):
            raise Malformed("?session_id is not the id of a session.", field="session_id")
        tenant: str = request.scope["tenant"]
        if query.cursor is not None:
            await self._known(tenant, query.cursor)
        found = await self._store.runs(tenant, query.filters, query.cursor, query.limit)
        items = [run_resource(view) for view in found.items if isinstance(view, RunView)]
        return answer(page(items, found.next_cursor))

    async def get(self, request: Request) -> Response:
        """GET /v1/runs/{run_id}"""
        scope = request.scope
        return answer(run_resource(await self._application.run(scope["tenant"], scope["path_params"]["run_id"])))

    async def cancel(self, request: Request) -> Response:
        """POST /v1/runs/{run_id}/cancel: the run as it is afterwards, also if it had ended before."""
        scope = request.scope
        body = await self._bodies.read(request, Cancel)
        tenant: str = scope["tenant"]
        return answer(
            run_resource(await self._application.cancel(tenant, scope["path_params"]["run_id"], body.reason, by=tenant))
        )

    async def decide(self, request: Request) -> Response:
        """POST /v1/runs/{run_id}/decisions: the run as it is afterwards."""
        scope = request.scope
        body = await self._bodies.read(request, Decide)
        tenant: str = scope["tenant"]
        decisions = [_decision(verdict, tenant) for verdict in body.decisions]
        return answer(run_resource(await self._application.decide(tenant, scope["path_params"]["run_id"], decisions)))

    async def _known(self, tenant: str, cursor: str) -> None:
        """Raise UnknownPage unless the cursor is a run of the tenant."""
        try:
            await self._application.run(tenant, cursor)
        except NotFound:
            raise UnknownPage(field="cursor") from None

    def _stream(self, run: Run, headers: dict[str, str]) -> ASGIApp:
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

        async def streamed(scope: Scope, receive: Receive, send: Send) -> None:
            await self._start_stream(scope, receive, send, run, *raw)

        return streamed


def _decision(verdict: Verdict, by: str) -> Decision:
    if verdict.outcome == "deny" and verdict.arguments is not None:
        raise Invalid("Only an approval takes edited arguments.", field="arguments")
    if verdict.arguments is None and "arguments" in verdict.model_fields_set:
        raise Invalid(
            "Edited arguments can't be null; leave the field out to approve what was asked for.", field="arguments"
        )
    return Decision(
        approval_id=verdict.approval_id,
        outcome=verdict.outcome,
        reason=verdict.reason,
        arguments=verdict.arguments,
        by=by,
    )
