"""Readers of event streams for where there is no C compiler; slow_load.py has the command line."""

import argparse
import asyncio
import json
import resource
import socket
import sys
import time
from dataclasses import dataclass, field
from typing import Any, Final

CONNECTING_MAX: Final = 64
STALLED_RECEIVE_BYTES: Final = 4096
MARKER_BYTES: Final = 30


@dataclass
class Response:
    """What one stream has shown so far; see load.c for the fields."""

    seq: int
    id: str = ""
    status: int = 0
    frames: int = 0
    texts: int = 0
    payload_bytes: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    text_errors: int = 0
    controls: int = 0
    reconnects: int = 0
    failed: bool = False
    done: bool = False
    asked_to_reconnect: bool = False
    first_stamp_ns: int = 0
    last_text_ns: int = 0
    latencies_us: list[float] = field(default_factory=list[float])

    def take(self, line: bytes, now: int) -> None:
        """One line of the event stream."""
        if line.startswith(b"id:"):
            self._take_id(line[4:].decode())
        elif line.startswith(b"data:"):
            self._take_data(line, now)
        elif line == b"event: stream.reconnect":
            self.asked_to_reconnect = True
        elif line.startswith(b"event: stream."):
            self.controls += 1

    def _take_id(self, cursor: str) -> None:
        seq = int(cursor.rpartition(".")[2])
        self.id = cursor
        self.frames += 1
        if seq > self.seq:
            self.lost += seq - self.seq - 1 if self.seq >= 0 else 0
            self.seq = seq
        elif seq == self.seq:
            self.duplicated += 1
        else:
            self.reordered += 1

    def _take_data(self, line: bytes, now: int) -> None:
        at = line.find(b"@F")
        if at < 0 or line[at + MARKER_BYTES - 1 : at + MARKER_BYTES] != b"@":
            return
        index, stamp = int(line[at + 2 : at + 9]), int(line[at + 10 : at + 29])
        self.text_errors += index != self.texts
        self.texts += 1
        self.first_stamp_ns = self.first_stamp_ns or stamp
        self.last_text_ns = now
        self.latencies_us.append((now - stamp) / 1e3)


class Connection:
    """One connection, and the body of one response at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.chunked = False
        self.length = 0

    @classmethod
    async def open(cls, port: int, receive_bytes: int = 0) -> "Connection":
        """Connect; `receive_bytes` bounds what the socket buffers."""
        connected = socket.socket()
        if receive_bytes:
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connected.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connected, ("127.0.0.1", port))
        return cls(*await asyncio.open_connection(sock=connected, limit=1 << 20))

    async def request(self, method: str, path: str, headers: list[str], body: str | None = None) -> int:
        """Send; the status of the answer when its head is there."""
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        self._writer.write("\r\n".join([*lines, "", body or ""]).encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        self.chunked = "\r\ntransfer-encoding: chunked" in head
        self.length = int(head.partition("\r\ncontent-length:")[2].partition("\r\n")[0] or 0)
        return int(head.split()[1])

    async def content(self) -> bytes:
        """The next piece of the body; empty at its end."""
        if not self.chunked:
            piece = await self._reader.readexactly(self.length)
            self.length = 0
            return piece
        size = int(await self._reader.readuntil(b"\r\n"), 16)
        return (await self._reader.readexactly(size + 2))[:-2]

    def close(self) -> None:
        """Leave."""
        self._writer.close()


async def read(options: argparse.Namespace) -> None:
    """Many readers; see load.c."""
    responses = [Response(options.after) for _ in range(options.readers)]
    lockstep = Lockstep(options) if options.gate else None
    slots, begun = asyncio.Semaphore(CONNECTING_MAX), time.monotonic()
    ready = [asyncio.Event() for _ in responses]

    async def follow(index: int, response: Response) -> None:
        headers: list[str] = []
        while True:
            async with slots:
                connection = await Connection.open(
                    options.port, STALLED_RECEIVE_BYTES if index < options.stalled else 0
                )
                response.status = await connection.request("GET", options.path[index % len(options.path)], headers)
            ready[index].set()
            if index < options.stalled:
                await asyncio.Event().wait()
            await consume(connection, response, lockstep)
            connection.close()
            if not response.asked_to_reconnect:
                return
            response.asked_to_reconnect = False
            response.reconnects += 1
            headers = [f"Last-Event-ID: {response.id}"]

    following = [asyncio.create_task(follow(index, response)) for index, response in enumerate(responses)]
    await asyncio.gather(*(event.wait() for event in ready))
    ready_s = time.monotonic() - begun
    print(json.dumps({"event": "ready"}), flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
    stopped = asyncio.create_task(stop.wait())
    awaited = following[options.stalled :] or following  # nothing but stalled ones: until told
    streams: asyncio.Future[list[BaseException | None]] = asyncio.gather(*awaited, return_exceptions=True)
    either: tuple[asyncio.Future[Any], ...] = (streams, stopped)
    await asyncio.wait(either, timeout=options.limit_s, return_when=asyncio.FIRST_COMPLETED)
    report(options, responses[options.stalled :], ready_s, stopped=stopped.done())
    for task in [*following, stopped]:
        task.cancel()


async def consume(connection: Connection, response: Response, lockstep: "Lockstep | None") -> None:
    """Read one stream to its end."""
    rest = b""
    try:
        while piece := await connection.content():
            now = time.monotonic_ns()
            response.payload_bytes += len(piece)
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                texts = response.texts
                response.take(line, now)
                if lockstep is not None and response.texts > texts:
                    lockstep.arrived(texts)
        response.done = True
    except (OSError, asyncio.IncompleteReadError):
        response.done = response.failed = True


class Lockstep:
    """Lets the producer go on when so many readers have the text."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._quorum = options.quorum or options.readers - options.stalled
        self._texts = options.texts
        self._gate = options.gate
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._step = self._arrived = 0

    def arrived(self, index: int) -> None:
        """One reader has this text."""
        self._arrived += index == self._step
        if self._arrived == self._quorum:
            self._arrived = 0
            self._step += 1
            if self._step != self._texts:
                self._socket.sendto(b"1", self._gate)


def report(options: argparse.Namespace, responses: list[Response], ready_s: float, *, stopped: bool) -> None:
    """Print the sums."""
    names = "frames texts payload_bytes lost duplicated reordered text_errors controls reconnects failed".split()
    result: dict[str, Any] = {name: int(sum(getattr(each, name) for each in responses)) for name in names}
    stamps = [each.first_stamp_ns for each in responses if each.texts]
    span_s = (max(each.last_text_ns for each in responses) - min(stamps)) / 1e9 if stamps else 0.0
    times = sorted(latency for each in responses for latency in each.latencies_us)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    result |= {
        "event": "done",
        "readers": len(responses),
        "ready_s": ready_s,
        "unfinished": sum(not each.done for each in responses),
        "refused": sum(each.status not in (200, 204) for each in responses),
        "incomplete": sum(options.texts >= 0 and each.texts != options.texts for each in responses),
        "stopped": stopped,
        "span_s": span_s,
        "busy": min(1.0, (usage.ru_utime + usage.ru_stime) / span_s) if span_s else 0.0,
        **quantiles(times),
    }
    print(json.dumps(result), flush=True)


def quantiles(times_us: list[float]) -> dict[str, float]:
    """The three that load.c gives."""
    last = len(times_us) - 1
    if last < 0:
        return {"p50_us": -1, "p99_us": -1, "max_us": 0}
    return {"p50_us": times_us[last // 2], "p99_us": times_us[int(last * 0.99)], "max_us": times_us[last]}
