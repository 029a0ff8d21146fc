"""The end of a world: what is left over is closed at one point, and the garbage collector runs when nothing else does.

Finalizers are code that runs at an instant of the interpreter's choosing, unless one chooses first.
"""

import asyncio
import gc
import sys
import warnings
from asyncio import tasks as asyncio_tasks
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from typing import Any, Final

from .tasks import SimTask

CLOSES_MAX: Final = 100
"""Times something that waits inside its `finally` is told again to close."""


@contextmanager
def quiet_gc() -> Generator[None]:
    """No garbage collection inside; one at the end, of what was made inside.

    The collector runs finalizers whenever enough was allocated, so a run would depend on what ran before it. What
    exists already is frozen meanwhile: without that, collecting after each world costs more than half of all time.
    Use it around a world, including the closing of its loop. May be nested.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    gc.freeze()
    try:
        yield
    finally:
        with muted():
            gc.collect()
        # Where it was off already, an outer one is still at work, or somebody else who knows what for.
        if was_enabled:
            gc.unfreeze()
            gc.enable()


@contextmanager
def muted() -> Generator[None]:
    """Nothing is said about coroutines never awaited and finalizers that failed: this is garbage by intent."""
    hook = sys.unraisablehook
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.unraisablehook = _say_nothing
        try:
            yield
        finally:
            sys.unraisablehook = hook


@contextmanager
def running(loop: asyncio.AbstractEventLoop, finalizer: Callable[[AsyncGenerator[Any, Any]], None]) -> Generator[None]:
    """This loop is the running one, and async generators that begin inside are finalized by it."""
    if asyncio._get_running_loop() is not None:
        raise RuntimeError("another loop is running: a world can't be run from inside a task")
    hooks = sys.get_asyncgen_hooks()
    asyncio._set_running_loop(loop)
    sys.set_asyncgen_hooks(firstiter=None, finalizer=finalizer)
    try:
        yield
    finally:
        sys.set_asyncgen_hooks(*hooks)
        asyncio._set_running_loop(None)


def close_tasks(tasks: list[asyncio.Task[Any]]) -> None:
    """Close the coroutines of tasks that are not done, in order. Those that are added meanwhile follow."""
    with muted():
        for task in tasks:
            if not task.done():
                _close_task(task)


def close_generator(generator: AsyncGenerator[Any, Any]) -> None:
    """Close an async generator without a loop that could do it."""
    closing = generator.aclose()
    for _ in range(CLOSES_MAX):
        try:
            closing.send(None)
        except BaseException:  # noqa: BLE001 - done, or failed: the world it could fail in is gone
            return


def _close_task(task: asyncio.Task[Any]) -> None:
    """Close its coroutine in its own context and as the current task, as its `finally` may ask for either."""
    coroutine: Any = task.get_coro()
    loop = task.get_loop()

    def close() -> None:
        asyncio_tasks._enter_task(loop, task)
        try:
            coroutine.close()
        finally:
            asyncio_tasks._leave_task(loop, task)

    for _ in range(CLOSES_MAX):
        try:
            if isinstance(task, SimTask):
                task.context.run(close)
            else:
                close()
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - a `finally` that fails or waits: ask again until it ends
            continue
        break
    asyncio_tasks._unregister_task(task)


def _say_nothing(_: object) -> None: ...
