"""The routes of remote workers, in any language: claim, output, renew, and the ends of a segment.

A claim answers with an epoch; every later request shows it as Run-Epoch. Whoever holds an older one is refused, by the
store and not by this file.
"""

from typing import Annotated, Final

from pydantic import Field, JsonValue
from starlette.requests import Request
from starlette.responses import Response

from ...domain.agent import ApprovalRequest
from ...domain.application import Application
from ...domain.errors import NotFound, RunClosed, StaleEpoch, UnknownAgent
from ...domain.frames import RunError
from ...domain.identifiers import RunId
from ...domain.ports import Append, RunView
from ...domain.requests import APPROVALS_MAX
from .body import Bodies, Body, Reason
from .output import Heads, Output, batch_of
from .query import epoch_in, run_id_in
from .resources import answer, assignment_resource, page, run_resource

CLAIM_LIMIT_MAX: Final = 100
"""Runs one claim may take."""

Name = Annotated[str, Field(pattern=r"^[!-~]{1,200}$")]


class Claim(Body):
    """The body of a claim."""

    worker: Name
    agents: Annotated[list[Name], Field(min_length=1, max_length=100)]
    limit: Annotated[int, Field(ge=1, le=CLAIM_LIMIT_MAX)] = 1


class Renew(Body):
    """The body of a renewal."""

    worker: Name


class Release(Body):
    """The body of a release: nothing."""


class Wanted(Body):
    """A tool call that waits for a person."""

    tool_call_id: Name
    tool: Name
    arguments: JsonValue
    timeout_s: float | None = None


class Suspend(Body):
    """The body of a suspension: what is asked for, and the checkpoint (`step`, `state`) to go on from."""

    approvals: Annotated[list[Wanted], Field(max_length=APPROVALS_MAX)]
    step: Annotated[int, Field(ge=0, le=2**31 - 1)]
    state: JsonValue


class Complete(Body):
    """The body of a completion."""

    stop_reason: Name = "end_turn"
    usage: dict[str, JsonValue] | None = None


class Failure(Body):
    """Why the agent failed: a stable type, a sentence, and whether trying again may help."""

    type: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    message: Reason
    retryable: bool = False


class Fail(Body):
    """The body of a failure."""

    error: Failure


class Work:
    """The endpoints, each one use case."""

    def __init__(self, application: Application, bodies: Bodies) -> None:
        self._application = application
        self._store = application.store
        self._bodies = bodies
        self._heads = Heads(application)

    async def claim(self, request: Request) -> Response:
        """POST /v1/work/claim: runs of these agents, as assignments; none is an empty list."""
        body = await self._bodies.read(request, Claim)
        for name in body.agents:
            if name not in self._application.agents:
                raise UnknownAgent(f"There is no agent {name!r} here.", agent=name)
        assignments = await self._application.claim(body.worker, body.agents, body.limit)
        return answer(page([assignment_resource(assignment) for assignment in assignments], None))

    async def output(self, request: Request) -> Response:
        """POST /v1/runs/{run_id}/output: durable on 200; the same again is 200 and changes nothing."""
        run_id, epoch = run_id_in(request.scope), epoch_in(request.scope)
        body = await self._bodies.read_output(request, Output)
        held = await self._heads.held(run_id, epoch, body.first_seq)
        batch = batch_of(held, body)
        await self._application.append(Append(run_id, epoch, batch))
        if batch.first_seq > held.head.seq:
            self._heads.remember(held.run, batch)
        return answer({"head_seq": batch.first_seq + len(batch.data) - 1})

    async def suspend(self, request: Request) -> Response:
        """POST /v1/runs/{run_id}/suspend: the run waits for these approvals."""
        run_id, epoch = run_id_in(request.scope), epoch_in(request.scope)
        body = await self._bodies.read_output(request, Suspend)
        wanted = [ApprovalRequest(w.tool_call_id, w.tool, w.arguments, w.timeout_s) for w in body.approvals]
        await self._application.suspend(run_id, epoch, wanted, body.state, body.step)
        return await self._after(run_id)

    async def complete(self, request: Request) -> Response:
        """POST /v1/runs/{run_id}/complete"""
        run_id, epoch = run_id_in(request.scope), epoch_in(request.scope)
        body = await self._bodies.read(request, Complete)
        await self._application.complete(run_id, epoch, body.stop_reason, body.usage)
        return await self._after(run_id)

    async def fail(self, request: Request) -> Response:
        """POST /v1/runs/{run_id}/fail"""
        run_id, epoch = run_id_in(request.scope), epoch_in(request.scope)
        body = await self._bodies.read(request, Fail)
        error = RunError(type=body.error.type, message=body.error.message, retryable=body.error.retryable)
        await self._application.fail(run_id, epoch, error)
        return await self._after(run_id)

    async def release(self, request: Request) -> Response:
        """POST /v1/runs/{run_id}/release: any worker may go on with it."""
        run_id, epoch = run_id_in(request.scope), epoch_in(request.scope)
        await self._bodies.read(request, Release)
        await self._application.release(run_id, epoch)
        return await self._after(run_id)

    async def renew(self, request: Request) -> Response:
        """POST /v1/runs/{run_id}/renew: the lease begins anew, if it is still this worker's."""
        run_id, epoch = run_id_in(request.scope), epoch_in(request.scope)
        body = await self._bodies.read(request, Renew)
        lost = await self._application.renew(body.worker, [(run_id, epoch)])
        if lost:
            run = (await self._view(run_id)).run
            if run.epoch == epoch and run.worker != body.worker:
                raise RunClosed(f"The run is {run.status}.", run_id=run_id, status=run.status)
            detail = f"The worker holds epoch {epoch}, the run is at {run.epoch}."
            raise StaleEpoch(detail, run_id=run_id, epoch=run.epoch)
        return answer({"run_id": run_id, "epoch": epoch})

    async def _after(self, run_id: RunId) -> Response:
        return answer(run_resource(await self._view(run_id)))

    async def _view(self, run_id: RunId) -> RunView:
        view = await self._store.run_view(run_id)
        if view is None:
            raise NotFound(f"There is no run {run_id!r:.80}.", run_id=run_id)
        return view
