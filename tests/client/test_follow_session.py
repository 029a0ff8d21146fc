"""A session's stream: several runs one after another, over disconnects, without an end of its own."""

import asyncio
from contextlib import aclosing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reattach.adapters.client import Frame, StreamSpliced

from .logs import OTHER, SESSION, Line, after, body, log
from .wire import Reply, Request, talking

FIRST = log("Hello")
SECOND = log("again", run_id=OTHER, turn=2)
BOTH = [*FIRST, *SECOND]


async def take(count: int, *replies: Reply, cursor: str | None = None) -> list[Frame]:
    async with talking(*replies) as (_, client), aclosing(client.follow_session(SESSION, cursor)) as frames:
        return [await anext(frames) for _ in range(count)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 3000), max_size=5), st.sampled_from(["clean", "cut", "reset"]))
def test_turns_follow_each_other_over_any_cut(cuts: list[int], end: str) -> None:
    async def scenario() -> None:
        script = iter(cuts)

        def reply(request: Request) -> Reply:
            rest = body(after(BOTH, request.headers.get("last-event-id")))
            at = next(script, None)
            return Reply(rest, end="silence") if at is None else Reply(rest[:at], end=end)  # type: ignore[arg-type]  # drawn from End

        async with talking(script=reply) as (_, client), aclosing(client.follow_session(SESSION)) as frames:
            received = [await anext(frames) for _ in BOTH]
        assert received == [line.as_frame() for line in BOTH]

    asyncio.run(scenario())


def test_repeats_of_earlier_turns_are_dropped() -> None:
    received = asyncio.run(take(len(BOTH), Reply(body([*FIRST, *SECOND[:3]])), Reply(body(BOTH))))
    assert received == [line.as_frame() for line in BOTH]


def test_the_next_turn_after_a_cursor_at_a_runs_end() -> None:
    received = asyncio.run(take(len(SECOND), Reply(body(SECOND)), cursor=FIRST[-1].id))
    assert received == [line.as_frame() for line in SECOND]


@pytest.mark.parametrize(
    "spliced",
    [
        pytest.param([*FIRST[:4], *SECOND], id="a run that began before the one before had ended"),
        pytest.param([*FIRST, *SECOND[2:]], id="a run that begins in the middle"),
    ],
)
def test_a_splice_is_never_delivered(spliced: list[Line]) -> None:
    with pytest.raises(StreamSpliced):
        asyncio.run(take(len(spliced), Reply(body(spliced))))
