"""Requests: what is sent, what is sent again, and what every answer becomes."""

import asyncio
import inspect
from collections.abc import Callable

import pytest

from reattach.adapters.client import Client, ClientError, UnexpectedAnswer, Unreachable
from reattach.adapters.client.errors import KINDS
from reattach.domain import errors
from reattach.domain.errors import (
    DecisionConflict,
    Draining,
    Invalid,
    NotFound,
    ReattachError,
    SessionBusy,
    StoreUnavailable,
)

from .ids import CountingIds
from .logs import RUN, RUN_AS_IT_IS, SESSION
from .wire import FAST, Reply, Request, answer, problem, talking, wire

SESSION_AS_IT_IS = {"session_id": SESSION, "status": "open", "created_at": "2026-11-21T10:40:00Z", "metadata": {"a": 1}}


def replies(request: Request) -> Reply:
    return answer(SESSION_AS_IT_IS, 201) if request.target == "/v1/sessions" else answer(RUN_AS_IT_IS, 202)


def test_a_run_in_a_session_of_its_own() -> None:
    async def scenario() -> None:
        async with talking(script=replies, token="secret") as (server, client):
            run = await client.start_run("demo", {"prompt": "é"}, request_config={"kinds": ["text"]})
            assert (run.run_id, run.status, run.final) == (RUN, "running", False)
        create, start = server.requests
        assert (create.method, create.target, create.json) == ("POST", "/v1/sessions", {"metadata": {}})
        assert (start.method, start.target) == ("POST", f"/v1/sessions/{SESSION}/runs")
        assert start.json == {"agent": "demo", "input": {"prompt": "é"}, "request_config": {"kinds": ["text"]}}
        keys = [request.headers["idempotency-key"] for request in server.requests]
        assert keys[0] == f"{keys[1]}-session"
        assert {request.headers["authorization"] for request in server.requests} == {"Bearer secret"}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "trouble", [Reply(refuse=True), Reply(b"{", end="cut"), Reply(status=502), problem(503, "draining")]
)
def test_a_start_is_repeated_with_the_same_key(trouble: Reply) -> None:
    async def scenario() -> None:
        script = [trouble, trouble, answer(RUN_AS_IT_IS, 202)]
        async with talking(*script) as (server, client):
            assert (await client.start_run("demo", "hi", SESSION)).run_id == RUN
        assert len(server.requests) == 3
        assert len({(request.headers["idempotency-key"], request.body) for request in server.requests}) == 1

    asyncio.run(scenario())


def test_two_starts_have_two_keys_and_a_given_one_is_kept() -> None:
    async def scenario() -> None:
        async with talking(answer(RUN_AS_IT_IS, 202)) as (server, client):
            await client.start_run("demo", "hi", SESSION)
            await client.start_run("demo", "hi", SESSION)
            await client.start_run("demo", "hi", SESSION, idempotency_key="mine")
        keys = [request.headers["idempotency-key"] for request in server.requests]
        assert len(set(keys)) == 3
        assert keys[2] == "mine"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("trouble", "kind"),
    [
        (Reply(refuse=True), Unreachable),
        (Reply(status=500), UnexpectedAnswer),
        (problem(503, "store_unavailable"), StoreUnavailable),
        (problem(503, "draining"), Draining),
    ],
)
def test_attempts_are_counted(trouble: Reply, kind: type[ReattachError]) -> None:
    async def scenario() -> None:
        async with talking(trouble) as (server, client):
            with pytest.raises(kind):
                await client.run(RUN)
        assert len(server.requests) == 4

    asyncio.run(scenario())


def test_nobody_listens() -> None:
    async def scenario() -> None:
        async with wire(Reply()) as server:
            url = server.url
        async with Client(url, ids=CountingIds(), patience=FAST) as client:
            with pytest.raises(Unreachable, match=url):
                await client.agents()

    asyncio.run(scenario())


def test_a_refusal_is_raised_as_the_server_raised_it() -> None:
    async def scenario() -> None:
        busy = problem(409, "session_busy", "The run x is active.", run_id=RUN, pending_approvals=["1.1.a1"])
        async with talking(busy) as (server, client):
            with pytest.raises(SessionBusy, match=r"^The run x is active\.$") as caught:
                await client.start_run("demo", "hi", SESSION)
        assert caught.value.code == "session_busy"
        assert caught.value.fields == {"status": 409, "run_id": RUN, "pending_approvals": ["1.1.a1"]}
        assert len(server.requests) == 1

    asyncio.run(scenario())


def test_every_error_of_the_domain_is_recognized() -> None:
    ours = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ReattachError)}
    assert set(KINDS.values()) == ours - {errors.UnwritableOutput, errors.StaleSession}
    assert KINDS["invalid_frames"] is errors.InvalidFrames, "a code says no more than the base of all that share it"


def test_a_code_of_a_newer_server() -> None:
    async def scenario() -> None:
        async with talking(problem(409, "too_new", "Not yet.")) as (_, client):
            with pytest.raises(ClientError, match=r"^Not yet\.$") as caught:
                await client.run(RUN)
        assert (caught.value.code, caught.value.fields["status"]) == ("too_new", 409)

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "nonsense",
    [
        Reply(b"<html>", 404, "text/html"),
        Reply(b"<html>", 200, "text/html"),
        answer({"run_id": 1}),
        answer([]),
        answer({"detail": "no code"}, 400),
        answer(7, 400),
        Reply(b"", 302, headers={"location": "/elsewhere"}),
    ],
)
def test_an_answer_of_something_else(nonsense: Reply) -> None:
    async def scenario() -> None:
        async with talking(nonsense) as (_, client):
            with pytest.raises(UnexpectedAnswer):
                await client.run(RUN)

    asyncio.run(scenario())


