"""The client: start runs, decide and cancel, and follow streams that come back by themselves.

    async with Client("http://127.0.0.1:8000") as client:
        run = await client.start_run("demo", "Hello")
        async for frame in client.follow(run.run_id):
            print(frame.type, frame.data)

Every request may be sent again after a lost connection: what creates carries an Idempotency-Key, and a repeated
decision or cancel is answered with the actual state.
"""

from collections.abc import AsyncGenerator, Sequence
from types import TracebackType
from typing import Final, Self

import httpx

from ...domain.errors import Invalid
from ...domain.ports import Ids
from .follow import Follower, Interrupted
from .frame import Frame
from .patience import Patience
from .position import Position
from .requests import Fields, Requests, segment, visible
from .resources import Agent, Page, Run
from .sessions import SessionCalls, session_path

CONNECTIONS_MAX: Final = 1000
"""Connections of one client; every followed stream holds one."""


class Client(SessionCalls):
    """A client of one server, for one tenant. Close it, or use it as `async with`.

    Methods raise the domain's own errors for what the server refuses (NotFound, SessionBusy, DecisionConflict, ...),
    Unreachable if no answer comes within `patience`, UnexpectedAnswer if something else than Reattach answers.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        ids: Ids | None = None,
        patience: Patience | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`url` is the server's root. `ids` (None: the machine's) give Idempotency-Keys and jitter; `transport` is
        httpx's, for what does not go over a socket. Raises Invalid for a URL or token that can't work.
        """
        self.url = _checked_url(url)
        self._ids = _system_ids() if ids is None else ids
        self._patience = patience or Patience()
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {visible('token', token)}"} if token else {},
            timeout=httpx.Timeout(self._patience.answer_s, connect=self._patience.connect_s),
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX),
            transport=transport,
        )
        super().__init__(Requests(self._http, self._ids, self._patience))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections. Runs go on."""
        await self._http.aclose()

    # Start.

    async def start_run(
        self,
        agent: str,
        input: object = None,  # noqa: A002  - the wire's word
        session_id: str | None = None,
        *,
        request_config: Fields | None = None,
        on_busy: str | None = None,
        session_epoch: int | None = None,
        idempotency_key: str | None = None,
    ) -> Run:
        """Start a turn of the session, of a new one if none is given. The answer does not wait for the agent.

        The same `idempotency_key` starts the run once, however often it is sent; without one each call is a new run,
        started once even if its connection breaks. `session_epoch` is the owner's, of its `resume`. Raises
        UnknownAgent, Invalid, SessionBusy, SessionFinalized, SessionEpochRequired, StaleEpoch, NotFound,
        IdempotencyMismatch.
        """
        key = idempotency_key or self._requests.new_key()
        if session_id is None:
            session_id = (await self.create_session(idempotency_key=f"{key}-session")).session_id
        body: dict[str, object] = {"agent": agent, "input": input}
        if request_config is not None:
            body["request_config"] = dict(request_config)
        if on_busy is not None:
            body["on_busy"] = on_busy
        path = session_path(session_id, "runs")
        return await self._requests.ask(Run, "POST", path, body, key=key, epoch=session_epoch)

    # Follow.

    def follow(
        self,
        run_id: str,
        after: str | int | None = None,
        *,
        snapshot: bool = False,
        interrupted: Interrupted | None = None,
    ) -> AsyncGenerator[Frame, None]:
        """The run's frames up to its terminal one, each once and in order, over every disconnect.

        `after` is a frame's `id` (or a bare seq): where to go on; None is the start. `snapshot` begins with a
        stream.snapshot instead of the past. After a stream.reset, replace what you hold by the snapshot that follows.
        `interrupted` is told of each break. Raises Unreachable, StreamSpliced, UnexpectedAnswer, NotFound,
        InvalidCursor.
        """
        return self._follow(_run_path(run_id, "events"), Position(run_id, after), snapshot, interrupted)

    def follow_session(
        self,
        session_id: str,
        after: str | None = None,
        *,
        snapshot: bool = False,
        session_epoch: int | None = None,
        interrupted: Interrupted | None = None,
    ) -> AsyncGenerator[Frame, None]:
        """The frames of all the session's runs, in order; it goes on between turns until you stop it.

        As `follow`; `after` is any frame's `id` or a tail's `cursor`, and the run of a frame is the part of its `id`
        before the first dot. An owner that gives its `session_epoch` is told, by frames without an id, when that ends
        (session.superseded) and what it should know (session.warning).
        """
        path = session_path(session_id, "events")
        return self._follow(path, Position(None, after), snapshot, interrupted, session_epoch)

    # Decide, and cancel.

    async def decide(self, run_id: str, decisions: Sequence[Fields]) -> Run:
        """Record decisions `{approval_id, outcome: approve|deny, reason?, arguments?}`, all or none; the run by then.

        The same decision again is no error. Raises NotFound, UnknownApproval, Invalid, and DecisionConflict if one
        was decided otherwise before.
        """
        body: dict[str, object] = {"decisions": [dict(decision) for decision in decisions]}
        return await self._requests.ask(Run, "POST", _run_path(run_id, "decisions"), body)

    async def approve(
        self, run_id: str, approval_id: str, *, arguments: object = None, reason: str | None = None
    ) -> Run:
        """Let the call run, with `arguments` in place of the agent's if given. As `decide`."""
        return await self.decide(run_id, [_decision(approval_id, "approve", reason=reason, arguments=arguments)])

    async def deny(self, run_id: str, approval_id: str, *, reason: str | None = None) -> Run:
        """Refuse the call; the agent is told the reason. As `decide`."""
        return await self.decide(run_id, [_decision(approval_id, "deny", reason=reason)])

    async def cancel(self, run_id: str, reason: str | None = None) -> Run:
        """End the run now. A run that has ended already is answered as it is: look at its `status`."""
        body: dict[str, object] = {"reason": reason} if reason is not None else {}
        return await self._requests.ask(Run, "POST", _run_path(run_id, "cancel"), body)

    # Read.

    async def run(self, run_id: str) -> Run:
        """A run as it is now. Raises NotFound."""
        return await self._requests.ask(Run, "GET", _run_path(run_id))

    async def runs(
        self,
        *,
        session_id: str | None = None,
        agent: str | None = None,
        status: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Page[Run]:
        """A page of runs, newest first."""
        query = {"session_id": session_id, "agent": agent, "status": status, "cursor": cursor, "limit": limit}
        return await self._requests.ask(Page[Run], "GET", "v1/runs", query=query)

    async def agents(self) -> Sequence[Agent]:
        """The agents that can be asked for here."""
        return (await self._requests.ask(Page[Agent], "GET", "v1/agents")).items

    def _follow(
        self,
        path: str,
        position: Position,
        snapshot: bool,
        interrupted: Interrupted | None,
        session_epoch: int | None = None,
    ) -> AsyncGenerator[Frame, None]:
        if position.cursor is not None:
            visible("after", position.cursor)
        return Follower(
            self._http,
            path,
            position,
            patience=self._patience,
            ids=self._ids,
            hides_frames=self._hides_frames,
            interrupted=interrupted,
            snapshot=snapshot,
            session_epoch=session_epoch,
        ).frames()

    async def _hides_frames(self, run_id: str) -> bool:
        return (await self.run(run_id)).hides_frames


def _run_path(run_id: str, *rest: str) -> str:
    return "/".join(("v1/runs", segment(run_id, "run"), *rest))


def _system_ids() -> Ids:
    from ..composition import system_ids  # noqa: PLC0415  - it brings the server, which a client with ids does not need

    return system_ids()


def _checked_url(url: str) -> str:
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise Invalid(f"{url!r} is no URL: {error}.", field="url") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Invalid(f"{url!r} is no server's URL; one looks like http://127.0.0.1:8000.", field="url")
    return str(parsed).rstrip("/")


def _decision(approval_id: str, outcome: str, *, reason: str | None, arguments: object = None) -> Fields:
    fields = {"approval_id": approval_id, "outcome": outcome, "reason": reason, "arguments": arguments}
    return {name: value for name, value in fields.items() if value is not None}
