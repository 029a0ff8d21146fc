"""How a process is asked to stop, how it begins anew on another database, and how it ends if agents don't."""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from ..domain.errors import StoreUnavailable

REOPEN_S: Final = 1.0
"""Seconds until a database that could not be opened again after a fail-over is tried again."""

_log: Final = logging.getLogger("reattach")


def stop_asked() -> asyncio.Event:
    """Set by SIGTERM or SIGINT from now on. A second SIGINT ends the process: who asks twice means now."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def interrupt() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, interrupt)
    return stop


async def any_of(*events: asyncio.Event) -> None:
    """Wait until one of them is set."""
    waits = [asyncio.get_running_loop().create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def until_stopped(stop: asyncio.Event, live: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Live until asked to stop; once more whenever the database was replaced, which sets the event `live` is given.

    Raises what `live` does; StoreUnavailable only the first time.
    """
    again = False
    while not stop.is_set():
        replaced = asyncio.Event()
        try:
            await live(replaced)
        except StoreUnavailable as error:
            if not again:
                raise
            _log.warning("the database can't be opened yet: %s", error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), REOPEN_S)
            continue
        if not replaced.is_set():
            return
        _log.warning("the database has had a fail-over or a restore: everything is opened anew")
        again = True


def leave_behind(stuck: Sequence[str]) -> None:
    """If agents of these runs don't stop, end the process: what is durable is closed, and they might take for ever."""
    if stuck:
        _log.error("the agents of %s do not stop when they are cancelled; the process ends without them", stuck)
        os._exit(1)
