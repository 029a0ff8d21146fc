"""The heart of the loop: virtual time, the queue of what is ready, the heap of what is timed, step after step."""

import asyncio
import threading
from abc import abstractmethod
from collections.abc import Callable
from contextvars import Context, copy_context
from heapq import heapify, heappop, heappush
from typing import Final, TypeVarTuple
from zlib import crc32

from .process import AGENT, PROCESS, Incarnation
from .scheduling import Order
from .surface import FATAL, LoopSurface
from .tasks import SimHandle, SimTask, SimTimer, callback_name

STEP_S: Final = 20e-6
"""Virtual seconds a step takes. Not 0: a scope that waits for its slow victim would stop the clock for ever."""

STEPS_MAX: Final = 400_000
"""Steps of a run before StepBudget."""

SPIN_STEPS: Final = 400
"""Steps without any timer after which the clock begins to hurry: somebody is spinning (anyio, while it cancels)."""

SPIN_DOUBLING_STEPS: Final = 50
"""Steps after which a hurrying clock doubles its pace. It never passes the next timer."""

SPIN_STEP_S_MAX: Final = 1.0
"""Virtual seconds a step takes at most."""

CANCELLED_TIMERS_MAX: Final = 100
"""Timers cancelled before they are swept out, once they are more than half of all."""

_DIGEST_MASK: Final = (1 << 64) - 1

Ts = TypeVarTuple("Ts")


class StepBudget(Exception):
    """The run took more steps than it may: somebody spins, or the world is too large.

    `agent` is the user's agent whose step was to be the next one, if it was one's.
    """

    def __init__(self, what: str, agent: str | None) -> None:
        super().__init__(what)
        self.agent = agent


