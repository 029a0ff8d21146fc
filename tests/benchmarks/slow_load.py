"""The load client where there is no C compiler: the same command line as load.c, the same results, more slowly."""

import argparse
import asyncio
import json
import random
import time
from dataclasses import dataclass, field
from typing import Any

from .slow_streams import Connection, Response, quantiles, read


@dataclass
class Request:
    """One kind of GET to be timed; see load.c."""

    keep_alive: bool
    name: str = ""
    path: str = ""
    header: str = ""
    frames: int = 0
    after: int = -1
    connection: Connection | None = None
    errors: int = 0
    received: int = 0
    first_us: list[float] = field(default_factory=list[float])
    last_us: list[float] = field(default_factory=list[float])

    async def measure(self, port: int) -> None:
        """Ask once."""
        response, rest, first = Response(self.after), b"", 0
        begun = time.monotonic_ns()
        connection = self.connection or await Connection.open(port)
        response.status = await connection.request("GET", self.path, [self.header] if self.header else [])
        complete = False
        while not complete:
            piece = await connection.content()
            now = time.monotonic_ns()
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                response.take(line, now)
            if self.frames == 0 or response.frames:
                first = first or now
            complete = response.frames >= self.frames if self.frames > 0 else not piece or not connection.chunked
        self.first_us.append((first - begun) / 1e3)
        self.last_us.append((time.monotonic_ns() - begun) / 1e3)
        self.received += response.frames
        self.errors += response.status != 200 or bool(response.lost + response.duplicated + response.reordered)
        self.connection = connection if self.keep_alive else None
        if not self.keep_alive:
            connection.close()


async def first(options: argparse.Namespace) -> None:
    """One request after the other, in random order."""
    requests: list[Request] = options.request
    for _ in range(options.count):
        for request in random.sample(requests, len(requests)):
            await request.measure(options.port)
    for request in requests:
        times, last = quantiles(sorted(request.first_us)), quantiles(sorted(request.last_us))
        result = {"first_p50_us": times["p50_us"], "first_p99_us": times["p99_us"], "last_p50_us": last["p50_us"]}
        result |= {"frames": request.received, "errors": request.errors}
        print(json.dumps({"event": "request", "name": request.name, **result}), flush=True)


async def append(options: argparse.Namespace) -> None:
    """Posts, one in flight a connection."""
    times: list[float] = []
    errors = 0

    async def post(path: str) -> None:
        nonlocal errors
        connection = await Connection.open(options.port)
        for index in range(options.count):
            text = f"@F{index:07d}T{time.monotonic_ns():019d}@"
            body = options.body.replace("%S", str(options.after + 1 + index)).replace("%T", text)
            begun = time.monotonic_ns()
            status = await connection.request("POST", path, options.header, body)
            await connection.content()
            times.append((time.monotonic_ns() - begun) / 1e3)
            errors += status // 100 != 2

    begun = time.monotonic()
    await asyncio.wait_for(asyncio.gather(*map(post, options.path)), options.limit_s)
    result = {"acknowledged": len(times) - errors, "errors": errors, "seconds": time.monotonic() - begun}
    print(json.dumps({"event": "done", **result, **quantiles(sorted(times))}), flush=True)


class OfRequest(argparse.Action):
    """An option that begins a request, or belongs to the last one."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Take one."""
        name = (option or "").strip("-")
        if name == "request":
            namespace.request.append(Request(values == "keep-alive"))
        elif namespace.request:
            setattr(namespace.request[-1], name, values)
        elif isinstance(getattr(namespace, name), list):
            getattr(namespace, name).append(values)
        else:
            setattr(namespace, name, values)


def main() -> None:
    """The command line of load.c."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mode", choices=["read", "first", "append"])
    for name, kind, default in (
        ("port", int, 0),
        ("readers", int, 1),
        ("texts", int, -1),
        ("stalled", int, 0),
        ("quorum", int, 0),
    ):
        parser.add_argument(f"--{name}", type=kind, default=default)
    parser.add_argument("--limit-s", type=float, default=60.0)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--gate")
    parser.add_argument("--body", default="")
    for name in ("request", "name", "path", "header", "frames", "after"):
        parser.add_argument(f"--{name}", type=int if name in ("frames", "after") else str, action=OfRequest)
    parser.set_defaults(request=[], path=[], header=[], frames=0, after=0)
    options = parser.parse_args()
    asyncio.run({"read": read, "first": first, "append": append}[options.mode](options))


if __name__ == "__main__":
    main()
