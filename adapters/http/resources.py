"""What sessions, runs, agents and assignments look like on the wire: the design's core fields, and JSON answers."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic_core import from_json, to_json
from starlette.responses import Response
from starlette.types import Scope

from ...domain.agent import Agent
from ...domain.ports import RunView, SessionView
from ...domain.requests import Assignment
from ...domain.run import Run
from ...domain.run_facts import Approval
from ...domain.session import Session
from ...domain.session_facts import Handoff

Resource = dict[str, Any]

_APPROVAL: Final = ("approval_id", "tool_call_id", "tool", "arguments", "digest", "expires_at")
_DECISION: Final = (*_APPROVAL, "outcome", "reason", "decided_arguments", "by")


def answer(resource: Resource, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer. Nothing here may be cached: every answer is how things are now."""
    return Response(to_json(resource), status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")


def page(items: Sequence[Resource], next_cursor: str | None) -> Resource:
    """A list; `next_cursor` is null on its last page."""
    return {"items": items, "next_cursor": next_cursor}


def session_resource(view: SessionView) -> Resource:
    """A session. `lease_expires_at` is the owner's; `queue` are the runs that wait for their turn."""
    session = view.session
    return {
        "session_id": session.session_id,
        "status": session.status,
        "owner": session.owner,
        "epoch": session.epoch,
        "lease_expires_at": view.lease_until if session.owner is not None else None,
        "active_run_id": session.active_run_id,
        "queue": session.waiting,
        "turns": session.turns,
        "continuity": session.continuity,
        "handoff": session.handoff and handoff_resource(session.handoff, session),
        "summary": {"watermark": session.watermark, "result": session.summary},
        "warning": session.warning,
        "created_at": session.created_at,
        "metadata": session.metadata,
    }


def handoff_resource(handoff: Handoff, session: Session) -> Resource:
    """A handoff; `drained` once what was accepted before it is done, so that the owner may say it is ready."""
    return {**handoff.model_dump(), "session_id": session.session_id, "drained": handoff.active and session.drained}


def active_run_resource(run: Run) -> Resource:
    """The run a session is busy with: what a client shows before it has read the stream."""
    return {
        "run_id": run.run_id,
        "status": run.status,
        "message_id": run.message_id,
        "prompt": run.prompt,
        "pending_approvals": [_fields(approval, _APPROVAL) for approval in run.pending_approvals],
    }


def run_resource(view: RunView) -> Resource:
    """A run. Times are RFC 3339 in UTC, because the store's clock is."""
    run = view.run
    return {
        "run_id": run.run_id,
        "job_id": run.job_id,
        "session_id": run.session_id,
        "request_config": run.request_config,
        "request_config_digest": run.request_config.digest,
        "turn": run.turn,
        "attempt": run.attempt,
        "agent": run.agent,
        "status": run.status,
        "head_seq": view.head_seq,
        "first_seq": view.first_seq,
        "epoch": run.epoch,
        "message_id": run.message_id,
        "prompt": run.prompt,
        "pending_approvals": [_fields(approval, _APPROVAL) for approval in run.pending_approvals],
        "stop_reason": run.stop_reason,
        "error": run.error,
        "usage": run.usage,
        "created_at": run.created_at,
        "started_at": run.started_at,
        "ended_at": run.ended_at,
    }


def started_resource(run: Run, scope: Scope) -> Resource:
    """A run as it was when it was created: its log held one frame."""
    return {**run_resource(RunView(run, head_seq=1)), "events_url": f"{run_path(run, scope)}/events"}


def run_path(run: Run, scope: Scope) -> str:
    """Where the run is found on this server."""
    return f"{scope.get('root_path', '')}/v1/runs/{run.run_id}"


def session_path(session: Session, scope: Scope) -> str:
    """Where the session is found on this server."""
    return f"{scope.get('root_path', '')}/v1/sessions/{session.session_id}"


def agent_resource(agent: Agent) -> Resource:
    """An agent that runs can ask for."""
    return {"name": agent.name, "on_take_over": agent.on_take_over}


def assignment_resource(assignment: Assignment) -> Resource:
    """A claimed run with what its worker needs: see docs/http.md."""
    checkpoint = assignment.checkpoint
    return {
        "run": run_resource(RunView(assignment.run, head_seq=assignment.next_seq - 1)),
        "input": assignment.job.input,
        "next_seq": assignment.next_seq,
        "outline": assignment.outline,
        "checkpoint": checkpoint
        and {"step": checkpoint.step, "seq": checkpoint.seq, "state": from_json(checkpoint.state)},
        "decisions": [_fields(approval, _DECISION) for approval in assignment.run.decisions],
    }


def _fields(approval: Approval, names: Sequence[str]) -> Resource:
    return {name: getattr(approval, name) for name in names}
