"""The swarm configuration: what a seed's world is made of and what may go wrong in it, drawn from the tape.

Every fault class is on or off for a whole seed (swarm testing: Groce et al., ISSTA 2012), a quarter of the seeds have
all of them, and 0 is always the smallest and kindest world, so that a shrunk tape describes a small one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from .network import WINDOW_BYTES, Conditions
from .scheduling import Strategy
from .store.trouble import Trouble
from .tape import Tape

FAULTS: Final = (
    "kill",
    "pause",
    "drain",
    "skew",
    "partition",
    "late",
    "reset",
    "lost-answer",
    "backpressure",
    "store-lost",
    "store-unknown",
    "store-slow",
    "wake-up",
    "stall",
    "late-read",
    "crash",
    "punctual",
)
"""The classes of faults."""

ALL_ON_P: Final = 0.25
"""Part of the seeds that have every fault class."""

CLASS_P: Final = 0.5
"""Probability of each class in the others."""

SMALL_P: Final = 0.6
"""Part of the seeds whose worlds are small and short: at most two servers and one of everybody else."""

OWNERS: Final = (0, 2, 0, 3, 2, 0, 0, 0, 0, 0)
"""How many clients own sessions: none in seven worlds of ten, for a world of owners takes twice as long as others."""

STRATEGIES: Final[tuple[Strategy, ...]] = ("fifo", "random", "pct")
STORES: Final = ("model", "model", "model", "model", "model", "model", "dual", "dual")
"""Which core a seed runs on: mostly the model, which is fastest; a quarter in lock-step with SQLite."""


@dataclass(frozen=True, slots=True)
class Config:
    """One seed's world. Times in seconds."""

    nodes: int
    workers: int
    remote_workers: int
    authors: int
    watchers: int
    rivals: int
    """Clients that decide and cancel besides the author."""
    owners: int
    """Clients that own sessions, and fight for them."""
    tailers: int
    """Clients that come in the middle of things."""
    summarizers: int
    faults: tuple[str, ...]
    strategy: Strategy
    density: float
    intensity: int
    """1 to 3: how much of each fault."""
    faulty_s: float
    """How long the first phase may last."""
    watchdog: bool
    """Whether silent streams are given up by clients: it hides lost wake-ups."""
    store: str

    def has(self, fault: str) -> bool:
        """Whether this class is on."""
        return fault in self.faults

    def rate(self, fault: str, p: float) -> float:
        """A probability for this class at this intensity; 0 if it is off."""
        return p * self.intensity if self.has(fault) else 0.0


def draw_config(tape: Tape, store: str | None = None) -> Config:
    """Draw a world."""
    every = tape.chance("config.everything", ALL_ON_P)
    faults = tuple(name for name in FAULTS if every or tape.chance(f"config.fault.{name}", CLASS_P))
    chosen = tape.pick("config.store", STORES)
    small = tape.chance("config.small", SMALL_P)
    most = 2 if small else 3
    return Config(
        nodes=min(most, 1 + tape.draw("config.nodes", 3)),
        workers=min(most - 1, tape.draw("config.workers", 3)),
        remote_workers=min(most - 1, tape.draw("config.remote-workers", 3)),
        authors=min(most - 1, 1 + tape.draw("config.authors", 3)),
        watchers=min(most - 1, tape.draw("config.watchers", 3)),
        rivals=min(most - 1, tape.draw("config.rivals", 3)),
        owners=tape.pick("config.owners", OWNERS),
        tailers=min(most - 1, tape.draw("config.tailers", 3)),
        summarizers=min(most - 1, tape.draw("config.summarizers", 3)),
        faults=faults,
        strategy=tape.pick("config.strategy", STRATEGIES),
        density=tape.pick("config.density", (0.1, 0.3, 1.0)),
        intensity=1 + tape.draw("config.intensity", 3),
        faulty_s=(2.0 if small else 4.0) * (2 + tape.draw("config.faulty-s", 4)),
        watchdog=not tape.chance("config.no-watchdog", 0.5),
        store=store or chosen,
    )


def conditions(config: Config, tape: Tape) -> Conditions:
    """The network of this world."""
    late_s = tape.pick("config.late-s", (0.001, 0.01, 0.1)) if config.has("late") else 0.0
    return Conditions(
        late_s=late_s,
        late_density=config.density,
        reset_p=config.rate("reset", 0.01),
        request_lost_p=config.rate("reset", 0.01),
        answer_lost_p=config.rate("lost-answer", 0.03),
        silent_p=config.rate("reset", 0.1) if config.watchdog else 0.0,  # nobody would ever miss it
        window_bytes=512 if config.has("backpressure") else WINDOW_BYTES,
        send_raises=tape.chance("config.send-raises", 0.5),
    )


def trouble(config: Config, tape: Tape) -> Trouble:
    """What goes wrong between this world's processes and their store."""
    return Trouble(
        late_s=tape.pick("config.store-late-s", (0.002, 0.02, 0.2)) if config.has("store-slow") else 0.0,
        density=config.density,
        late_reads=config.has("late-read"),
        lost_p=config.rate("store-lost", 0.01),
        unknown_p=config.rate("store-unknown", 0.015),
        unread_p=config.rate("store-lost", 0.01),
        stall_p=config.rate("stall", 0.01),
        crash_p=config.rate("crash", 0.01),
        punctual_p=config.rate("punctual", 0.3) if config.owners else 0.0,
        wake_lost_p=config.rate("wake-up", 0.2),
        wake_twice_p=config.rate("wake-up", 0.1),
        wake_late_s=0.05 if config.has("wake-up") else 0.0,
    )


def machines(config: Config) -> Iterator[tuple[str, bool]]:
    """The processes of the service, and whether each takes requests."""
    for n in range(config.nodes):
        yield f"n{n}", True
    for n in range(config.workers):
        yield f"w{n}", False
