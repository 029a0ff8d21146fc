"""Inside the guard time and chance are the world's, and whoever reaches outside is told what to do instead."""

import _thread
import asyncio
import os
import random
import secrets
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final

import anyio
import pytest

from reattach.simulations import anyio_patch
from reattach.simulations.anyio_patch import UntestedAnyio, check_version, patched_anyio
from reattach.simulations.guard import guarded
from reattach.simulations.loop import SimLoop, SimulationEscape
from reattach.simulations.process import EPOCH, Process
from reattach.simulations.tape import Tape


@pytest.fixture
def loop() -> Iterator[SimLoop]:
    loop = SimLoop(Tape(1))
    yield loop
    loop.close()


def entropies() -> list[object]:
    return [
        uuid.uuid4(),
        uuid.uuid1(),
        os.urandom(8),
        secrets.token_hex(),
        secrets.randbelow(10**9),
        random.random(),
        random.Random().random(),
        random.SystemRandom().random(),
        (random.seed(), random.random()),
    ]


def test_entropy_is_the_seeds(loop: SimLoop) -> None:
    drawn: list[list[object]] = []
    for seed in (1, 1, 2):
        with guarded(loop, seed):
            drawn.append(entropies())
    assert drawn[0] == drawn[1]
    assert all(one != other for one, other in zip(drawn[0], drawn[2], strict=True))
    assert drawn[0] != entropies()


def test_time_is_the_loops(loop: SimLoop) -> None:
    async def look() -> None:
        await asyncio.sleep(100)
        assert time.monotonic() == time.perf_counter() == loop.time()
        assert time.time() == pytest.approx(EPOCH.timestamp() + 100, abs=0.01)
        assert time.time_ns() == pytest.approx(time.time() * 1e9, abs=1000)
        assert time.monotonic_ns() == int(loop.time() * 1e9)

    with guarded(loop, 1):
        loop.run_until_complete(look())


def test_a_process_with_a_skewed_clock_sees_it(loop: SimLoop) -> None:
    seen: list[float] = []

    async def main(process: Process) -> None:
        seen.append(time.time() - EPOCH.timestamp())

    with guarded(loop, 1):
        Process(loop, "n0", main, skew_s=50).start()
        loop.run_until_complete(asyncio.sleep(1))
    assert seen == [pytest.approx(50, abs=0.01)]


ESCAPES: Final[dict[str, tuple[Callable[[], Any], str]]] = {
    "sleep": (lambda: time.sleep(1), "await asyncio.sleep"),
    "socket": (socket.socket, "give the code a port"),
    "lookup": (lambda: socket.getaddrinfo("localhost", 1), "give the code a port"),
    "thread": (lambda: threading.Thread(target=print).start(), "one thread"),
    "bare thread": (lambda: _thread.start_new_thread(print, ()), "one thread"),
    "subprocess": (lambda: subprocess.Popen(["true"]), "give the code a port"),
    "spawn": (lambda: os.posix_spawn("/bin/true", ["true"], {}), "give the code a port"),
    "fork": (os.fork, "give the code a port"),
    "executor": (lambda: asyncio.get_running_loop().set_default_executor(None), "port"),  # type: ignore[arg-type]  # refused before it is looked at
    "reader": (lambda: asyncio.get_running_loop().add_reader(0, print), "give the code a port"),
}


@pytest.mark.parametrize("escape", ESCAPES)
def test_reaching_outside_ends_the_run_even_if_it_is_caught(loop: SimLoop, escape: str) -> None:
    call, instead = ESCAPES[escape]

    async def careless() -> None:
        try:
            call()
        except BaseException:  # noqa: BLE001 - as careless code does
            await asyncio.sleep(5)

    threads = threading.enumerate()
    with guarded(loop, 1), pytest.raises(SimulationEscape, match=instead):
        loop.run_until_complete(careless())
    assert loop.time() < 1
    assert threading.enumerate() == threads


def test_outside_nothing_is_refused(loop: SimLoop) -> None:
    with guarded(loop, 1):
        pass
    socket.socket().close()
    thread = threading.Thread(target=len, args=("",))
    thread.start()
    thread.join()


def test_other_threads_are_refused_nothing(loop: SimLoop) -> None:
    """A campaign may report its progress over a socket of its own."""
    begin, opened = threading.Event(), threading.Event()

    def other() -> None:
        begin.wait(5)
        socket.socket().close()
        opened.set()

    thread = threading.Thread(target=other)
    thread.start()
    with guarded(loop, 1):
        begin.set()
        assert opened.wait(5)
    thread.join()


def routed() -> list[object]:
    """Everything the guard touches."""
    return [
        *(vars(time)[name] for name in ("time", "time_ns", "monotonic", "perf_counter_ns", "sleep")),
        *(vars(random)[name] for name in ("_urandom", "seed")),
        *(random.Random.__dict__["seed"], threading.Thread.__dict__["start"]),
        *(os.urandom, uuid.uuid1, _thread.start_new_thread, asyncio.as_completed),
        random.getstate(),
    ]


def test_everything_is_put_back_also_when_the_body_raises(loop: SimLoop) -> None:
    before = routed()
    with suppress(KeyError), guarded(loop, 1):
        random.random()
        assert all(now != then for now, then in zip(routed(), before, strict=True))
        raise KeyError
    assert routed() == before


def test_guards_nest(loop: SimLoop) -> None:
    inner = SimLoop(Tape(2))
    with guarded(loop, 1):
        first = routed()
        with suppress(KeyError), guarded(inner, 2):
            inner.run_until_complete(asyncio.sleep(7))
            assert time.monotonic() == inner.time() > 6
            raise KeyError
        assert routed() == first
        assert time.monotonic() == 0
        with pytest.raises(SimulationEscape):
            socket.socket()
    inner.close()


def test_anyio_is_left_as_it_was() -> None:
    scope: Any = anyio_patch.backend.CancelScope
    before = (scope.__init__, vars(anyio_patch.backend.AsyncIOBackend)["run_sync_in_worker_thread"])
    with suppress(KeyError), patched_anyio():
        assert scope.__init__ is not before[0]
        raise KeyError
    assert (scope.__init__, vars(anyio_patch.backend.AsyncIOBackend)["run_sync_in_worker_thread"]) == before


def test_anyio_threads_run_in_line(loop: SimLoop) -> None:
    async def ask() -> object:
        return await anyio.to_thread.run_sync(threading.get_ident)

    with guarded(loop, 1), patched_anyio():
        assert loop.run_until_complete(ask()) == threading.get_ident()


@pytest.mark.parametrize("version", ["3.7.1", "4.0.0", "4.99.0", "5.0.0rc1"])
def test_an_anyio_that_was_not_tested_is_refused(version: str) -> None:
    with pytest.raises(UntestedAnyio, match=f"anyio {version} was never simulated"):
        check_version(version)


def test_an_anyio_of_another_shape_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other:
        _child_scopes = ()

    monkeypatch.setattr(anyio_patch.backend, "CancelScope", Other)
    with pytest.raises(UntestedAnyio, match="another way"), patched_anyio():
        pass
