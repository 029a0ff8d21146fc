"""A process of its own that writes: `python -m tests.eventstore.writes URL RUN_ID EPOCH WORD COUNT`.

It appends COUNT batches at the end of the run, going on after the head whenever somebody else was there first, and
prints `ack SEQ` for each one that is durable, `lost SEQ` for each place it lost.
"""

import asyncio
import sys

from reattach.domain.agent import Text
from reattach.domain.errors import AppendConflict
from reattach.domain.identifiers import RunId
from reattach.domain.outline import Outline
from reattach.domain.ports import Append
from reattach.domain.scribe import Scribe
from reattach.infrastructure.clock import SystemClock
from reattach.infrastructure.eventstore import open_store


async def main(url: str, run_id: RunId, epoch: int, word: str, count: int) -> None:
    """Write until COUNT batches are acknowledged."""
    async with open_store(url, SystemClock()) as store:
        done = 0
        while done < count:
            view = await store.run_view(run_id)
            if view is None:
                return
            scribe = Scribe(view.run, Outline(), view.head_seq + 1)
            scribe.write(Text(f"{word}{done}."))
            batch = scribe.take()
            try:
                await store.append(Append(run_id, epoch, batch))
            except AppendConflict:
                print("lost", batch.first_seq, flush=True)
                continue
            print("ack", batch.first_seq, flush=True)
            done += 1


if __name__ == "__main__":
    url, run, epoch, word, count = sys.argv[1:]
    asyncio.run(main(url, RunId(run), int(epoch), word, int(count)))
