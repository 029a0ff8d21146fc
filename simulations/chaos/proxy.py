"""A TCP proxy that does to connections what networks do: cuts, resets, silence, slowness, delay."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

PIECE_BYTES: Final = 65_536
"""Most bytes that are taken from a socket at once."""

SLOW_BYTES: Final = 512
"""Bytes of one piece while a link is slow."""

Target = tuple[str, int] | str
"""Who is behind a link: an address, or the path of a socket."""

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Weather:
    """What the link is like now: `delay_s` for each piece, `slow_s` for each small piece, `silent` passes nothing."""

    delay_s: float = 0.0
    slow_s: float = 0.0
    silent: bool = False
    refusing: bool = False


class Link:
    """A port of its own in front of one server, with weather of its own. `port` may be asked for once it is open.

    `lose` is asked about each piece of a request; where it says so, the server gets the request and the client no
    answer but a reset.
    """

    def __init__(self, target: Callable[[], Target], lose: Callable[[bytes], bool] = lambda _: False) -> None:
        self.weather = Weather()
        self.accepted = 0
        """Connections so far."""
        self._target = target
        self._lose = lose
        self._calm = asyncio.Event()
        self._calm.set()
        self._open: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = {}

    async def open(self, host: str = "127.0.0.1") -> None:
        """Begin to listen on a free port."""
        self._server = await asyncio.start_server(self._accept, host, 0)
        self.port: int = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Listen no more, and end what is open."""
        self._server.close()
        self.reset()
        await asyncio.gather(*self._open, return_exceptions=True)

    @property
    def connections(self) -> int:
        """How many are open."""
        return len(self._open)

    # Faults.

    def cut(self) -> int:
        """End every connection as a server does that stops (FIN); how many."""
        return self._end(abruptly=False)

    def reset(self) -> int:
        """Break every connection (RST); how many."""
        return self._end(abruptly=True)

    def silence(self) -> None:
        """From now on nothing passes either way, and nobody is told: what a cable does that is pulled out."""
        self.weather.silent = True
        self._calm.clear()

    def calm(self) -> None:
        """Fair weather again. Connections that were silent stay dead: what they held is gone."""
        if self.weather.silent:
            self._end(abruptly=True)
        self.weather = Weather()
        self._calm.set()

    def _end(self, *, abruptly: bool) -> int:
        count = len(self._open)
        for task, writers in list(self._open.items()):
            if abruptly:
                for writer in writers:
                    _reset_on_close(writer)
            task.cancel()
        return count

    # Connections.

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self.accepted += 1
        if task is None or self.weather.refusing:
            _reset_on_close(writer)
            writer.close()
            return
        self._open[task] = (writer,)
        there: asyncio.StreamWriter | None = None
        try:
            await self._calm.wait()
            from_server, there = await _connected(self._target())
            self._open[task] = (writer, there)
            await self._pass(reader, writer, from_server, there)
        except asyncio.CancelledError:
            pass  # a fault of ours, or the end of it all
        except OSError:
            _reset_on_close(writer)  # nobody listens there
        finally:
            self._open.pop(task, None)
            for one in (writer, there):
                if one is not None:
                    one.close()

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_server: asyncio.StreamReader,
        there: asyncio.StreamWriter,
    ) -> None:
        loop = asyncio.get_running_loop()
        lost = asyncio.Event()
        ways = (
            loop.create_task(self._pump(reader, there, lost, asks=True)),
            loop.create_task(self._pump(from_server, writer, lost, asks=False)),
        )
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if not ways[1].done():  # the client has said all it will say; the answer may still be coming
                await asyncio.wait(ways[1:])
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
        if lost.is_set():
            _reset_on_close(writer)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, lost: asyncio.Event, *, asks: bool
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(SLOW_BYTES if self.weather.slow_s else PIECE_BYTES):
                weather = self.weather
                if weather.delay_s or weather.slow_s:
                    await asyncio.sleep(weather.delay_s + weather.slow_s)
                await self._calm.wait()
                if not asks and lost.is_set():
                    return  # the server has done it, and nobody will know
                if asks and self._lose(data):
                    lost.set()
                sink.write(data)
                await sink.drain()
            if asks:
                sink.write_eof()


async def _connected(target: Target) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    if isinstance(target, str):
        return await asyncio.open_unix_connection(target)
    return await asyncio.open_connection(*target)


def _reset_on_close(writer: asyncio.StreamWriter) -> None:
    """Let the end of this connection be a reset."""
    raw: socket.socket | None = writer.get_extra_info("socket")
    if raw is not None and raw.fileno() >= 0:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
