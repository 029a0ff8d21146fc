"""The tools. Each is one or two calls of our own client, so that a model meets the rules that everybody meets.

A run is never held inside a tool call: `start_run` answers a handle at once, `await_run` waits a bounded time, and
whoever loses its connection, or its process, asks again.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from typing import Annotated, Any, Final, Literal

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field, JsonValue
from pydantic_core import to_json

from ...domain.errors import ReattachError
from ...domain.snapshot import Snapshot
from ...domain.transitions import FINAL, Status
from ..client import Client, Memory, Resumption, Run, Tail, fold
from .answers import RunState, SessionList

NAME: Final = "reattach"

WAIT_S: Final = 10.0
"""Seconds that `await_run` waits unless told otherwise."""

WAIT_S_MAX: Final = 30.0
"""The longest that `await_run` waits: well under the time after which MCP clients give a call up."""

INSTRUCTIONS: Final = (
    "Durable sessions and agent runs. Begin with resume_session: keep your client_id, and the session_id and epoch of "
    "its answer. A warning in that answer means that this is another session than you asked for: say so. Give epoch to "
    "append_memory and start_run. A run goes on without you: start_run answers at once, await_run says how far it is."
)

_SETTLED: Final = (*FINAL, Status.WAITING)

Connect = Callable[[Context[Any, Any]], AbstractAsyncContextManager[Client]]
"""The client for one call: whoever calls may be one of many."""

SessionId = Annotated[str, Field(description="the session's id, ses_...")]
RunId = Annotated[str, Field(description="the run's id, run_...")]
Epoch = Annotated[
    int | None, Field(description="the epoch of your resume_session; needed while the session has an owner")
]
Key = Annotated[
    str | None,
    Field(description="choose one for what must happen once: the same key again is answered with the first answer"),
]
Limit = Annotated[int | None, Field(description="how many, at most 100")]


def build(connect: Connect) -> MCPServer:
    """An MCP server with all tools. `connect` gives each call its client."""
    server = MCPServer(NAME, instructions=INSTRUCTIONS, log_level="WARNING", subscriptions=False)
    _add_resume(server, connect)
    _add_session_tools(server, connect)
    _add_run_tools(server, connect)
    return server


def _add_resume(server: MCPServer, connect: Connect) -> None:
    @server.tool()
    async def resume_session(
        ctx: Context[Any, Any],
        *,
        client_id: Annotated[str, Field(description="who you are: the same name each time you come back")],
        session_id: Annotated[
            Any, Field(description="the session to come back to; without a good one you get a new")
        ] = None,
        takeover: Annotated[bool, Field(description="also if another live client owns it, who loses it then")] = False,
        handoff_id: Annotated[str | None, Field(description="the handoff you are the target of")] = None,
        idempotency_key: Key = None,
    ) -> Resumption:
        """Own a session: everything to go on with, the epoch to write with, and the evidence of its memory.

        `resumed: false` with a `code` and a `warning` means that this is a new, empty session. SESSION_BUSY is refused
        with the end of the other client's lease.
        """
        async with _asking(connect, ctx) as client:
            return await client.resume(
                session_id, client_id, takeover=takeover, handoff_id=handoff_id, idempotency_key=idempotency_key
            )


def _add_session_tools(server: MCPServer, connect: Connect) -> None:
    @server.tool()
    async def session_status(ctx: Context[Any, Any], session_id: SessionId, limit: Limit = None) -> Tail:
        """What a session looks like now: its newest messages, what waits for a decision, what runs, who owns it."""
        async with _asking(connect, ctx) as client:
            return await client.tail(session_id, limit)

    @server.tool()
    async def list_sessions(
        ctx: Context[Any, Any],
        status: Annotated[Literal["open", "finalized"] | None, Field(description="only these")] = None,
        cursor: Annotated[str | None, Field(description="the next_cursor of the page before")] = None,
        limit: Limit = None,
    ) -> SessionList:
        """The sessions there are, newest first."""
        async with _asking(connect, ctx) as client:
            page = await client.sessions(status=status, cursor=cursor, limit=limit)
            return SessionList(items=page.items, next_cursor=page.next_cursor)

    @server.tool()
    async def append_memory(
        ctx: Context[Any, Any],
        session_id: SessionId,
        content: Annotated[
            JsonValue, Field(description="any JSON; text that is JSON for an object, an array or null is taken as that")
        ],
        epoch: Epoch = None,
        idempotency_key: Key = None,
    ) -> Memory:
        """Append to the session's memory: one sequence without gaps, each entry chained by hash to the one before."""
        async with _asking(connect, ctx) as client:
            return await client.append_memory(session_id, content, epoch, idempotency_key=idempotency_key)


