"""Processes: killed without a trace, paused, told to stop, started again, with clocks of their own.

A process is a context variable. Whatever runs in a context that carries an incarnation belongs to it: tasks, timers and
callbacks inherit it, and the loop asks for it before each step. FoundationDB's simulator and madsim do the same with
machines; kill -9 is then one assignment, after which no `finally` and no `except` of that process ever runs.
"""

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar, TypeVarTuple
from uuid import UUID

from ..domain.ports import Clock

EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""When every world begins."""

_COUNTER_BITS: Final = 12
_SERIAL_BITS: Final = 40
_TAIL_BITS: Final = 62
_VERSION_7: Final = 0x7 << 76
_VARIANT: Final = 0b10 << 62

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Incarnation:
    """One life of a process. The loop drops what belongs to a dead one and holds back what belongs to a paused one."""

    __slots__ = ("alive", "label", "name", "number", "paused_until", "skew_s")

    def __init__(self, name: str, number: int, skew_s: float) -> None:
        self.name = name
        self.number = number
        self.label = f"{name}.{number}"
        self.alive = True
        self.paused_until = 0.0
        self.skew_s = skew_s

    def __repr__(self) -> str:
        return f"<{self.label}{'' if self.alive else ' (dead)'}>"


PROCESS: Final[ContextVar[Incarnation | None]] = ContextVar("PROCESS", default=None)
"""Whose code is running; None is the world itself."""


ASKED: Final[ContextVar[str | None]] = ContextVar("ASKED", default=None)
"""The request that the running code answers, as `GET /v1/runs`; None outside of any."""


AGENT: Final[ContextVar[str | None]] = ContextVar("AGENT", default=None)
"""The agent of a user that the running code belongs to; None outside of any."""


class ProcessDown(RuntimeError):
    """The process is down: it can't be given work, be paused or be told to stop. Ask `up` first."""


class Process:
    """Something that can be started, killed, paused and stopped, as often as wanted.

    `main` is given the process; when it returns or raises, the process is down and what it left running is dead, too.
    `on_down` is called with each incarnation that has just ended, in the world's own context.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        name: str,
        main: Callable[["Process"], Coroutine[object, object, None]],
        skew_s: float = 0.0,
    ) -> None:
        self.name = name
        self.incarnation = Incarnation(name, 0, skew_s)
        self.incarnation.alive = False
        self.stopping = asyncio.Event()
        self.on_down: list[Callable[[Incarnation], None]] = []
        self._loop = loop
        self._main = main
        self._context = Context()

    @property
    def up(self) -> bool:
        """Whether it runs. A paused process is up."""
        return self.incarnation.alive

    @property
    def label(self) -> str:
        """The name of its latest incarnation, such as `n0.2`; `n0.0` before the first."""
        return self.incarnation.label

    @property
    def skew_s(self) -> float:
        """Seconds its wall clock is ahead. Set it to let the clock jump; the next incarnation keeps it."""
        return self.incarnation.skew_s

    @skew_s.setter
    def skew_s(self, seconds: float) -> None:
        self.incarnation.skew_s = seconds

    def start(self) -> Incarnation:
        """Begin its next life. Raises RuntimeError if it is up."""
        if self.up:
            raise RuntimeError(f"{self.label} is up already")
        incarnation = Incarnation(self.name, self.incarnation.number + 1, self.skew_s)
        self.incarnation = incarnation
        self.stopping = asyncio.Event()
        # A fresh context, not a copy: whoever starts a process must not lend it its own variables.
        self._context = Context()
        self._context.run(PROCESS.set, incarnation)
        task = self.spawn(self._main(self), name=incarnation.label)
        task.add_done_callback(lambda task: self._exit(incarnation, task), context=Context())
        return incarnation

    def kill(self) -> None:
        """kill -9: nothing of it runs any more. Its tasks stay as they are until the loop is closed.

        A step that is being taken (a process that kills itself) goes on until it next waits.
        """
        self._end(self.incarnation)

    def pause(self, seconds: float) -> None:
        """SIGSTOP, or a long garbage collection: nothing of it runs for that long, and its timers are late."""
        self._need_up()
        self.incarnation.paused_until = max(self.incarnation.paused_until, self._loop.time() + seconds)

    def terminate(self) -> None:
        """SIGTERM: `stopping` is set. What it makes of that is up to its main."""
        self._need_up()
        self.stopping.set()

    def spawn(self, coroutine: Coroutine[object, object, T], name: str | None = None) -> asyncio.Task[T]:
        """A task inside the process. Raises ProcessDown."""
        if not self.up:
            coroutine.close()
            self._need_up()
        return self._loop.create_task(coroutine, name=name, context=self._context.copy())

    def run_in(self, seconds: float, callback: Callable[[*Ts], object], *args: *Ts) -> asyncio.TimerHandle:
        """A callback inside the process after that many seconds, if it still lives then. Raises ProcessDown."""
        self._need_up()
        return self._loop.call_later(seconds, callback, *args, context=self._context.copy())

    def _need_up(self) -> None:
        if not self.up:
            raise ProcessDown(f"{self.name} is down")

    def _exit(self, incarnation: Incarnation, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._loop.call_exception_handler({"message": f"{incarnation.label} crashed", "exception": error})
        self._end(incarnation)

    def _end(self, incarnation: Incarnation) -> None:
        if incarnation.alive:
            incarnation.alive = False
            for listener in tuple(self.on_down):
                Context().run(listener, incarnation)


class SimClock:
    """The clock of a process: virtual time from a fixed epoch, plus its skew. Without a process, the world's own."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, process: Process | None = None, epoch: datetime = EPOCH
    ) -> None:
        self._loop = loop
        self._process = process
        self._epoch = epoch
        self._last = (0.0, epoch)

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        seconds = self._loop.time() + (0.0 if self._process is None else self._process.skew_s)
        if self._last[0] != seconds:  # it is asked several times a step
            self._last = (seconds, self._epoch + timedelta(seconds=seconds))
        return self._last[1]

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return self._loop.time()


class SimIds:
    """UUIDs of version 7 without chance: the clock's milliseconds, then which source they are of, then a serial number.

    `number` (below 2**22) must differ between all sources of a world, so also between incarnations. Ids of one source
    rise strictly, also when the clock is set back, as those of production do. They ask nothing of the tape: an id more
    or less changes no other decision.
    """

    def __init__(self, clock: Clock, number: int) -> None:
        if not 0 <= number < 1 << (_TAIL_BITS - _SERIAL_BITS):
            raise ValueError(f"number {number} does not fit")
        self._clock = clock
        self._source = number << _SERIAL_BITS
        self._serial = 0
        self._last = 0

    def uuid(self) -> UUID:
        """A UUID that sorts by time of creation."""
        instant = int(self._clock.now().timestamp() * 1000) << _COUNTER_BITS
        self._last = instant if instant > self._last else self._last + 1
        self._serial += 1
        milliseconds, counter = divmod(self._last, 1 << _COUNTER_BITS)
        return UUID(int=milliseconds << 80 | _VERSION_7 | counter << 64 | _VARIANT | self._source | self._serial)
