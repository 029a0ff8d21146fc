"""Linearizability of what clients saw: a small checker after Wing & Gong (1993), with Lowe's memory of dead ends.

A history is linearizable if its operations can be put in an order that respects time (what had returned before
another was called comes first) and in which each answer is right by the model. An operation whose outcome nobody
knows may have happened at any time after its call, or never. Histories are checked per key (P-compositionality).
"""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final, Generic, Protocol, TypeVar

from ..violation import Violation

S = TypeVar("S", bound=Hashable)


class Unknown(Enum):
    """The answer of an operation that was never answered: it may have happened, or may yet, or never."""

    UNKNOWN = "unknown"


UNKNOWN: Final = Unknown.UNKNOWN


@dataclass(frozen=True, slots=True)
class Operation:
    """One call and its answer, as `who` saw it. Times in seconds; `returned` is infinite if no answer came.

    Two operations that touch at one instant count as concurrent.
    """

    who: str
    asked: Any
    answer: Any
    called: float
    returned: float = math.inf

    def __str__(self) -> str:
        end = "never" if self.returned == math.inf else f"{self.returned:.3f}"
        return f"{self.who} [{self.called:.3f}, {end}] {self.asked} -> {self.answer}"


class Model(Protocol[S]):
    """The sequential specification. States are hashable values."""

    @property
    def initial(self) -> S:
        """Before the first operation."""
        ...

    def step(self, state: S, op: Operation) -> S | None:
        """The state after `op`, or None if its answer is wrong here. UNKNOWN is never wrong."""
        ...


@dataclass(frozen=True, slots=True)
class Anomaly:
    """Why there is no order: `last` is the first answer that no order explains.

    `needed` are the earlier operations that contradict it, by themselves, whatever became of the others; `order` is
    the longest order found, after which nothing fits any more.
    """

    last: Operation
    needed: tuple[Operation, ...]
    order: tuple[Operation, ...]

    def __str__(self) -> str:
        lines = [f"no order explains: {self.last}"]
        lines += [f"  beside: {op}" for op in self.needed]
        return "\n".join([*lines, f"  the longest order: {' < '.join(f'{op.who} {op.asked}' for op in self.order)}"])


def linearize(model: Model[S], history: Iterable[Operation]) -> Sequence[Operation] | Anomaly:
    """An order that explains the history (operations of unknown outcome only where they happened), or why none does."""
    operations = sorted(history, key=lambda op: (op.called, op.returned))
    order = _Search(model, operations).order()
    return _explained(model, operations) if order is None else order


def require_linearizable(name: str, model: Model[S], histories: Mapping[str, Iterable[Operation]]) -> None:
    """Each key's history on its own. Raises the Violation `name` with the shortest explanation found."""
    for key, history in histories.items():
        found = linearize(model, history)
        if isinstance(found, Anomaly):
            raise Violation(name, f"{key}: {found}", key=key, last=str(found.last))


class _Search(Generic[S]):
    """Depth first over which operation comes next; a set of operations done and a state are entered once."""

    def __init__(self, model: Model[S], operations: Sequence[Operation]) -> None:
        self._model = model
        self._operations = operations
        self._wanted = sum(1 << n for n, op in enumerate(operations) if op.answer is not UNKNOWN)
        self._seen: set[tuple[int, S]] = set()
        self.longest: tuple[Operation, ...] = ()

    def order(self) -> Sequence[Operation] | None:
        stack: list[tuple[int, S, tuple[Operation, ...]]] = [(0, self._model.initial, ())]
        while stack:
            done, state, order = stack.pop()
            if done & self._wanted == self._wanted:
                return order
            if len(order) > len(self.longest):
                self.longest = order
            for n in reversed(self._candidates(done)):
                after = self._model.step(state, self._operations[n])
                if after is not None and (done | 1 << n, after) not in self._seen:
                    self._seen.add((done | 1 << n, after))
                    stack.append((done | 1 << n, after, (*order, self._operations[n])))
        return None

    def _candidates(self, done: int) -> list[int]:
        """Who may come next: nobody else that is still to come had returned before it was called."""
        left = [n for n in range(len(self._operations)) if not done >> n & 1]
        bound = min((self._operations[n].returned for n in left), default=math.inf)
        return [n for n in left if self._operations[n].called <= bound]


