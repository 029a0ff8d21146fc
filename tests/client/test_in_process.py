"""The client without a socket: requests, live streams and what breaks, against the service in this process."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from reattach.adapters.client import Client, InProcess, UnexpectedAnswer, Unreachable
from reattach.adapters.client.in_process import App, Message, Receive, Send
from reattach.adapters.composition import load_settings, running
from reattach.domain.errors import SessionBusy

from .ids import CountingIds
from .logs import RUN, RUN_AS_IT_IS, body, log
from .test_sessions import until
from .test_with_server import APPROVAL, script
from .wire import FAST, gather

HEAD = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}


@asynccontextmanager
async def here(tmp_path: Path) -> AsyncGenerator[Client]:
    settings = load_settings(database=f"sqlite:///{tmp_path / 'reattach.db'}")
    async with (
        running(settings) as service,
        Client("http://here", patience=FAST, transport=InProcess(service.app)) as client,
    ):
        yield client


def test_the_same_contract_without_a_socket(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with here(tmp_path) as client:
            session_id = (await client.create_session()).session_id
            tail = await client.tail(session_id)
            async with aclosing(client.follow_session(session_id, tail.cursor)) as stream:
                run = await client.start_run("script", script({"text": "Hello"}, APPROVAL), session_id)
                live = await until(stream, "run.suspended")  # it streams: the run waits for the approval below
                with pytest.raises(SessionBusy):
                    await client.start_run("script", script(), session_id)
                [approval] = (await client.tail(session_id)).pending_approvals
                await client.approve(run.run_id, approval.approval_id)
                live += await until(stream, "run.completed")
            assert await gather(client.follow(run.run_id)) == live

    asyncio.run(scenario())


def answering(*messages: Message, then: Exception | None = None) -> App:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        for message in messages:
            await send(message)
        if then is not None:
            raise then

    return app


def piece(data: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


@pytest.mark.parametrize("then", [None, ValueError("boom")])
def test_an_answer_that_breaks_off_is_resumed(then: Exception | None) -> None:
    async def scenario() -> None:
        whole = log("Hello")
        asked: list[Any] = []
        apps = [
            answering(HEAD, piece(body(whole[:3])), then=then),
            answering(HEAD, piece(body(whole[3:]), more=False)),
        ]

        async def app(scope: Message, receive: Receive, send: Send) -> None:
            asked.append(dict(scope["headers"]).get(b"last-event-id"))
            await apps[len(asked) - 1](scope, receive, send)

        async with Client("http://here", ids=CountingIds(), patience=FAST, transport=InProcess(app)) as client:
            assert await gather(client.follow(RUN)) == [line.as_frame() for line in whole]
        assert asked == [None, whole[2].id.encode()]

    asyncio.run(scenario())


def test_the_application_is_told_when_its_reader_leaves() -> None:
    async def scenario() -> None:
        left = asyncio.Event()

        async def app(scope: Message, receive: Receive, send: Send) -> None:
            try:
                await send(HEAD)
                while True:
                    await send(piece(body(log("Hello"))))
            finally:
                left.set()

        async with Client("http://here", ids=CountingIds(), patience=FAST, transport=InProcess(app)) as client:
            async with aclosing(client.follow(RUN)) as stream:
                await anext(stream)
            await left.wait()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("messages", "kind"),
    [([], Unreachable), ([HEAD], Unreachable), ([HEAD, piece(b"no run", more=False)], UnexpectedAnswer)],
)
def test_no_answer_is_no_success(messages: Sequence[Message], kind: type[Exception]) -> None:
    async def scenario() -> None:
        transport = InProcess(answering(*messages))
        async with Client("http://here", ids=CountingIds(), patience=FAST, transport=transport) as client:
            with pytest.raises(kind):
                await client.run(RUN)

    asyncio.run(scenario())


def test_silence_ends_with_the_patience() -> None:
    async def scenario() -> None:
        async def app(scope: Message, receive: Receive, send: Send) -> None:
            await asyncio.Event().wait()

        async with httpx.AsyncClient(transport=InProcess(app), base_url="http://here", timeout=0.01) as http:
            with pytest.raises(httpx.ReadTimeout):
                await http.get("/v1/runs")

    asyncio.run(scenario())


def test_a_request_carries_its_body_and_query() -> None:
    async def scenario() -> None:
        async def app(scope: Message, receive: Receive, send: Send) -> None:
            seen = (scope["method"], scope["path"], scope["query_string"], (await receive())["body"])
            assert seen == ("POST", f"/v1/runs/{RUN}/cancel", b"", b'{"reason":"enough"}')
            await answering(
                {"type": "http.response.start", "status": 200}, piece(httpx.Response(200, json=RUN_AS_IT_IS).content)
            )(scope, receive, send)
            await send(piece(b"", more=False))

        async with Client("http://here", ids=CountingIds(), patience=FAST, transport=InProcess(app)) as client:
            assert (await client.cancel(RUN, "enough")).run_id == RUN

    asyncio.run(scenario())