def _add_run_tools(server: MCPServer, connect: Connect) -> None:
    @server.tool()
    async def start_run(
        ctx: Context[Any, Any],
        *,
        session_id: SessionId,
        agent: Annotated[str, Field(description="the agent's name")],
        input: Annotated[JsonValue, Field(description="its input: a prompt, or what the agent takes")] = None,  # noqa: A002  - the wire's word
        epoch: Epoch = None,
        on_busy: Annotated[
            Literal["reject", "enqueue", "interrupt"] | None, Field(description="if a run is active; default: reject")
        ] = None,
        idempotency_key: Key = None,
    ) -> Run:
        """Start an agent's run as the session's next turn. The answer is its handle, and does not wait: await_run."""
        async with _asking(connect, ctx) as client:
            return await client.start_run(
                agent, input, session_id, on_busy=on_busy, session_epoch=epoch, idempotency_key=idempotency_key
            )

    @server.tool()
    async def await_run(
        ctx: Context[Any, Any],
        run_id: RunId,
        wait_s: Annotated[float, Field(ge=0, le=WAIT_S_MAX, description="seconds to wait at most")] = WAIT_S,
    ) -> RunState:
        """Wait until the run ends or waits for a decision, but not longer than wait_s: how far it is by then."""
        async with _asking(connect, ctx) as client:
            run = await client.run(run_id)  # what is unknown is said at once
            return RunState.of(await _awaited(client, run_id, None if run.final else wait_s))

    @server.tool()
    async def decide(
        ctx: Context[Any, Any],
        *,
        run_id: RunId,
        approval_id: Annotated[str, Field(description="of the run's pending_approvals")],
        outcome: Annotated[Literal["approve", "deny"], Field(description="whether the tool call may run")],
        reason: Annotated[str | None, Field(description="is recorded; a denial's is told to the agent")] = None,
        arguments: Annotated[JsonValue, Field(description="in place of the agent's own arguments")] = None,
    ) -> Run:
        """Decide a tool call that waits for approval. The first decision stands; the same again is no error."""
        async with _asking(connect, ctx) as client:
            if outcome == "deny":
                return await client.deny(run_id, approval_id, reason=reason)
            return await client.approve(run_id, approval_id, arguments=arguments, reason=reason)


@asynccontextmanager
async def _asking(connect: Connect, ctx: Context[Any, Any]) -> AsyncGenerator[Client, None]:
    """The client of this call. What is refused reaches the model as text: the code, what to do, and what blocks."""
    try:
        async with connect(ctx) as client:
            yield client
    except ReattachError as error:
        fields = {name: value for name, value in error.fields.items() if name != "status"}
        told = f" {to_json(fields, fallback=str).decode()}" if fields else ""
        raise ToolError(f"{error.code}: {error.detail}{told}") from error


async def _awaited(client: Client, run_id: str, wait_s: float | None) -> Snapshot:
    """What the run's frames amount to when it has ended, when it waits for a decision, or when the time is over.

    Status and text are of one moment, because one stream says both.
    """
    async with aclosing(client.follow(run_id, snapshot=True)) as frames:
        snapshot = fold([await anext(frames)])  # what there is now; the time counts from here
        if not snapshot.run:  # before the first frame, which is there already
            snapshot = fold([await anext(frames)], snapshot)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while snapshot.run["status"] not in _SETTLED:
                    snapshot = fold([await anext(frames)], snapshot)
    return snapshot
