"""What a chaos is to be, and what came of it."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ..process import EPOCH
from ..violation import Violation
from .plan import Fault


class ChaosLoop(asyncio.SelectorEventLoop):
    """Its clock counts as a simulated world's does: seconds since 2026, by this machine's clock."""

    def __init__(self) -> None:
        super().__init__()
        self._offset = time.time() - EPOCH.timestamp() - time.monotonic()

    def time(self) -> float:
        """Seconds since the worlds began; it never goes back."""
        return time.monotonic() + self._offset


@dataclass(frozen=True, slots=True)
class Options:
    """What a chaos is to be."""

    seconds: float
    servers: int
    workers: int
    readers: int
    kills: int
    seed: int
    folder: Path
    hosts: int = 0
    """Network namespaces to spread the processes over; 0: this machine alone."""
    planted: str | None = None
    """A bug that all processes have: is it found?"""
    script: tuple[Fault, ...] = ()
    """The faults, where they are not made from the seed."""


@dataclass
class Outcome:
    """What came of it, so far and in the end."""

    violation: Violation | None = None
    trouble: str | None = None
    elapsed_s: float = 0.0
    kills: int = 0
    faults: Counter[str] = field(default_factory=Counter[str])
    stories: int = 0
    runs: int = 0
    streams: int = 0
    frames: int = 0
    resumes: int = 0
    takeovers: int = 0
    decisions: int = 0
    marks: Counter[str] = field(default_factory=Counter[str])
    phase: str = "starting"
