"""Where a reader is: resets, snapshots, gaps, and what must never be taken for the next frame."""

import asyncio

import pytest

from reattach.adapters.client import Client, Frame, StreamSpliced
from reattach.domain.errors import NotFound

from .following import FRAMES, LOG, followed
from .logs import OTHER, RUN, RUN_AS_IT_IS, SESSION, Line, after, body, event, log
from .wire import FAST, Reply, Request, answer, gather, problem, talking

RESET = event({"type": "stream.reset", "reason": "generation", "cursor": LOG[3].id})


def snapshot(seq: int, run_id: str = RUN) -> bytes:
    run = {"run_id": run_id, "session_id": SESSION} if seq else {}
    return event(
        {"type": "stream.snapshot", "state": {"run": run, "messages": [], "pending_approvals": []}, "seq": seq}
    )


def test_a_reset_is_delivered_and_the_stream_goes_on_from_its_snapshot() -> None:
    restored = log("Hi", generation=1)
    frames = followed(Reply(RESET + snapshot(4) + body(restored[4:])), after=LOG[5].id)
    assert [frame.type for frame in frames[:2]] == ["stream.reset", "stream.snapshot"]
    assert frames[2:] == [line.as_frame() for line in restored[4:]]


def test_a_reset_that_is_cut_off_is_asked_for_again() -> None:
    async def scenario() -> None:
        restored = log("Hi", generation=1)
        script = [Reply(RESET, end="cut"), Reply(RESET + snapshot(0) + body(restored))]
        async with talking(*script) as (server, client):
            frames = await gather(client.follow(RUN, LOG[5].id))
            assert server.requests[1].headers["last-event-id"] == LOG[5].id
        kinds = [frame.type for frame in frames[:3]]
        assert kinds == ["stream.reset", "stream.reset", "stream.snapshot"]
        assert frames[3:] == [line.as_frame() for line in restored]

    asyncio.run(scenario())


def test_a_reset_without_its_snapshot_leads_nowhere() -> None:
    with pytest.raises(StreamSpliced):
        followed(Reply(RESET + body(LOG[6:])), after=LOG[5].id)


def test_a_snapshot_first() -> None:
    async def scenario() -> None:
        async with talking(Reply(snapshot(5) + body(LOG[5:6]), end="cut"), Reply(body(LOG[6:]))) as (server, client):
            frames = await gather(client.follow(RUN, snapshot=True))
            assert frames[1:] == FRAMES[5:]
            assert [request.target.partition("?")[2] for request in server.requests] == ["snapshot=true"] * 2

    asyncio.run(scenario())


def test_an_unreadable_record_is_passed_on_and_skipped() -> None:
    lost = {"type": "stream.error", "first_seq": 4, "last_seq": 6, "code": "record_damaged"}
    frames = followed(Reply(body(LOG[:3]) + event(lost, LOG[5].id)), Reply(body(LOG[6:])))
    assert [frame.seq for frame in frames] == [1, 2, 3, *range(6, len(LOG) + 1)]


def test_a_gap_that_the_runs_request_config_explains() -> None:
    async def scenario(kinds: list[str] | None) -> list[Frame]:
        shown = [line for line in LOG if not line.data["type"].startswith("text.")]
        resource = RUN_AS_IT_IS | {"request_config": {"kinds": kinds, "tool_output": "full"}}

        def reply(request: Request) -> Reply:
            return Reply(body(shown)) if "/events" in request.target else answer(resource)

        async with talking(script=reply) as (_, client):
            return await gather(client.follow(RUN))

    assert [frame.seq for frame in asyncio.run(scenario(["tool"]))] == [1, 2, 3, 9, 10]
    with pytest.raises(StreamSpliced):
        asyncio.run(scenario(None))


PROXY = Reply(b"<h1>Bad Gateway</h1>", status=502, content_type="text/html")


def followed_with_gaps(*refusals: Reply) -> list[Frame]:
    """A run that hides frames, whose resource is refused at first."""
    shown = [line for line in LOG if not line.data["type"].startswith("text.")]
    resource = RUN_AS_IT_IS | {"request_config": {"kinds": ["tool"], "tool_output": "full"}}
    left = iter(refusals)

    def reply(request: Request) -> Reply:
        if "/events" in request.target:
            return Reply(body(after(shown, request.headers.get("last-event-id"))))
        return next(left, answer(resource))

    async def scenario() -> list[Frame]:
        async with talking(script=reply) as (_, client):
            return await gather(client.follow(RUN))

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(problem(503, "store_unavailable"), id="the store is away"),
        pytest.param(problem(503, "draining"), id="the server stops"),
        pytest.param(PROXY, id="a proxy is in trouble"),
    ],
)
def test_a_gap_that_can_not_be_explained_yet_is_a_break_and_no_end(refused: Reply) -> None:
    """Found by the simulator (seed 209): the store was away for a moment, and the reader gave up for good."""
    frames = followed_with_gaps(*[refused] * FAST.attempts_max)
    assert [frame.seq for frame in frames] == [1, 2, 3, 9, 10]


def test_a_gap_that_nobody_will_explain_is_an_end() -> None:
    with pytest.raises(NotFound):
        followed_with_gaps(problem(404, "not_found"))


@pytest.mark.parametrize(
    "spliced",
    [
        pytest.param([*LOG[:2], *log("x", run_id=OTHER)[2:]], id="another run's frame"),
        pytest.param([*LOG[:2], *log("x", generation=1)[2:]], id="another generation"),
        pytest.param([*log("x", epoch=3)[:4], *log("x", epoch=2)[4:]], id="an epoch that fell"),
        pytest.param([*LOG[:4], *log("x", epoch=2)[2:4]], id="frames we have, of a later epoch"),
        pytest.param([*log("x", epoch=2)[:4], log("x", epoch=1)[3]], id="the frame we have, of another epoch"),
        pytest.param(LOG[2:], id="a beginning in the middle"),
        pytest.param([*LOG[:2], Line(LOG[2].id, LOG[3].data)], id="an id that is not the frame's"),
    ],
)
def test_a_splice_is_never_delivered(spliced: list[Line]) -> None:
    async def scenario() -> None:
        received: list[Frame] = []

        async def read(client: Client) -> None:
            async for frame in client.follow(RUN):
                received.append(frame)

        async with talking(Reply(body(spliced))) as (_, client):
            with pytest.raises(StreamSpliced):
                await read(client)
        assert received == [line.as_frame() for line in spliced[: len(received)]]

    asyncio.run(scenario())
