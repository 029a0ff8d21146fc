"""A process of its own that claims a summary: `python -m tests.eventstore.summarizes URL SESSION_ID NAME`.

It says `ready`, waits for a line, claims, and prints the token or the code it was refused with.
"""

import asyncio
import sys

from reattach.domain.application import Application
from reattach.domain.errors import ReattachError
from reattach.domain.requests import Limits
from reattach.infrastructure.clock import SystemClock, UuidV7
from reattach.infrastructure.eventstore import open_store

from .world import TENANT


async def main(url: str, session_id: str, name: str) -> None:
    """Claim once."""
    clock = SystemClock()
    async with open_store(url, clock) as store:
        application = Application(store, UuidV7(clock), {}, Limits(session_grace_s=0))
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        try:
            work = await application.summaries.claim(TENANT, session_id, name)
        except ReattachError as error:
            print("refused", error.code, flush=True)
        else:
            print("won", work.token, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
