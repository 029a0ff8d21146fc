"""An append that failed for good: who writes or flushes afterwards is told, and never waits for room."""

import asyncio
from typing import cast

import pytest
from tests.domain.log import RunLog

from reattach.adapters.appender import PENDING_BYTES_MAX, Appender
from reattach.domain.agent import Text
from reattach.domain.application import Application
from reattach.domain.errors import StaleEpoch
from reattach.domain.ports import Append


class Refusing:
    """An application that refuses every append."""

    async def append(self, _: Append) -> None:
        """Somebody else has the run by now."""
        raise StaleEpoch


async def failed() -> Appender:
    """An appender whose first append has failed, while its agent was silent."""
    log = RunLog()
    log.create()
    log.claim()
    appender = Appender(cast("Application", Refusing()), log.run.run_id, 1, log.scribe(), 0.0)
    await appender.write(Text("one"))
    with pytest.raises(StaleEpoch):
        await appender.flush()
    return appender


def test_a_flush_of_more_output_raises() -> None:
    async def flushed() -> None:
        appender = await failed()
        appender.scribe.finish()
        with pytest.raises(StaleEpoch):
            await asyncio.wait_for(appender.flush(), 2)
        await appender.close()

    asyncio.run(flushed())


def test_a_write_of_more_than_there_is_room_for_raises() -> None:
    async def written() -> None:
        appender = await failed()
        with pytest.raises(StaleEpoch):
            await asyncio.wait_for(appender.write(Text("x" * PENDING_BYTES_MAX)), 2)
        await appender.close()

    asyncio.run(written())
