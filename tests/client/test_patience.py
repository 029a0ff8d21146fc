"""How long a reader waits, and when it gives up: in virtual time, with the defaults that people get."""

import asyncio
from collections.abc import Callable, Iterator

import httpx
import pytest

from reattach.adapters.client import Client, Interruption, Patience, Unreachable

from . import clockwork
from .following import FRAMES, LOG
from .ids import CountingIds
from .logs import RUN, body
from .wire import gather

STREAM = {"content-type": "text/event-stream"}


def client_of(reply: Callable[[httpx.Request], httpx.Response], patience: Patience | None = None) -> Client:
    return Client("http://test", ids=CountingIds(), patience=patience, transport=httpx.MockTransport(reply))


def refused(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused", request=request)


def test_waits_double_up_to_the_longest_and_end() -> None:
    heard: list[Interruption] = []

    async def scenario() -> float:
        async with client_of(refused) as client:
            with pytest.raises(Unreachable, match="can't be reached"):
                await gather(client.follow(RUN, interrupted=heard.append))
        return asyncio.get_running_loop().time()

    took = clockwork.run(scenario())
    patience = Patience()
    assert patience.give_up_s is not None
    assert patience.give_up_s - 2 * patience.wait_max_s < took <= patience.give_up_s
    floors = [1.0, 2.0, 4.0, 8.0, *[patience.wait_max_s] * (len(heard) - 4)]
    assert all(floor <= one.wait_s <= floor * 1.5 for floor, one in zip(floors, heard, strict=True))


def test_it_never_gives_up_if_told_so() -> None:
    def replies() -> Iterator[httpx.Response | None]:
        yield from [None] * 5000
        yield httpx.Response(200, headers=STREAM, content=body(LOG))

    script = replies()

    def reply(request: httpx.Request) -> httpx.Response:
        return next(script) or refused(request)

    async def scenario() -> None:
        async with client_of(reply, Patience(give_up_s=None)) as client:
            assert await gather(client.follow(RUN)) == FRAMES
        assert asyncio.get_running_loop().time() > 10_000

    clockwork.run(scenario())


def test_any_byte_is_a_sign_of_life() -> None:
    """A server that can only say "later" for an hour, as a draining one or one without its store does, is there."""
    answers = [httpx.Response(200, headers=STREAM, content=b"retry: 1000\n\n") for _ in range(500)]
    answers.append(httpx.Response(200, headers=STREAM, content=body(LOG)))
    script = iter(answers)

    async def scenario() -> None:
        async with client_of(lambda _: next(script), Patience(give_up_s=60)) as client:
            assert await gather(client.follow(RUN)) == FRAMES
        assert asyncio.get_running_loop().time() > 3600

    clockwork.run(scenario())


def test_a_proxys_retry_after_is_heeded_within_reason() -> None:
    heard: list[Interruption] = []
    answers = [httpx.Response(503, headers={"retry-after": after}) for after in ("7", "999999", "tomorrow")]
    script = iter([*answers, httpx.Response(200, headers=STREAM, content=body(LOG))])

    async def scenario() -> None:
        async with client_of(lambda _: next(script)) as client:
            assert await gather(client.follow(RUN, interrupted=heard.append)) == FRAMES

    clockwork.run(scenario())
    assert [7 <= heard[0].wait_s <= 10.5, 10 <= heard[1].wait_s <= 15, 4 <= heard[2].wait_s <= 6] == [True] * 3
