"""The store's own appends, without HTTP: one frame each, one in flight a run.

Run as a process of its own: `python -m tests.benchmarks.store_appends URL --runs N --count M`. It says `ready`,
begins at a line on its stdin, and prints how many seconds it took.
"""

import argparse
import asyncio
import sys
import time
from typing import Final

from reattach.adapters.agents.loading import load_agents
from reattach.adapters.composition import run, system_ids
from reattach.domain.agent import Text
from reattach.domain.application import Application
from reattach.domain.ports import Append, Store
from reattach.domain.requests import Assignment, Limits, StartRun
from reattach.domain.scribe import Scribe
from reattach.infrastructure.eventstore import open_store

from .agents import marker

TENANT: Final = "default"


async def measure(url: str, runs: int, count: int) -> float:
    """Claim the runs, then append from all of them at once; the seconds that takes."""
    agents = load_agents("tests.benchmarks.agents:bench")
    async with open_store(url) as opened:
        application = Application(opened, system_ids(), agents, Limits())
        for _ in range(runs):
            session = await application.create_session(TENANT, {})
            await application.start_run(TENANT, session.session_id, StartRun(agent="bench"))
        writers = [Writer(opened, each) for each in await application.claim("bench", list(agents), runs)]
        await asyncio.gather(*(writer.append(count // 10) for writer in writers))
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        begun = time.monotonic()
        await asyncio.gather(*(writer.append(count) for writer in writers))
        return time.monotonic() - begun


class Writer:
    """Appends to one run, as its worker would."""

    def __init__(self, opened: Store, assignment: Assignment) -> None:
        self._store = opened
        self._run = assignment.run
        self._scribe = Scribe(assignment.run, assignment.outline, assignment.next_seq)

    async def append(self, count: int) -> None:
        """One text an append, the next when the last is durable."""
        for index in range(count):
            self._scribe.write(Text(marker(index)))
            await self._store.append(Append(self._run.run_id, self._run.epoch, self._scribe.take()))


def main() -> None:
    """Measure when told to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    arguments = parser.parse_args()
    print(run(measure(arguments.url, arguments.runs, arguments.count)))


if __name__ == "__main__":
    main()
