"""Whoever waits at the terminal is heard also while an agent keeps the loop: Ctrl-C, and agents that never wait.

A world is one thread, so both come as signals, between two instructions of whatever runs. Where there are no signals,
or in another thread, nothing is watched; a campaign then kills a job that does not answer.
"""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from .loop import SimLoop
from .violation import Violation

TICK_S: Final = 1.0
"""Seconds between two looks at whether an agent has come back."""

TICKS_MAX: Final = 5
"""Looks in a row at the same step before an agent counts as hanging."""

Judge = Callable[[FrameType | None, float], Violation | None]
"""Given what runs and since how many seconds: whose fault it is, if it is an agent's."""


class _Hangs(BaseException):
    """Raised where it hangs; no agent's `except Exception` hides it. What ends the world is the violation."""


@contextmanager
def watched(loop: SimLoop, judge: Judge | None) -> Generator[None]:
    """Inside, Ctrl-C ends the world whoever catches it, and `judge` (if there is one) is asked of steps without end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    interrupted = signal.getsignal(signal.SIGINT)
    if interrupted is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda _number, _frame: _interrupt(loop))
    try:
        if judge is None or not hasattr(signal, "setitimer"):
            yield
        else:
            with _ticking(loop, judge):
                yield
    finally:
        signal.signal(signal.SIGINT, interrupted)


def _interrupt(loop: SimLoop) -> None:
    """A worker takes whatever its agent raises for the agent's failure; so the loop has to know as well."""
    error = KeyboardInterrupt()
    loop.abort(error)
    raise error


@contextmanager
def _ticking(loop: SimLoop, judge: Judge) -> Generator[None]:
    seen, same = -1, 0

    def tick(_number: int, frame: FrameType | None) -> None:
        nonlocal seen, same
        seen, same = loop.steps, same + 1 if loop.steps == seen else 0
        found = judge(frame, same * TICK_S) if same >= TICKS_MAX else None
        if found is not None:
            loop.abort(found)
            raise _Hangs

    before = signal.signal(signal.SIGALRM, tick)
    signal.setitimer(signal.ITIMER_REAL, TICK_S, TICK_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
