"""The HTTP application: every operation of the service in one table."""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.routing import Router
from starlette.types import ASGIApp

from ...domain.application import Application
from .auth import Audience, Tokens
from .body import Bodies, HttpLimits
from .index import Index
from .memories import Memories
from .ownership import Ownership
from .routes import Door, Endpoint, Operation, Table, routes
from .runs import Runs, StartStream
from .sessions import Sessions
from .work import Work

PUBLIC, WORKER = Audience.PUBLIC, Audience.WORKER


def create_app(
    application: Application,
    *,
    run_events: ASGIApp,
    session_events: ASGIApp,
    start_stream: StartStream,
    tokens: Tokens,
    draining: Callable[[], bool],
    limits: HttpLimits,
    mcp: ASGIApp | None = None,
) -> Router:
    """The service as one ASGI application.

    `run_events` and `session_events` answer the event streams: they find the path's id in `scope["path_params"]` and
    who asks in `scope["tenant"]`, and may raise a ReattachError before they send anything. `draining` says whether
    this process is about to stop and should start nothing more. `mcp` answers POST /mcp.
    """
    bodies = Bodies(limits)
    table = operations(
        Index(application, draining),
        Sessions(application, bodies),
        Runs(application, bodies, start_stream),
        Work(application, bodies),
        ownership=Ownership(application, bodies),
        memories=Memories(application, bodies),
        run_events=_streamed(run_events),
        session_events=_streamed(session_events),
    )
    if mcp is not None:
        table = (*table, Operation("POST", "/mcp", _streamed(mcp), starts_work=True))
    # No redirects: a browser's EventSource would go on with the URL it was sent to.
    return Table(routes(Door(tokens, draining), table))


def operations(
    index: Index,
    sessions: Sessions,
    runs: Runs,
    work: Work,
    *,
    ownership: Ownership,
    memories: Memories,
    run_events: Endpoint,
    session_events: Endpoint,
) -> tuple[Operation, ...]:
    """The table. Operations of one path stand together; what is asked for most stands first."""
    return (
        Operation("GET", "/healthz", index.alive, PUBLIC),
        Operation("GET", "/v1/runs/{run_id}/events", run_events, stream=True, query=True),
        Operation("POST", "/v1/runs/{run_id}/output", work.output, WORKER),
        Operation("GET", "/v1/sessions/{session_id}/events", session_events, stream=True, query=True),
        Operation("POST", "/v1/sessions/{session_id}/runs", runs.start, starts_work=True, query=True),
        Operation("GET", "/v1/runs/{run_id}", runs.get),
        Operation("GET", "/v1/sessions/{session_id}/tail", sessions.tail, query=True),
        Operation("GET", "/v1/sessions/{session_id}", sessions.get),
        Operation("DELETE", "/v1/sessions/{session_id}", sessions.delete),
        Operation("GET", "/v1/sessions/{session_id}/messages", sessions.messages, query=True),
        Operation("POST", "/v1/sessions/{session_id}/resume", ownership.resume),
        Operation("POST", "/v1/sessions/{session_id}/renew", ownership.renew),
        Operation("POST", "/v1/sessions/{session_id}/memories", memories.append),
        Operation("GET", "/v1/sessions/{session_id}/memories", memories.browse, query=True),
        Operation("POST", "/v1/sessions/{session_id}/detach", ownership.detach),
        Operation("POST", "/v1/sessions/{session_id}/finalize", sessions.finalize),
        Operation("POST", "/v1/sessions/{session_id}/handoffs", ownership.request_handoff),
        Operation("GET", "/v1/sessions/{session_id}/handoffs/{handoff_id}", ownership.handoff),
        Operation("POST", "/v1/sessions/{session_id}/handoffs/{handoff_id}", ownership.move_handoff),
        Operation("POST", "/v1/sessions/{session_id}/summary/claim", memories.claim_summary),
        Operation("POST", "/v1/sessions/{session_id}/summary/stage", memories.stage_summary),
        Operation("POST", "/v1/sessions/{session_id}/summary/complete", memories.complete_summary),
        Operation("POST", "/v1/sessions", sessions.create),
        Operation("GET", "/v1/sessions", sessions.browse, query=True),
        Operation("GET", "/v1/runs", runs.browse, query=True),
        Operation("POST", "/v1/runs/{run_id}/cancel", runs.cancel),
        Operation("POST", "/v1/runs/{run_id}/decisions", runs.decide),
        Operation("POST", "/v1/work/claim", work.claim, WORKER, starts_work=True),
        Operation("POST", "/v1/runs/{run_id}/renew", work.renew, WORKER),
        Operation("POST", "/v1/runs/{run_id}/suspend", work.suspend, WORKER),
        Operation("POST", "/v1/runs/{run_id}/complete", work.complete, WORKER),
        Operation("POST", "/v1/runs/{run_id}/fail", work.fail, WORKER),
        Operation("POST", "/v1/runs/{run_id}/release", work.release, WORKER),
        Operation("GET", "/v1/agents", index.agents),
        Operation("GET", "/readyz", index.ready, PUBLIC),
        Operation("GET", "/", index.front_page, PUBLIC),
    )


def _streamed(stream: ASGIApp) -> Callable[[Request], Awaitable[ASGIApp]]:
    async def endpoint(_: Request) -> ASGIApp:
        return stream

    return endpoint


__all__ = ["HttpLimits", "create_app", "operations"]