def test_decisions_and_cancel() -> None:
    async def scenario() -> None:
        async with talking(answer(RUN_AS_IT_IS)) as (server, client):
            await client.approve(RUN, "1.1.a1", arguments={"to": "ann"})
            await client.deny(RUN, "1.1.a2", reason="no")
            await client.cancel(RUN)
            await client.cancel(RUN, "enough")
        approve, deny, cancel, cancel_why = server.requests
        assert approve.target == deny.target == f"/v1/runs/{RUN}/decisions"
        edited = {"approval_id": "1.1.a1", "outcome": "approve", "arguments": {"to": "ann"}}
        assert approve.json == {"decisions": [edited]}
        assert deny.json == {"decisions": [{"approval_id": "1.1.a2", "outcome": "deny", "reason": "no"}]}
        assert (cancel.target, cancel.json, cancel_why.json) == (f"/v1/runs/{RUN}/cancel", {}, {"reason": "enough"})

    asyncio.run(scenario())


def test_a_conflict_names_the_winner() -> None:
    async def scenario() -> None:
        async with talking(problem(409, "decision_conflict", outcome="deny")) as (_, client):
            with pytest.raises(DecisionConflict) as caught:
                await client.approve(RUN, "1.1.a1")
        assert caught.value.fields["outcome"] == "deny"

    asyncio.run(scenario())


def test_lists() -> None:
    async def scenario() -> None:
        async with talking(answer({"items": [RUN_AS_IT_IS], "next_cursor": "next"})) as (server, client):
            page = await client.runs(session_id=SESSION, status="running", limit=1)
            assert [run.run_id for run in page.items] == [RUN]
            assert page.next_cursor == "next"
        assert server.requests[0].target == f"/v1/runs?session_id={SESSION}&status=running&limit=1"
        async with talking(answer({"items": [SESSION_AS_IT_IS]})) as (_, client):
            assert (await client.sessions()).items[0].metadata == {"a": 1}
        async with talking(answer({"items": [{"name": "demo", "on_take_over": "continue"}]})) as (_, client):
            assert [agent.name for agent in await client.agents()] == ["demo"]

    asyncio.run(scenario())


def test_ids_cannot_leave_their_place_in_the_path() -> None:
    async def scenario() -> None:
        async with talking(problem(404, "not_found")) as (server, client):
            with pytest.raises(NotFound):
                await client.run("a/../b?c#d")
        assert server.requests[0].target == "/v1/runs/a%2F..%2Fb%3Fc%23d"

    asyncio.run(scenario())


async def awaited(call: Callable[[], object]) -> None:
    answered = call()
    if inspect.isawaitable(answered):
        await answered


@pytest.mark.parametrize("text", ["", ".", ".."])
def test_an_id_that_is_no_segment_of_a_path_is_unknown_before_anything_is_asked(text: str) -> None:
    """A URL loses it on its way, and what was left of the path would be another request."""

    async def scenario() -> None:
        async with talking() as (server, client):
            asked: dict[str, list[Callable[[], object]]] = {
                "run_id": [
                    lambda: client.run(text),
                    lambda: client.cancel(text),
                    lambda: client.deny(text, "1.1.a1"),
                    lambda: client.follow(text),
                ],
                "session_id": [
                    lambda: client.tail(text),
                    lambda: client.delete_session(text),
                    lambda: client.append_memory(text, "x"),
                    lambda: client.start_run("demo", "hi", text),
                    lambda: client.follow_session(text),
                    lambda: client.handoff(text, "move"),
                ],
                "handoff_id": [
                    lambda: client.handoff(SESSION, text),
                    lambda: client.ready_handoff(SESSION, text, 1),
                    lambda: client.abandon_handoff(SESSION, text),
                ],
            }
            for field, calls in asked.items():
                for call in calls:
                    with pytest.raises(NotFound) as caught:
                        await awaited(call)
                    assert caught.value.fields == {field: text}
        assert server.requests == []

    asyncio.run(scenario())


def test_a_server_below_a_path() -> None:
    async def scenario() -> None:
        async with wire(answer(RUN_AS_IT_IS)) as server, Client(f"{server.url}/api/", ids=CountingIds()) as client:
            await client.run(RUN)
        assert server.requests[0].target == f"/api/v1/runs/{RUN}"

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "127.0.0.1:8000", "ftp://x", "http://", "http://x:y", "http://\0"]
)
def test_a_url_that_cannot_work(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        Client(url, ids=CountingIds())
    assert caught.value.fields["field"] == "url"


def test_headers_that_cannot_be_sent() -> None:
    with pytest.raises(Invalid):
        Client("http://127.0.0.1:8000", "to ken\n", ids=CountingIds())

    async def scenario() -> None:
        async with talking(answer(RUN_AS_IT_IS)) as (server, client):
            with pytest.raises(Invalid):
                await client.start_run("demo", "hi", SESSION, idempotency_key="é")
            with pytest.raises(Invalid):
                client.follow(RUN, "a\r\nb")
            with pytest.raises(Invalid):
                await client.start_run("demo", "\ud800", SESSION)
        assert server.requests == []

    asyncio.run(scenario())
