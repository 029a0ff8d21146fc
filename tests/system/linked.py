"""The chaos's proxy for tests that are no coroutines: it runs in a thread of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass

from reattach.simulations.chaos.proxy import Link


@dataclass(frozen=True)
class Linked:
    """An open link: where it listens, and the loop that it lives in."""

    link: Link
    loop: asyncio.AbstractEventLoop

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.link.port}"

    def do(self, what: Callable[[], object]) -> None:
        """Do something to the link, in its thread."""

        async def done() -> None:
            what()

        asyncio.run_coroutine_threadsafe(done(), self.loop).result()


@contextlib.contextmanager
def linked(link: Link) -> Generator[Linked, None, None]:
    """Open the link, and close it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(link.open(), loop).result()
        yield Linked(link, loop)
        asyncio.run_coroutine_threadsafe(link.close(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
