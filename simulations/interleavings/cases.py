"""Use cases without a loop: each hands out its works one by one, and is told what became of them."""

from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

from ...domain.application import Application
from ...domain.errors import ReattachError
from ...domain.ports import Append, Store, Transaction
from ...domain.requests import Limits
from ...infrastructure.eventstore.writer import Result, Work, Written
from ..process import EPOCH, SimIds
from .agent import Echo

T = TypeVar("T")

Case = Callable[[Application], Coroutine[Any, Any, object]]
"""What one author wants."""

Group = Sequence[Case]
"""What several authors want of one process, at once: their works are written in groups."""

LIMITS = Limits()


@dataclass(slots=True)
class Clock:
    """Stands still until it is told."""

    instant: datetime = field(default=EPOCH)

    def now(self) -> datetime:
        """The instant."""
        return self.instant

    def monotonic(self) -> float:
        """In seconds."""
        return (self.instant - EPOCH).total_seconds()

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.instant += timedelta(seconds=seconds)


class _Asking:
    """In the place of a store: a work is handed to whoever drives the use case."""

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """What became of it."""
        return cast("T", await _Asked(work))

    async def append(self, append: Append) -> None:
        """What became of it."""
        await _Asked(append)


@dataclass(slots=True)
class _Asked:
    work: Work

    def __await__(self) -> Generator[Work, object, object]:
        return (yield self.work)


def application(clock: Clock, number: int) -> Application:
    """The use cases, to be driven; their ids are those of this source."""
    return Application(cast("Store", _Asking()), SimIds(clock, number), {"echo": Echo()}, LIMITS)


class Driven:
    """A use case under way: `work` is to be done next; once there is none, `outcome` says what its author is told."""

    def __init__(self, case: Case, use: Application) -> None:
        self._steps: Any = case(use)
        self.work: Work | None = None
        self.outcome: Result | None = None
        self._go(lambda: self._steps.send(None))

    def told(self, result: Result) -> None:
        """Go on with what became of the work."""
        if result.error is None:
            self._go(lambda: self._steps.send(result.value))
        else:
            self._go(lambda: self._steps.throw(result.error))

    def _go(self, step: Callable[[], Work]) -> None:
        try:
            self.work = step()
        except StopIteration as end:
            self.work, self.outcome = None, Result(end.value)
        except ReattachError as error:
            self.work, self.outcome = None, Result(error=error)


def drive(case: Case, use: Application, write: Callable[[Sequence[Work]], Written]) -> object:
    """Do all of a use case, alone. Raises what its author is told."""
    driven = Driven(case, use)
    while driven.work is not None:
        driven.told(write([driven.work]).results[0])
    assert driven.outcome is not None
    if driven.outcome.error is not None:
        raise driven.outcome.error
    return driven.outcome.value
