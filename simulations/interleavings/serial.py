"""What may come of a few use cases: whatever comes of them on the model, one work after the other, in any order.

Whoever looks for work may pass over what others have in hand. On the model this is a choice, too; `strict` outcomes are
those in which nobody did.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from pydantic_core import to_json

from ...domain.errors import ReattachError
from ...domain.identifiers import RunId, SessionId
from ...infrastructure.eventstore.writer import Result
from ..store.core import ALL, Row
from ..store.model import ModelCore
from ..store.transaction import ModelTransaction
from .cases import Case, Clock, Driven, Group, application
from .choices import Choices, every

T = TypeVar("T")

CASE: int = 100
"""The number of the first use case's source of ids."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What every author was told, and what is kept."""

    told: tuple[str, ...]
    kept: frozenset[bytes]

    @classmethod
    def of(cls, driven: Iterable[Driven], rows: Iterable[Row]) -> "Outcome":
        """Facts of different streams have no order: it is not known who commits first."""
        return cls(tuple(_told(one.outcome) for one in driven), frozenset(to_json(row) for row in rows))


def _told(result: Result | None) -> str:
    if result is None:
        return "nothing"
    error = result.error
    if isinstance(error, ReattachError):
        return f"{type(error).__name__} {to_json(error.fields, fallback=repr).decode()}"
    return to_json(result.value, fallback=repr).decode()


class _Passing(ModelTransaction):
    """A transaction whose looks for work pass over what is chosen."""

    choices: Choices

    def pending_runs(self, agents: Sequence[str], limit: int) -> Sequence[RunId]:
        return self._kept(super().pending_runs(agents, ALL), limit)

    def expired_leases(self, limit: int, before: datetime) -> Sequence[RunId]:
        return self._kept(super().expired_leases(ALL, before), limit)

    def expired_approvals(self, limit: int) -> Sequence[RunId]:
        return self._kept(super().expired_approvals(ALL), limit)

    def expired_handoffs(self, limit: int) -> Sequence[SessionId]:
        return self._kept(super().expired_handoffs(ALL), limit)

    def _kept(self, found: Sequence[T], limit: int) -> list[T]:
        return [one for one in found if not self.choices.choose(2, cost=1)][:limit]


class _PassingCore(ModelCore):
    def __init__(self, clock: Clock, choices: Choices) -> None:
        super().__init__(clock)
        self._choices = choices
        self.passing = False

    def _begun(self) -> ModelTransaction:
        if not self.passing:
            return super()._begun()
        transaction = _Passing(self._tables, self._clock.now())
        transaction.choices = self._choices
        return transaction


Prepare = Callable[[Clock, Callable[[Any], Any]], Sequence[Group]]
"""Brings a store into the state in which the race begins, through its `write`; who races then."""


def outcomes(prepare: Prepare) -> tuple[frozenset[Outcome], frozenset[Outcome]]:
    """All that may come of it, and of those the strict ones."""
    found = [(choices.spent, outcome) for choices, outcome in every(lambda choices: _played(prepare, choices))]
    return frozenset(outcome for _, outcome in found), frozenset(outcome for spent, outcome in found if not spent)


def _played(prepare: Prepare, choices: Choices) -> Outcome:
    clock = Clock()
    core = _PassingCore(clock, choices)
    groups = prepare(clock, core.write)
    core.passing = True
    driven = started([case for group in groups for case in group], clock)
    while left := [one for one in driven if one.work is not None]:
        one = left[choices.choose(len(left))]
        assert one.work is not None
        one.told(core.write([one.work]).results[0])
    return Outcome.of(driven, core.durable())


def started(cases: Sequence[Case], clock: Clock) -> list[Driven]:
    """All use cases of a race, before their first works."""
    return [Driven(case, application(clock, CASE + number)) for number, case in enumerate(cases)]
