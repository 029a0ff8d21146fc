"""What only a bent wire shows of sessions: lost answers, news that are repeated, fields of a newer server."""

import asyncio
from contextlib import aclosing
from typing import Any

import pytest

from reattach.adapters.client import Client, StreamSpliced
from reattach.domain.errors import NotFound, StaleEpoch

from .logs import OTHER, RUN, SESSION, body, event, log
from .wire import Reply, answer, problem, talking

SUPERSEDED = {"type": "session.superseded", "session_id": SESSION, "epoch": 2, "owner": "b", "held": 1}


@pytest.mark.parametrize("refusal", [problem(404, "not_found"), problem(412, "stale_epoch")])
def test_a_refusal_after_a_lost_answer_means_that_it_was_done(refusal: Reply) -> None:
    async def scenario() -> None:
        async def leave(client: Client) -> None:
            if refusal.status == 404:
                await client.delete_session(SESSION, 3)
            else:
                await client.detach(SESSION, 3)

        async with talking(Reply(refuse=True), refusal) as (wire, client):
            await leave(client)
        assert [request.headers["session-epoch"] for request in wire.requests] == ["3", "3"]
        async with talking(refusal) as (_, client):
            with pytest.raises((NotFound, StaleEpoch)):
                await leave(client)
        async with talking(Reply(refuse=True), problem(409, "session_busy")) as (_, client):
            with pytest.raises(Exception, match="No"):
                await leave(client)

    asyncio.run(scenario())


def test_news_of_the_session_are_heard_once_and_move_no_cursor() -> None:
    """A server repeats them at each reconnect, for as long as they hold."""
    first, second = log("a", run_id=RUN), log("b", run_id=OTHER, turn=2)
    news = event(SUPERSEDED)
    warning = event({"type": "session.warning", "session_id": SESSION, "code": "DETACHED"})

    async def scenario() -> None:
        replies = [
            Reply(news + body(first[:3]), end="cut"),
            Reply(news + body(first[3:]) + warning, end="cut"),
            Reply(news + warning + body(second), end="silence"),
        ]
        async with (
            talking(*replies) as (wire, client),
            aclosing(client.follow_session(SESSION, session_epoch=1)) as stream,
        ):
            frames = [await anext(stream) for _ in range(len(first) + len(second) + 2)]
        assert [frame.type for frame in frames if frame.id is None] == ["session.superseded", "session.warning"]
        assert [frame for frame in frames if frame.id is not None] == [line.as_frame() for line in (*first, *second)]
        assert [request.headers.get("last-event-id") for request in wire.requests] == [None, first[2].id, first[-1].id]
        assert {request.headers["session-epoch"] for request in wire.requests} == {"1"}

    asyncio.run(scenario())


def test_a_run_that_begins_in_the_middle_after_an_empty_sessions_cursor_is_spliced() -> None:
    async def scenario() -> None:
        async with (
            talking(Reply(body(log("a")[1:]), end="silence")) as (wire, client),
            aclosing(client.follow_session(SESSION, f"{SESSION}.0.0.0")) as stream,
        ):
            with pytest.raises(StreamSpliced):
                await anext(stream)
        assert wire.requests[0].headers["last-event-id"] == f"{SESSION}.0.0.0"

    asyncio.run(scenario())


def test_what_a_newer_server_adds_is_kept() -> None:
    async def scenario() -> None:
        fields = {"session_id": SESSION, "status": "open", "created_at": "2026-11-21T10:40:00Z", "mood": "good"}
        tail: dict[str, Any] = {
            "session": fields,
            "messages": [],
            "pending_approvals": [],
            "status": "idle",
            "cursor": "x",
            "new": 1,
        }
        async with talking(answer(tail)) as (_, client):
            read = await client.tail(SESSION)
        assert (read.model_extra, read.session.model_extra) == ({"new": 1}, {"mood": "good"})

    asyncio.run(scenario())
