"""The plan of a chaos: which fault comes when, from one seed. What the processes make of it is theirs."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .processes import LEASE_S

SERVER_KILLS_P: Final = 0.4
"""Part of the kills that hit servers; the others hit workers."""

OTHERS_PER_MINUTE: Final = 24
"""Faults besides kills."""

DOWN_S: Final = (0.0, 0.0, 0.3, 1.0, LEASE_S * 1.5)
"""How long a killed process stays down."""

STOPPED_S: Final = (0.4, LEASE_S * 1.5, LEASE_S * 2.5)
"""How long a stopped process stays so: mostly beyond its lease."""

WEATHER_S: Final = (0.5, 2.0, 5.0)
"""How long a link is bad."""

KINDS: Final = {
    "stop-server": 2,
    "stop-worker": 7,
    "drain-server": 2,
    "drain-worker": 2,
    "cut": 2,
    "reset": 3,
    "half-open": 2,
    "slow": 2,
    "late": 2,
    "refuse": 1,
    "sever": 3,
    "restart": 1,
    "cut-host": 4,
}
"""Faults besides kills, and how frequent they are among each other."""

SOMETIMES: Final = ("sever", "restart", "cut-host")
"""Those that the database must be able to suffer, or hosts."""

CUT_OFF_S: Final = (LEASE_S * 1.5, LEASE_S * 3)
"""How long a host is cut off: beyond its workers' leases."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One: when, what, to the how-manieth (counted round), for how long."""

    at_s: float
    kind: str
    nth: int
    for_s: float


def plan(seed: int, seconds: float, kills: int, possible: Sequence[str]) -> list[Fault]:
    """All faults in the order of time. The same seed and numbers give the same plan.

    `possible` are those that only some databases or hosts can suffer.
    """
    rng = random.Random(seed)
    kinds = [kind for kind in KINDS if kind not in SOMETIMES or kind in possible]
    every_s = seconds / max(1, kills)
    faults = [_kill(rng, (n + rng.random()) * every_s) for n in range(kills)]
    for _ in range(round(seconds / 60 * OTHERS_PER_MINUTE)):
        (kind,) = rng.choices(kinds, [KINDS[kind] for kind in kinds])
        lasts = STOPPED_S if kind.startswith("stop") else CUT_OFF_S if kind == "cut-host" else WEATHER_S
        faults.append(Fault(rng.uniform(0, seconds), kind, rng.randrange(1000), rng.choice(lasts)))
    return sorted(faults, key=lambda fault: fault.at_s)


def _kill(rng: random.Random, at_s: float) -> Fault:
    kind = "kill-server" if rng.random() < SERVER_KILLS_P else "kill-worker"
    return Fault(at_s, kind, rng.randrange(1000), rng.choice(DOWN_S))