def _explained(model: Model[S], operations: Sequence[Operation]) -> Anomaly:
    """The first answer that spoils it, then every operation that it takes to spoil it.

    Prefixes of a linearizable history are linearizable, so there is a first one. An operation whose answer is
    forgotten (it becomes UNKNOWN) only makes more orders possible: what still fails without it does not need it.
    """
    answered = sorted((op for op in operations if op.answer is not UNKNOWN), key=lambda op: op.returned)
    prefix, last = list(operations), answered[-1]
    for last in answered:
        prefix = [_forgotten(op) if op.returned > last.returned else op for op in operations]
        prefix = [op for op in prefix if op.called <= last.returned]
        if _Search(model, prefix).order() is None:
            break
    search = _Search(model, prefix)
    search.order()
    for op in [op for op in prefix if op is not last and op.answer is not UNKNOWN]:
        weaker = [_forgotten(other) if other is op else other for other in prefix]
        if _Search(model, weaker).order() is None:
            prefix = weaker
    needed = tuple(op for op in prefix if op is not last and op.answer is not UNKNOWN)
    return Anomaly(last, needed, search.longest)


def _forgotten(op: Operation) -> Operation:
    return replace(op, answer=UNKNOWN, returned=math.inf)


# The two registers of a run that people race for.


@dataclass(frozen=True, slots=True)
class Said:
    """A decision: `arguments` is the digest or JSON text of an edit; None for those that were asked for.

    `reason` is what was said with it: of two that agree, one stands.
    """

    outcome: str
    arguments: str | None = None
    by: str = ""
    reason: str | None = field(default=None, compare=False)

    def agrees(self, other: "Said") -> bool:
        """Whether both say the same: whoever denies, and whoever approves the same arguments."""
        return self.outcome == other.outcome and (self.outcome == "deny" or self.arguments == other.arguments)


@dataclass(frozen=True, slots=True)
class Conflict:
    """The answer to a decision that came too late: what stands."""

    winner: Said


SUCCESS: Final = "success"
REFUSED: Final = "refused"


class FirstDecisionWins:
    """One approval. Asked: Said. Answers: SUCCESS, Conflict (naming the winner), REFUSED (it changed nothing).

    What the system decides (expiry, cancel, failure) is an operation that succeeds at the instant of its commit.
    """

    initial: Said | str = "undecided"

    def step(self, state: Said | str, op: Operation) -> Said | str | None:
        """The first decision stands; the same again is a success, another is told who won."""
        asked: Said = op.asked
        if op.answer == REFUSED:
            return state
        if not isinstance(state, Said):
            return asked if op.answer in (SUCCESS, UNKNOWN) else None
        if op.answer is UNKNOWN:
            return state
        right = SUCCESS if asked.agrees(state) else Conflict(state)
        return state if op.answer == right else None


class FirstEndWins:
    """One run. Asked: the end that is wanted (`cancelled`, `completed`, `failed`, or `status` to look).

    Answers: the status that was answered; REFUSED where the command was refused. A cancel is never refused: it is
    answered with how the run ended. A look is answered with the end, or with `active`.
    """

    initial: str = "active"

    def step(self, state: str, op: Operation) -> str | None:
        """The first end stands."""
        ended = state != "active"
        if op.asked == "status":
            return state if op.answer in (state, UNKNOWN, REFUSED) else None
        if op.answer is UNKNOWN:
            return state if ended else op.asked
        if op.answer == REFUSED:
            return state if op.asked != "cancelled" else None
        if op.asked == "cancelled":
            after = state if ended else "cancelled"
            return after if op.answer == after else None
        return op.asked if not ended and op.answer == op.asked else None
