"""Following over real sockets: whatever happens to a connection, each frame comes once, in order, to the ending."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import replace

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reattach.adapters.client import Client, Frame, Interruption, UnexpectedAnswer, Unreachable
from reattach.domain.errors import InvalidCursor, NotFound

from .following import FRAMES, LOG, followed
from .ids import CountingIds
from .logs import RUN, Line, after, body, event, numbered
from .wire import FAST, End, Reply, Request, gather, problem, talking, wire


def resumes(lines: list[Line], *faults: Callable[[bytes], Reply]) -> Callable[[Request], Reply]:
    """A true server over this log, whose n-th answer the n-th fault spoils."""
    script = iter(faults)

    def reply(request: Request) -> Reply:
        rest = body(after(lines, request.headers.get("last-event-id")))
        fault = next(script, None)
        return fault(rest) if fault is not None else Reply(rest)

    return reply


def cut_at(position: int, end: End) -> Callable[[bytes], Reply]:
    return lambda rest: Reply(rest[:position], end=end)


def passing(reply: Reply) -> Callable[[bytes], Reply]:
    return lambda _: reply


def test_an_undisturbed_run_in_one_connection() -> None:
    async def scenario() -> None:
        async with talking(Reply(body(LOG))) as (server, client):
            assert await gather(client.follow(RUN)) == FRAMES
            assert [request.target for request in server.requests] == [f"/v1/runs/{RUN}/events"]
            assert "last-event-id" not in server.requests[0].headers
            assert server.requests[0].headers["accept"] == "text/event-stream"

    asyncio.run(scenario())


faults = st.lists(
    st.one_of(
        st.builds(cut_at, st.integers(0, 1200), st.sampled_from(["clean", "cut", "reset"])),
        st.sampled_from(
            [
                passing(Reply(status=500)),
                passing(Reply(b"<html>", 502, "text/html")),
                passing(problem(503, "draining")),
                passing(Reply(b"slow down", 429, "text/plain")),
                passing(Reply(refuse=True)),
                passing(Reply(b"retry: 1\n\n")),
                passing(Reply(b": keepalive\n\n: keepalive\n\n", end="cut")),
                passing(Reply(event({"type": "stream.reconnect", "reason": "draining", "retry_ms": 1}))),
                lambda rest: Reply(event({"type": "session.warning"}) + rest[:40]),
                lambda rest: Reply(rest + b"id: x.y\ndata: {", end="reset"),
            ]
        ),
    ),
    max_size=8,
)


@settings(max_examples=60, deadline=None)
@given(faults, st.integers(0, len(LOG) - 1))
def test_every_fault_at_every_byte(spoiled: list[Callable[[bytes], Reply]], known: int) -> None:
    """The resume law, from the client's side: prefix and resumes are the uninterrupted frames."""
    cursor = LOG[known - 1].id if known else None
    frames = followed(script=resumes(LOG, *spoiled), after=cursor)
    assert [frame for frame in frames if not frame.type.startswith("session.")] == FRAMES[known:]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, len(LOG)), min_size=1, max_size=6))
def test_repeats_are_dropped(ends: list[int]) -> None:
    """A cache in between that ignores Last-Event-ID sends the beginning again and again."""
    replies = [Reply(body(LOG[:end]), end="cut") for end in ends]
    assert followed(*replies, Reply(body(LOG))) == FRAMES


def test_the_cursor_of_the_last_whole_frame_comes_back() -> None:
    async def scenario() -> None:
        half = body(LOG[:3]) + LOG[3].block[:-1]
        async with talking(Reply(half, end="cut"), Reply(body(LOG[3:]))) as (server, client):
            assert await gather(client.follow(RUN)) == FRAMES
            assert server.requests[1].headers["last-event-id"] == LOG[2].id

    asyncio.run(scenario())


def test_a_bare_seq_until_a_cursor_is_known() -> None:
    async def scenario() -> None:
        script = [Reply(status=503), Reply(body(LOG[3:5]), end="cut"), Reply(body(LOG[5:]))]
        async with talking(*script) as (server, client):
            assert await gather(client.follow(RUN, 3)) == FRAMES[3:]
            assert [request.target.partition("?")[2] for request in server.requests] == ["after=3", "after=3", ""]
            assert [request.headers.get("last-event-id") for request in server.requests] == [None, None, LOG[4].id]

    asyncio.run(scenario())


def test_204_is_the_end() -> None:
    assert followed(Reply(status=204), after=LOG[-1].id) == []


def test_a_suspended_run_goes_on() -> None:
    fact = {"run_id": RUN, "at": "2026-11-21T10:40:00Z"}
    suspended = {"type": "run.suspended", **fact, "approvals": ["1.1.a1"], "closes": []}
    lines = [*LOG[:4], *numbered([suspended, *(line.data | {"seq": 0} for line in LOG[4:])], first=5)]
    lines = numbered([{k: v for k, v in line.data.items() if k != "seq"} for line in lines])
    frames = followed(Reply(body(lines[:5])), Reply(body(lines[5:])))
    assert [frame.type for frame in frames] == [line.data["type"] for line in lines]


