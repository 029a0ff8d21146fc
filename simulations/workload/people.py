"""Who lives in a world: as many of each kind as its configuration says, each with a name of its own."""

from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Final

from ..config import Config
from ..faults import Machine
from .alone import Alone
from .author import Author
from .board import Board
from .client import Place
from .elsewhere import Elsewhere
from .fencing import Fencing
from .onlookers import Rival, Watcher
from .owner import Owner
from .probe import LONG_S, Probe
from .scripts import draw_input
from .sessionprobe import SessionProbe
from .summarizer import Summarizer
from .tailing import Tailer
from .users import Users

PROBE_S: Final = 5.0
"""Seconds within which a new run must be served from its first to its last frame, once all is well."""

TRIAL_S: Final = 60.0
"""Seconds a trial may take, whose steps have limits of their own."""

Trying = Callable[[Place, Board, Sequence[Machine]], Coroutine[Any, Any, None]]


def _sessions(world: Place, board: Board, _: Sequence[Machine]) -> Coroutine[Any, Any, None]:
    return SessionProbe(world, board, "sessions").live()


def _trial(kind: type[Fencing | Alone | Elsewhere]) -> Trying:
    return lambda world, _, machines: kind(world, "trial", machines).live()


TRIALS: Final[Sequence[Trying | None]] = (
    *(None,) * 13,
    _trial(Fencing),
    _trial(Alone),
    _trial(Elsewhere),
    *(_sessions,) * 2,
)
"""What is gone through step by step; mostly nothing, for each takes as long as half a world, or as a whole one."""


def lives(world: Place, config: Config, board: Board, users: Users) -> dict[str, Coroutine[Any, Any, None]]:
    """Everybody's life, by name. They go on when the faults are over, until they have been served."""

    def inputs(name: str) -> tuple[str, Any]:
        return draw_input(world.tape, name, users)

    board.authors_left, board.owners_left = config.authors, config.owners
    return {
        **{f"a{n}": Author(world, board, f"a{n}", inputs).live() for n in range(config.authors)},
        **{f"r{n}": Rival(world, board, f"r{n}").live() for n in range(config.rivals)},
        **{f"v{n}": Watcher(world, board, f"v{n}").live() for n in range(config.watchers)},
        **{f"o{n}": Owner(world, board, f"o{n}").live() for n in range(config.owners)},
        **{f"t{n}": Tailer(world, board, f"t{n}").live() for n in range(config.tailers)},
        **{f"s{n}": Summarizer(world, board, f"s{n}").live() for n in range(config.summarizers)},
    }


def probes(
    world: Place, board: Board, machines: Sequence[Machine]
) -> Iterator[tuple[Coroutine[Any, Any, None], float]]:
    """What is tried once all is well, one after the other, and how many seconds each may take."""
    yield Probe(world, "probe", lambda: sum(one.busy for one in machines)).live(), LONG_S + PROBE_S
    trying = world.tape.pick("probe.trial", TRIALS)
    if trying is not None:
        yield trying(world, board, machines), TRIAL_S
