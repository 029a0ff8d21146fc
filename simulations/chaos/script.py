"""The faults of a saved tape, for real processes: does reality behave as the world that was simulated?

The instant of a world can't be met in reality. So a tape's faults come with their distances, stretched to the leases of
real processes, to the same roles, and again and again, each round to others of the same role.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from ..case import Case
from ..job import load_world
from ..node import SETTINGS
from ..report import replayer
from .plan import Fault
from .processes import LEASE_S

STRETCH: Final = LEASE_S / SETTINGS.lease_s
"""Real seconds for one of a world."""

PAUSE_S: Final = LEASE_S * 1.5
"""Between two rounds: whoever was hit is up again, and has been replaced."""

AWAY_S: Final = 0.5
"""Seconds that a process is down which never comes back in the tape's world."""

_HOW: Final[Mapping[str, str]] = {"kill": "kill", "term": "drain"}
_OF_THE_STORE: Final = ("lost", "unknown", "unread")
"""What a world does to single works and reads is, to a real database, the end of its connections."""


def faults_of(case: Case) -> list[Fault]:
    """One round: what goes wrong in the tape's world, in the order of time."""
    report = replayer(load_world(), case.setting, seed=case.seed, tracing=True)(case.decisions)
    happened = report.trace.recording().records
    found = [fault for place, event in enumerate(happened) for fault in _translated(event, happened[place + 1 :])]
    return sorted(found, key=lambda fault: fault.at_s)


def rounds(faults: Sequence[Fault], seconds: float, possible: Sequence[str]) -> list[Fault]:
    """These faults, round after round, as long as that; without those that this database can't suffer."""
    can = [fault for fault in faults if fault.kind != "sever" or "sever" in possible]
    if not can:
        return []
    first, every_s = can[0].at_s, max(fault.at_s + fault.for_s for fault in can) - can[0].at_s + PAUSE_S
    times = max(1, int(seconds / every_s))
    return [
        Fault(fault.at_s - first + number * every_s, fault.kind, fault.nth + number, fault.for_s)
        for number in range(times)
        for fault in can
    ]


def _translated(event: Mapping[str, Any], later: Sequence[Mapping[str, Any]]) -> Iterator[Fault]:
    at_s, kind = event["t"] * STRETCH, event["kind"]
    name = f"{event.get('proc') or ''}".partition(".")[0]
    if kind == "down" and event["how"] in _HOW:
        back = next((other["t"] for other in later if other["kind"] == "up" and _is(other, name)), None)
        for_s = AWAY_S if back is None else (back - event["t"]) * STRETCH
        yield from _to_a_process(_HOW[event["how"]], name, at_s, for_s)
    elif kind == "pause":
        yield from _to_a_process("stop", name, at_s, event["s"] * STRETCH)
    elif kind == "cut" and event["b"] == "store":
        yield Fault(at_s, "sever", 0, 0.0)
    elif kind == "cut":
        yield Fault(at_s, "half-open", _number(event["b"]), event["s"] * STRETCH)
    elif kind == "reset":
        yield Fault(at_s, "reset", 0, 0.0)
    elif kind in _OF_THE_STORE:
        yield Fault(at_s, "sever", 0, 0.0)


def _to_a_process(what: str, name: str, at_s: float, for_s: float) -> Iterator[Fault]:
    """A world's node serves and works; in reality that is a server and a worker."""
    roles = ("worker",) if name.startswith("w") else ("server", "worker")
    for role in roles:
        yield Fault(at_s, f"{what}-{role}", _number(name), for_s)


def _is(event: Mapping[str, Any], name: str) -> bool:
    return f"{event.get('proc') or ''}".startswith(f"{name}.")


def _number(name: str) -> int:
    digits = name.lstrip("abcdefghijklmnopqrstuvwxyz")
    return int(digits) if digits.isdigit() else 0