def test_reconnect_waits_as_asked_and_is_not_delivered() -> None:
    heard: list[Interruption] = []
    reconnect = event({"type": "stream.reconnect", "reason": "draining", "retry_ms": 7})
    replies = (Reply(body(LOG[:2]) + reconnect), Reply(body(LOG[2:])))
    assert followed(*replies, interrupted=heard.append) == FRAMES
    assert [(one.count, 0.007 <= one.wait_s <= 0.007 * 1.5) for one in heard] == [(1, True)]
    assert "draining" in heard[0].why


def test_waits_grow_until_a_frame_comes() -> None:
    heard: list[Interruption] = []
    script = [Reply(b"retry: 2\n\n"), Reply(status=500), Reply(status=500), Reply(body(LOG[:1], retry_ms=None))]
    followed(*script, Reply(body(LOG[1:])), interrupted=heard.append)
    assert [one.count for one in heard] == [1, 2, 3, 1]
    floors = [0.002, 0.004, 0.008, 0.002]
    assert all(floor <= one.wait_s <= floor * 1.5 for floor, one in zip(floors, heard, strict=True))


def test_silence_is_broken_by_the_watchdog() -> None:
    async def scenario() -> None:
        patience = replace(FAST, silence_s=0.05)
        replies = (Reply(body(LOG[:2]), end="silence"), Reply(body(LOG[2:])))
        heard: list[Interruption] = []
        async with talking(*replies, patience=patience) as (_, client):
            assert await gather(client.follow(RUN, interrupted=heard.append)) == FRAMES
        assert [one.why for one in heard] == ["the server fell silent"]

    asyncio.run(scenario())


def test_a_server_that_comes_back_on_its_port() -> None:
    async def scenario() -> None:
        async with talking(script=resumes(LOG, cut_at(len(body(LOG[:2])), "cut"))) as (server, client):
            gone = asyncio.Event()

            def interrupted(interruption: Interruption) -> None:
                if interruption.count == 3:
                    gone.set()

            async with aclosing(client.follow(RUN, interrupted=interrupted)) as frames:
                received = [await anext(frames), await anext(frames)]
                await server.close()
                rest = asyncio.create_task(gather(frames))
                await gone.wait()
                await server.open()
                assert [*received, *await rest] == FRAMES

    asyncio.run(scenario())


def test_a_server_that_stays_away_is_given_up() -> None:
    async def scenario() -> None:
        async with wire(Reply(body(LOG[:2]))) as server:
            url = server.url
        async with Client(url, ids=CountingIds(), patience=replace(FAST, give_up_s=0.1)) as client:
            with pytest.raises(Unreachable) as caught:
                await gather(client.follow(RUN, LOG[1].id))
        assert caught.value.fields["cursor"] == LOG[1].id

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "nonsense",
    [
        Reply(b"data: {\n\n"),
        Reply(b"data: 1\n\n"),
        Reply(b'data: {"seq":1}\n\n'),
        Reply(b'data: {"type":1,"seq":1}\n\n'),
        Reply(b'data: {"type":"text.delta","seq":"1"}\n\n'),
        Reply(b'id: 7\ndata: {"type":"run.created","seq":7}\n\n'),
        Reply(b'data: {"type":"stream.snapshot","seq":7}\n\n'),
        Reply(b"<html>", content_type="text/html"),
        Reply(b"moved", 307, headers={"location": "http://127.0.0.1:1/"}),
    ],
)
def test_what_is_no_stream_of_ours_is_refused(nonsense: Reply) -> None:
    with pytest.raises(UnexpectedAnswer):
        followed(nonsense)


def test_refusals_are_the_domains_own() -> None:
    with pytest.raises(NotFound, match="Not here"):
        followed(problem(404, "not_found", "Not here."))
    with pytest.raises(InvalidCursor):
        followed(problem(400, "invalid_cursor"), after="nonsense")


def test_leaving_in_the_middle_closes_the_connection() -> None:
    async def scenario() -> None:
        async with talking(Reply(body(LOG[:2]), end="silence")) as (server, client):
            async with aclosing(client.follow(RUN)) as frames:
                assert await anext(frames) == FRAMES[0]
            await server.silent.wait()
        # the server's side ends too: closing it waits for its connections

    asyncio.run(scenario())


def test_a_slow_reader_is_no_dead_server() -> None:
    """The time a caller takes between two frames is not the server's silence."""

    async def scenario() -> None:
        script = [Reply(body(LOG[:2]), end="cut"), Reply(body(LOG[2:]))]
        async with talking(*script, patience=replace(FAST, give_up_s=0.05, silence_s=0.05)) as (_, client):
            received: list[Frame] = []
            async for frame in client.follow(RUN):
                received.append(frame)
                if len(received) == 2:
                    await asyncio.sleep(0.2)
            assert received == FRAMES

    asyncio.run(scenario())


def test_a_stream_over_httpx_transports_other_than_sockets() -> None:
    async def scenario() -> None:
        def reply(request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body(LOG))

        transport = httpx.MockTransport(reply)
        async with Client("http://reattach", ids=CountingIds(), transport=transport) as client:
            assert await gather(client.follow(RUN)) == FRAMES

    asyncio.run(scenario())
