"""The deterministic event loop: a virtual clock, an order taken from the tape, no threads and no sockets.

One loop runs a whole world: several processes (see `process.py`), their network and their store. Nothing in it asks
the machine for anything, so that a seed gives the same steps everywhere. TigerBeetle's VOPR and FoundationDB simulate
their clusters the same way; here asyncio's own C tasks run unmodified, on another loop.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Coroutine, Generator
from contextvars import Context, copy_context
from typing import Any, Final, TypeVar, cast

from .process import PROCESS
from .scheduling import Strategy, order_of
from .stepping import STEP_S, STEPS_MAX, StepBudget, Stepper
from .surface import SimulationEscape
from .tape import Tape
from .tasks import SimFuture, SimTask, describe
from .teardown import close_generator, close_tasks, running

DONE_TASKS_MAX: Final = 256
"""Finished tasks that are kept before they are let go."""

WAITING_MAX: Final = 20
"""Waiting tasks that a Deadlock names."""

T = TypeVar("T")

__all__ = ["Deadlock", "SimLoop", "SimulationEscape", "StepBudget"]


class Deadlock(Exception):
    """Nothing is ready and no timer is set, yet the run has not ended. `waiting` names the tasks and their lines."""

    def __init__(self, now: float, waiting: list[str]) -> None:
        named = "; ".join(waiting[:WAITING_MAX]) or "no task at all"
        more = f"; and {len(waiting) - WAITING_MAX} more" if len(waiting) > WAITING_MAX else ""
        super().__init__(f"nothing can run at {now:.6f} s; waiting: {named}{more}")
        self.waiting = waiting


class SimLoop(Stepper):
    """An event loop whose every order and every instant are functions of the tape.

    `step_s` is what a step costs in virtual seconds, `density` how much noise the random order makes (0 to 1).
    Close the loop when done.
    """

    def __init__(
        self,
        tape: Tape,
        strategy: Strategy = "fifo",
        density: float = 0.3,
        step_s: float = STEP_S,
        max_steps: int = STEPS_MAX,
    ) -> None:
        super().__init__(order_of(strategy, tape, density), step_s, max_steps)
        self.tape = tape
        self._created = 0
        self._names: dict[str, int] = {}
        self._tasks: list[asyncio.Task[Any]] = []
        self._sweep_at = DONE_TASKS_MAX
        self._error: BaseException | None = None
        self._running = False

    # Futures and tasks

    def create_future(self) -> asyncio.Future[Any]:
        """A future, hashed by its number."""
        self._created = number = self._created + 1
        future: SimFuture[Any] = SimFuture(loop=self)
        future.number = number
        return future

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: object = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[T]:
        """A task, hashed by its number; without a name it is called after its process and its coroutine."""
        self._created += 1
        if context is None:
            context = copy_context()
        # A name with an address in it (anyio names tasks after callables) would differ from process to process.
        if name is None or "0x" in (named := str(name)):
            named = self._name(coro, context)
        task = SimTask(coro, loop=self, name=named, context=context, number=self._created, **options)
        # The loop holds every task that is not done: one nobody refers to would be collected, and a killed process'
        # tasks would then run their `finally`.
        self._tasks.append(task)
        if len(self._tasks) > self._sweep_at and not self._closed:
            self.release_done()
        return task

    def release_done(self) -> None:
        """Let go of finished tasks. Those whose errors nobody took are reported to `unhandled` by that."""
        self._tasks = [task for task in self._tasks if not task.done()]
        self._sweep_at = 2 * len(self._tasks) + DONE_TASKS_MAX

    def waiting(self) -> list[str]:
        """The tasks of living processes that are not done, each with the line it waits at."""
        return [describe(task) for task in self._tasks if not task.done() and not _is_dead(task)]

    def _name(self, coro: object, context: Context) -> str:
        process = context.get(PROCESS)
        name = getattr(coro, "__qualname__", type(coro).__name__)
        if process is not None:
            name = f"{process.label}/{name}"
        number = self._names[name] = self._names.get(name, 0) + 1
        return f"{name}#{number}"

    # Running

    def run_until_complete(self, future: Generator[Any, None, T] | Awaitable[T]) -> T:
        """Run until it is done; its result. Raises Deadlock, StepBudget, or what `abort` was given."""
        # The signature is asyncio's; generators have not been awaitable for long.
        task: asyncio.Future[T] = asyncio.ensure_future(cast("Awaitable[T]", future), loop=self)
        task.add_done_callback(lambda _: self.stop(), context=Context())
        self.run_forever()
        if not task.done():
            raise RuntimeError("the loop was stopped before the future was done")
        return task.result()

    def run_forever(self) -> None:
        """Run until `stop`. Raises Deadlock, StepBudget, or what `abort` was given."""
        if self._closed or self._running:
            raise RuntimeError(f"this loop is {'closed' if self._closed else 'running'}")
        self._thread = threading.get_ident()
        self._running = True
        self._stopping = self._error is not None
        try:
            with running(self, self._finalize):
                self._run()
        finally:
            self._running = False
            self.release_done()
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """End the run after this step."""
        self._stopping = True

    def abort(self, error: BaseException) -> None:
        """End the run after this step, with this error, wherever it is caught. The first counts."""
        if self._error is None and not self._closed:
            self._error = error
        self._stopping = True

    def stuck(self) -> None:
        """Raise Deadlock."""
        raise Deadlock(self._now, self.waiting())

    def is_running(self) -> bool:
        """Whether it runs."""
        return self._running

    def is_closed(self) -> bool:
        """Whether it is closed."""
        return self._closed

    def close(self) -> None:
        """Close what is left: tasks in order of creation, whose `finally` run now and can schedule nothing any more."""
        if self._running:
            raise RuntimeError("a running loop can't be closed")
        if not self._closed:
            self._closed = True
            with running(self, self._finalize):
                close_tasks(self._tasks)
            for left in (self._ready, self._timers, self._dead, self._tasks):
                left.clear()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Remember what went wrong where nobody waits for it. After the end nothing does any more."""
        if not self._closed:
            super().call_exception_handler(context)

    def _finalize(self, generator: AsyncGenerator[Any, Any]) -> None:
        """An async generator was dropped half-way (by counting references, as gc is off: so it is deterministic)."""
        if self._closed:
            close_generator(generator)
        else:
            self.create_task(generator.aclose())


def _is_dead(task: asyncio.Task[Any]) -> bool:
    process = task.context.get(PROCESS) if isinstance(task, SimTask) else None
    return process is not None and not process.alive
