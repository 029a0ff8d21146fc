"""Who lives in a world: as many of each kind as its configuration says, each with a name of its own."""

from collections.abc import Coroutine, Iterator, Sequence
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

SESSIONS_S: Final = 40.0
"""Seconds the probe of sessions may take, whose steps have limits of their own."""


TRIAL_S: Final = 60.0
"""Seconds a trial may take, whose steps have limits of their own."""

TRIALS: Final = (
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    Fencing,
    Alone,
    Elsewhere,
)
"""Which of the trials is gone through; mostly none, for each takes as long as half a world."""


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
    world: Place, config: Config, board: Board, machines: Sequence[Machine]
) -> Iterator[tuple[Coroutine[Any, Any, None], float]]:
    """What is tried once all is well, one after the other, and how many seconds each may take."""
    yield Probe(world, "probe", lambda: sum(one.busy for one in machines)).live(), LONG_S + PROBE_S
    if config.owners:
        yield SessionProbe(world, board, "sessions").live(), SESSIONS_S
    trial = world.tape.pick("probe.trial", TRIALS)
    if trial is not None:
        yield trial(world, "trial", machines).live(), TRIAL_S
