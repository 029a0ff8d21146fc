"""In which order the ready callbacks run: FIFO, bounded displacement, or PCT.

The ready queue is a heap; an order gives each callback its key when it becomes ready, lower runs first. FIFO is the
key `seq`, which needs no order object.
"""

from collections.abc import Callable
from typing import Any, Final, Literal, Protocol, TypeAlias

from .tape import Tape
from .tasks import SimTask

Strategy: TypeAlias = Literal["fifo", "random", "pct"]

DISPLACEMENTS: Final = 16
"""Steps of displacement; each lets another `DISPLACEMENT` callbacks pass."""

DISPLACEMENT: Final = 4
"""Callbacks that may overtake, a step. The bound is what keeps the order fair: at most 60 overtake anybody."""

PCT_DEPTH: Final = 3
"""PCT's d: bugs that need d ordering constraints are found with probability of at least 1 / (n k^(d-1))."""

PCT_HORIZON: Final = 4_000
"""PCT's k, in steps: where its priority change points may lie."""

PCT_PRIORITIES: Final = 1_000
"""Priorities to draw from."""

PCT_FAIR_AFTER: Final = 8_000
"""Steps after which PCT gives way to bounded displacement: strict priorities starve whoever waits for a busy loop."""

CALLBACKS_SITE: Final = "sched:callbacks"
"""The stream of callbacks that are no task's step."""

# Keys of PCT, by rank: drawn priorities, tasks demoted at change points, spinning callbacks, the fair tail.
_DEMOTED: Final = 2_000.0
_SPINNING: Final = 100_000.0
_FAIR: Final = 1_000_000.0

SPINS: Final = frozenset({"_deliver_cancellation"})
"""Callbacks that arm themselves again until somebody else moves (anyio's CancelScope): to PCT they are a yield."""


class Order(Protocol):
    """Gives keys to callbacks. `change_at` is the step at which `demote` is to be asked; -1 for never."""

    change_at: int

    def key(self, callback: Callable[..., object], seq: int, steps: int, alone: bool) -> float:
        """The callback's key. `alone`: nothing else is ready, so that there is nothing to decide."""
        ...

    def demote(self, callback: Callable[..., object]) -> float | None:
        """A change point is reached: the new key of the callback that was to run, or None to let it run."""
        ...


def order_of(strategy: Strategy, tape: Tape, density: float) -> Order | None:
    """The strategy's order; None is FIFO."""
    match strategy:
        case "fifo":
            return None
        case "random":
            return BoundedDisplacement(tape, density)
        case "pct":
            return Pct(tape, density)


class BoundedDisplacement:
    """Random, but fair: a callback is overtaken by a bounded number of later ones, and with all zeros it is FIFO.

    A task has a stream of its own, so that a shrinker can calm one task without stirring up the others.
    """

    __slots__ = ("_density", "_tape", "change_at")

    def __init__(self, tape: Tape, density: float) -> None:
        self._tape = tape
        self._density = density
        self.change_at = -1

    def key(self, callback: Callable[..., object], seq: int, steps: int, alone: bool) -> float:
        """Its place in the queue, moved back by what the tape says."""
        if alone:
            return seq
        owner = getattr(callback, "__self__", None)
        site = owner.site if type(owner) is SimTask else CALLBACKS_SITE
        return seq + DISPLACEMENT * self._tape.sparse(site, DISPLACEMENTS, self._density)

    def demote(self, callback: Callable[..., object]) -> float | None:
        """Has no change points."""
        return None


class Pct:
    """Probabilistic concurrency testing (Burckhardt, Kothari, Musuvathi and Nagarakatte, ASPLOS 2010).

    Each task runs at a random priority, strictly; at d-1 random steps whoever runs drops below all others. The paper's
    programs end, ours may wait in a loop for somebody of lower priority: so there is a fair tail (as in Coyote), and
    callbacks that spin rank lowest, or anyio would starve the very task it cancels.
    """

    __slots__ = ("_changes", "_demoted", "_fair", "_priorities", "_tape", "change_at")

    def __init__(self, tape: Tape, density: float) -> None:
        self._tape = tape
        self._fair = BoundedDisplacement(tape, density)
        self._priorities: dict[int, float] = {}
        self._demoted = _DEMOTED
        drawn = [tape.draw("pct.change", PCT_HORIZON) for _ in range(PCT_DEPTH - 1)]
        # 0 is the benign answer: no change point.
        self._changes = sorted(step for step in drawn if step)
        self.change_at = -1
        self._next_change()

    def key(self, callback: Callable[..., object], seq: int, steps: int, alone: bool) -> float:
        """Its task's priority. Equal priorities keep the order of arrival."""
        if steps > PCT_FAIR_AFTER:
            return _FAIR + self._fair.key(callback, seq, steps, alone)
        owner = task_of(callback)
        if owner is not None:
            priority = self._priorities.get(owner.number)
            if priority is None:
                priority = float(self._tape.draw(f"pct:{owner.site.removeprefix('sched:')}", PCT_PRIORITIES))
                self._priorities[owner.number] = priority
            return priority
        if getattr(callback, "__name__", "") in SPINS:
            return _SPINNING
        return 0.0 if alone else float(self._tape.draw("pct:callbacks", PCT_PRIORITIES))

    def demote(self, callback: Callable[..., object]) -> float | None:
        """The task that was to run drops below all others."""
        self._next_change()
        owner = task_of(callback)
        if owner is None:
            return None
        self._demoted += 1
        self._priorities[owner.number] = self._demoted
        return self._demoted

    def _next_change(self) -> None:
        self.change_at = self._changes.pop(0) if self._changes else -1


def task_of(callback: Callable[..., object]) -> SimTask[Any] | None:
    """The task whose step this is: asyncio hands out bound methods of the task."""
    owner: SimTask[Any] | None = getattr(callback, "__self__", None)
    return owner if isinstance(owner, SimTask) else None
