"""How a process is asked to stop, and how it ends if agents don't."""

import asyncio
import logging
import os
import signal
from collections.abc import Sequence
from typing import Final

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


def leave_behind(stuck: Sequence[str]) -> None:
    """If agents of these runs don't stop, end the process: what is durable is closed, and they might take for ever."""
    if stuck:
        _log.error("the agents of %s do not stop when they are cancelled; the process ends without them", stuck)
        os._exit(1)
