"""Tasks, futures and handles of the simulated loop: hashed by creation order, named without addresses.

`asyncio.TaskGroup`, `asyncio.wait`, `asyncio.as_completed` and anyio's cancel scopes keep tasks in sets. A set is
walked by hash; the stock hash of a task is its address, so the order in which a group cancels its tasks would differ
from process to process. The hash here is the number in order of creation, counted by the loop, not by the process:
otherwise whatever ran before would leak into the order.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context
from typing import Any, TypeVar
from zlib import crc32

T = TypeVar("T")


class SimTask(asyncio.Task[T]):
    """A task with a number of its own. `site` is its stream on the tape, `code` stands for its name in digests."""

    __slots__ = ("code", "context", "number", "site")

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        loop: asyncio.AbstractEventLoop,
        name: str,
        context: Context,
        number: int,
        **options: Any,
    ) -> None:
        # Before the base class: it puts the task into a set and schedules its first step.
        self.number = number
        self.context = context
        self.site = f"sched:{name}"
        self.code = crc32(name.encode())
        super().__init__(coroutine, loop=loop, name=name, context=context, **options)

    def __hash__(self) -> int:
        return self.number


class SimFuture(asyncio.Future[T]):
    """A future with a number of its own. The loop sets it: an initializer in Python would double a future's price."""

    __slots__ = ("number",)

    number: int

    def __hash__(self) -> int:
        return self.number


class SimHandle(asyncio.TimerHandle):
    """A callback that waits for its turn.

    Nothing of the base class' state is used: it copies, asks the loop for its debug mode and keeps what nobody reads.
    (It is a TimerHandle so that `SimTimer` can be both.)
    """

    __slots__ = ("args", "callback", "context", "is_cancelled")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...], context: Context) -> None:
        # No super().__init__: see above. This is built for every step of a world.
        self.callback = callback
        self.args = args
        self.context = context
        self.is_cancelled = False

    def cancel(self) -> None:
        """Never call it."""
        self.is_cancelled = True
        # What it held must not live as long as its place in a queue.
        self.callback = _nothing
        self.args = ()

    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self.is_cancelled

    def when(self) -> float:
        """When it is due, in seconds of the loop's clock: now."""
        return 0.0

    def get_context(self) -> Context:
        """The context it runs in."""
        return self.context

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {callback_name(self.callback)}{' cancelled' if self.is_cancelled else ''}>"

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__


class SimTimer(SimHandle):
    """A callback that waits for its time, and then for its turn. It tells the loop when it is cancelled."""

    __slots__ = ("_tell", "_when_s")

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        context: Context,
        when_s: float,
        tell: Callable[[], None],
    ) -> None:
        # Nor here: every packet, timeout and sleep has one.
        self.callback = callback
        self.args = args
        self.context = context
        self.is_cancelled = False
        self._when_s = when_s
        self._tell = tell

    def cancel(self) -> None:
        """Never call it."""
        if not self.is_cancelled:
            self._tell()
        super().cancel()

    def when(self) -> float:
        """When it is due, in seconds of the loop's clock."""
        return self._when_s


def callback_name(callback: Callable[..., object]) -> str:
    """The callback's name without its address: for a task's step, the task's name."""
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        name: str = owner.get_name()
        return name
    return getattr(callback, "__qualname__", None) or type(callback).__name__


def describe(task: asyncio.Task[Any]) -> str:
    """The task's name and the line it waits at: `n0.1/Worker._claim#1 at worker.py:120 in _claim`."""
    inner: Any = task.get_coro()
    frame = None
    # Down the chain of awaits (of coroutines, generators and async generators) to the innermost frame.
    while inner is not None:
        frame = next((f for a in ("cr_frame", "gi_frame", "ag_frame") if (f := getattr(inner, a, None))), frame)
        inner = next((w for a in ("cr_await", "gi_yieldfrom", "ag_await") if (w := getattr(inner, a, None))), None)
    if frame is None:
        return task.get_name()
    code = frame.f_code
    return f"{task.get_name()} at {code.co_filename.rpartition('/')[2]}:{frame.f_lineno} in {code.co_name}"


def _nothing() -> None:
    """What a cancelled handle would call."""
