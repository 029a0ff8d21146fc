"""A process of its own that claims: `python -m tests.eventstore.claims URL WORKER COUNT`.

It takes one pending run after another until COUNT were taken by all processes together, and prints each run's id.
"""

import asyncio
import sys

from reattach.domain.application import Application, Limits
from reattach.domain.transitions import Status
from reattach.infrastructure.clock import SystemClock, UuidV7
from reattach.infrastructure.eventstore import open_store

from .world import TENANT, Echo


async def main(url: str, worker: str, count: int) -> None:
    """Claim until all are claimed."""
    clock = SystemClock()
    async with open_store(url, clock) as store:
        application = Application(store, UuidV7(clock), {"echo": Echo()}, Limits())
        while True:
            for assignment in await application.claim(worker, ["echo"], 1):
                print(assignment.run.run_id, flush=True)
            claimed = await store.runs(TENANT, {"status": Status.RUNNING}, None, count)
            if len(claimed.items) == count:
                return


if __name__ == "__main__":
    url, worker, count = sys.argv[1:]
    asyncio.run(main(url, worker, int(count)))
