"""What simulated code could learn from the machine: its time and its entropy are the world's, the rest is refused.

Production code takes both from ports. Its dependencies do not, nor do users' agents: inside `guarded`, the functions
they call in `time`, `uuid`, `os`, `random` and `secrets` answer from the world, and an audit hook (PEP 578) refuses
sockets, threads and processes also where C code asks for them.

Not covered, so banned by lint: `datetime.now()`, `time.localtime()` and `from time import time` bound earlier, all of
which go past the module's attribute. Sets of strings are walked in the order of PYTHONHASHSEED: that is for the audit.
"""

import _thread
import asyncio
import os
import random
import sys
import threading
import time
import uuid
from asyncio import tasks as asyncio_tasks
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from typing import Any, Final, NoReturn

from .loop import SimLoop
from .process import EPOCH, PROCESS

REFUSED: Final = frozenset(
    "_thread.start_joinable_thread _thread.start_new_thread builtins.input os.exec os.fork os.forkpty os.kill "
    "os.killpg os.posix_spawn os.spawn os.startfile os.system pty.spawn signal.pthread_kill subprocess.Popen "
    "time.sleep".split()
)
"""Audit events that are refused, besides all of `socket.*`."""

NO_SLEEP: Final = "it blocks the whole world: await asyncio.sleep"
NO_EXIT: Final = "it ends the whole process, as nothing in a service may: raise AgentFailure"
NO_THREAD: Final = "a simulated world has one thread: await it, or ask a port"

Patch = tuple[object, str, object]
"""An object, an attribute of it, and what that is to be meanwhile."""


@contextmanager
def guarded(loop: SimLoop, seed: int, epoch: datetime = EPOCH) -> Generator[None]:
    """Inside, time and entropy are functions of the loop and the seed; reaching outside raises SimulationEscape.

    A process with a skewed clock sees `time.time` skewed, too. Everything is put back at the end, whatever happens.
    May be nested: the innermost counts. For the thread that enters it; others in this interpreter get virtual time as
    well, but are not refused anything.
    """
    _AUDIT.install()
    outer = _AUDIT.loop, _AUDIT.thread
    state = random.getstate()
    entropy = random.Random(f"entropy:{seed}")
    random.seed(entropy.getrandbits(64))
    try:
        with replaced(*_times(loop, epoch), *_entropies(entropy), *_orders(), *_threads(loop)):
            _AUDIT.loop, _AUDIT.thread = loop, threading.get_ident()
            try:
                yield
            finally:
                _AUDIT.loop, _AUDIT.thread = outer
    finally:
        random.setstate(state)


@contextmanager
def replaced(*patches: Patch) -> Generator[None]:
    """Set these attributes; put back what was there, last first, whatever happens."""
    before: list[Patch] = []
    try:
        for target, name, value in patches:
            # vars, not getattr: a class method is to be put back as one, not bound.
            before.append((target, name, vars(target)[name]))
            setattr(target, name, value)
        yield
    finally:
        for target, name, value in reversed(before):
            setattr(target, name, value)


class _Audit:
    """The hook and whom it watches. An audit hook can't be taken out again, so there is one, mostly idle."""

    def __init__(self) -> None:
        self.loop: SimLoop | None = None
        self.thread = 0
        self._installed = False

    def install(self) -> None:
        if not self._installed:
            self._installed = True
            sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[object, ...]) -> None:
        loop = self.loop
        if loop is None or not (event in REFUSED or event.startswith("socket.")):
            return
        if threading.get_ident() == self.thread:
            if event.startswith("_thread."):
                loop.refuse(event, NO_THREAD)
            if event == "time.sleep":  # of somebody who had imported the function before
                loop.refuse(f"time.sleep({args[0] if args else ''})", NO_SLEEP)
            loop.refuse(event)


_AUDIT: Final = _Audit()


def _times(loop: SimLoop, epoch: datetime) -> Iterator[Patch]:
    begin_s = epoch.timestamp()

    def wall() -> float:
        process = PROCESS.get()
        return begin_s + loop.time() + (0.0 if process is None else process.skew_s)

    def sleep(seconds: float) -> NoReturn:
        loop.refuse(f"time.sleep({seconds})", NO_SLEEP)

    def leave(status: int = 0) -> NoReturn:
        loop.refuse(f"os._exit({status})", NO_EXIT)

    yield time, "time", wall
    yield time, "time_ns", lambda: int(wall() * 1e9)
    for name in ("monotonic", "perf_counter", "process_time", "thread_time"):
        yield time, name, loop.time
        yield time, f"{name}_ns", lambda: int(loop.time() * 1e9)
    yield time, "sleep", sleep
    yield os, "_exit", leave
    yield os, "abort", leave


def _entropies(entropy: random.Random) -> Iterator[Patch]:
    """os.urandom and all that is made of it. `uuid4` and `secrets` ask it through attributes, so they follow."""
    seed_of = random.Random.seed

    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        """Without a seed, Random takes one from the system, in C."""
        seed_of(self, entropy.getrandbits(64) if a is None else a, version)

    def uuid1(node: int | None = None, clock_seq: int | None = None) -> uuid.UUID:
        """The stock one tells the machine's address and time."""
        return uuid.UUID(int=entropy.getrandbits(128), version=1)

    shared: random.Random = vars(random)["_inst"]
    yield os, "urandom", entropy.randbytes
    yield random, "_urandom", entropy.randbytes
    yield random.Random, "seed", seed
    yield random, "seed", partial(seed, shared)
    yield uuid, "uuid1", uuid1
    # uuid6 and uuid7 (3.14) remember their last instant, which would be that of another world.
    for name in ("_last_timestamp", "_last_timestamp_v7"):
        if hasattr(uuid, name):
            yield uuid, name, None
    if hasattr(uuid, "_last_counter_v7"):
        yield uuid, "_last_counter_v7", 0


def _orders() -> Iterator[Patch]:
    """asyncio.as_completed makes tasks of a set of coroutines, in the order of their addresses."""
    stock: Any = asyncio.as_completed

    def as_completed(fs: Iterable[Awaitable[Any]], *, timeout: float | None = None) -> Any:
        if asyncio.isfuture(fs) or asyncio.iscoroutine(fs):
            raise TypeError(f"expect an iterable of futures, not {type(fs).__name__}")
        return stock([asyncio.ensure_future(each) for each in dict.fromkeys(fs)], timeout=timeout)

    yield asyncio, "as_completed", as_completed
    yield asyncio_tasks, "as_completed", as_completed


def _threads(loop: SimLoop) -> Iterator[Patch]:
    """Before 3.12 threads raise no audit event; since then, only when Thread.start has noted them down for good."""
    here = threading.get_ident()

    def refusing(start: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(*args: Any, **options: Any) -> Any:
            if threading.get_ident() == here:
                loop.refuse("starting a thread", NO_THREAD)
            return start(*args, **options)

        return refuse

    yield threading.Thread, "start", refusing(threading.Thread.start)
    for module in (_thread, threading):
        for name in ("start_new_thread", "_start_new_thread", "start_joinable_thread", "_start_joinable_thread"):
            if name in vars(module):
                yield module, name, refusing(vars(module)[name])
