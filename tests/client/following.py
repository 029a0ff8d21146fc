"""A run's log, and following it as a program would."""

import asyncio
from collections.abc import Callable

from reattach.adapters.client import Frame
from reattach.adapters.client.follow import Interrupted

from .logs import RUN, log
from .wire import Reply, Request, gather, talking

LOG = log("Hello", ", ", "world")
FRAMES = [line.as_frame() for line in LOG]


def followed(
    *replies: Reply,
    script: Callable[[Request], Reply] | None = None,
    after: str | int | None = None,
    interrupted: Interrupted | None = None,
) -> list[Frame]:
    """All frames that a reader gets from a server with this script."""

    async def scenario() -> list[Frame]:
        async with talking(*replies, script=script) as (_, client):
            return await gather(client.follow(RUN, after, interrupted=interrupted))

    return asyncio.run(scenario())