class Stepper(LoopSurface):
    """Time and callbacks of an event loop. `step_s` is what a step costs in virtual seconds."""

    def __init__(self, order: Order | None, step_s: float, max_steps: int) -> None:
        super().__init__()
        self.steps = 0
        self.recorded: list[tuple[float, str]] | None = None
        """Set to a list, it receives the time and name of each step (which costs time)."""
        self._order = order
        self._step_s = step_s
        self._steps_max = max_steps
        self._now = 0.0
        self._seq = 0
        self._ready: list[tuple[float, int, SimHandle]] = []
        self._timers: list[tuple[float, int, SimHandle]] = []
        self._cancelled_timers = 0
        self._dead: list[SimHandle] = []
        self._codes: dict[str, int] = {}
        self._digest = 0
        self._stopping = False
        self._closed = False
        self._thread = threading.get_ident()

    def time(self) -> float:
        """Virtual seconds since the world began."""
        return self._now

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """Call it at its turn."""
        handle = SimHandle(callback, args, copy_context() if context is None else context)
        # As in _fire: this is asked once a step.
        self._seq = seq = self._seq + 1
        if not self._closed:
            ready, order = self._ready, self._order
            key = seq if order is None else order.key(callback, seq, self.steps, not ready)
            heappush(ready, (key, seq, handle))
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """As call_soon; SimulationEscape if another thread calls."""
        if threading.get_ident() != self._thread:
            self.refuse("call_soon_threadsafe from a thread", "a simulated world has one thread")
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call it after that many seconds."""
        own = copy_context() if context is None else context
        return self._set_timer(self._now + max(0.0, delay), callback, args, own)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """Call it at that time of this loop."""
        return self._set_timer(when, callback, args, copy_context() if context is None else context)

    def call_world(self, delay: float, callback: Callable[[*Ts], object], *args: *Ts) -> asyncio.TimerHandle:
        """As call_later, but as nobody's: it outlives the process that asked for it, as a packet on its way does."""
        return self._set_timer(self._now + max(0.0, delay), callback, args, Context())

    def _set_timer(
        self, when: float, callback: Callable[..., object], args: tuple[object, ...], context: Context
    ) -> asyncio.TimerHandle:
        handle = SimTimer(callback, args, context, when, self._timer_cancelled)
        self._seq = seq = self._seq + 1
        if not self._closed:
            heappush(self._timers, (when, seq, handle))
        return handle

    def _timer_cancelled(self) -> None:
        """One more since they were last swept. (Some were due before: then they are swept early.)"""
        self._cancelled_timers += 1
        timers = self._timers
        if self._cancelled_timers > CANCELLED_TIMERS_MAX and self._cancelled_timers * 2 > len(timers):
            timers[:] = [entry for entry in timers if not entry[2].is_cancelled]
            heapify(timers)
            self._cancelled_timers = 0

    @abstractmethod
    def stuck(self) -> None:
        """Nothing can ever happen again."""

    @property
    def schedule_digest(self) -> str:
        """16 hexadecimal digits that stand for every step so far: its order, its time and its name."""
        return f"{self._digest & _DIGEST_MASK:016x}"

    def _run(self) -> None:
        """The heart of it: pop, look whose it is, let time pass, run.

        Attributes are read once a step, and each step does only what every step needs: this is where a world spends
        its time. What is rare is a method of its own.
        """
        ready, timers, order, step_s = self._ready, self._timers, self._order, self._step_s
        get_process, codes = PROCESS, self._codes
        busy = 0
        while not self._stopping:
            now = self._now
            if timers and timers[0][0] <= now and self._fire(now):
                busy = 0
            if not ready:
                self._jump()
                busy = 0
                continue
            _, seq, handle = heappop(ready)
            if handle.is_cancelled:
                continue
            context = handle.context
            process = context.get(get_process)
            if process is not None and (not process.alive or process.paused_until > now):
                self._withhold(process, seq, handle)
                continue
            callback = handle.callback
            steps = self.steps
            if order is not None and order.change_at == steps and (key := order.demote(callback)) is not None:
                heappush(ready, (key, seq, handle))
                continue
            if steps >= self._steps_max:
                raise StepBudget(f"{steps} steps at {now:.3f} s, then {callback_name(callback)}", context.get(AGENT))
            self.steps = steps + 1
            busy += 1
            self._now = now + step_s if busy <= SPIN_STEPS else now + self._hurry(now, busy)
            owner = getattr(callback, "__self__", None)
            if type(owner) is SimTask:
                code = owner.code
            else:
                code = codes.get(getattr(callback, "__qualname__", "")) or self._code(callback)
            # hash() of numbers depends neither on the process nor on PYTHONHASHSEED.
            self._digest = hash((self._digest, seq, now, code))
            if self.recorded is not None:
                self.recorded.append((now, callback_name(callback)))
            try:
                context.run(callback, *handle.args)
            except FATAL:
                raise
            except BaseException as error:  # noqa: BLE001 - a callback's failure is its own, as in asyncio
                self.call_exception_handler({"message": f"{callback_name(callback)} failed", "exception": error})

    def _fire(self, now: float) -> bool:
        """Make ready whose time has come; whether there was any."""
        timers, ready, order = self._timers, self._ready, self._order
        fired = False
        while timers and timers[0][0] <= now:
            handle = heappop(timers)[2]
            if not handle.is_cancelled:
                self._seq = seq = self._seq + 1
                key = seq if order is None else order.key(handle.callback, seq, self.steps, not ready)
                heappush(ready, (key, seq, handle))
                fired = True
        return fired

    def _jump(self) -> None:
        """Nothing is ready: go on to the next timer of somebody alive."""
        timers = self._timers
        while timers:
            when, _, handle = timers[0]
            process = handle.context.get(PROCESS)
            if not handle.is_cancelled and (process is None or process.alive):
                self._now = max(self._now, when)
                return
            heappop(timers)
            if not handle.is_cancelled:
                self._dead.append(handle)
        self.stuck()

    def _withhold(self, process: Incarnation, seq: int, handle: SimHandle) -> None:
        """Its process is dead: keep it, as letting it go might run a `finally`. Or paused: run it when that is over."""
        if process.alive:
            heappush(self._timers, (process.paused_until, seq, handle))
        else:
            self._dead.append(handle)

    def _hurry(self, now: float, busy: int) -> float:
        """What a step costs while somebody spins: more and more, but never past the next timer.

        Only steps since the last timer count. A clock that hurried over honest work would be found by the shrinker,
        and every counterexample would then be about the simulator.
        """
        doublings = min((busy - SPIN_STEPS) // SPIN_DOUBLING_STEPS, 40)
        cost = min(self._step_s * (1 << doublings), max(self._step_s, SPIN_STEP_S_MAX))
        return min(cost, max(0.0, self._timers[0][0] - now)) if self._timers else cost

    def _code(self, callback: Callable[..., object]) -> int:
        name = callback_name(callback)
        code = self._codes.get(name)
        if code is None:
            code = self._codes[name] = crc32(name.encode())
        return code
