"""The chaos's proxy for tests that are no coroutines: it runs in a thread of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Generator

from reattach.simulations.chaos.proxy import Link


@contextlib.contextmanager
def linked(link: Link) -> Generator[str, None, None]:
    """Open the link; its URL."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(link.open(), loop).result()
        yield f"http://127.0.0.1:{link.port}"
        asyncio.run_coroutine_threadsafe(link.close(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
