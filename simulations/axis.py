"""The horizontal axis of a timeline: virtual time, compressed.

Every event gets room, however close it follows the one before, and time in which nothing happens takes little of it.
"""

from bisect import bisect_right
from collections.abc import Sequence
from math import log10
from typing import Final

from . import words
from .trace import Record

START: Final = 20.0
"""Where the first event may be, in units of the picture (pixels, unless zoomed)."""

REST: Final = 60.0
"""Room after the last event."""

STEP_S: Final = 50e-6
"""Seconds of virtual time that don't show as a distance yet."""

EVENT_WIDTH: Final = 9.0
"""Least distance of two events, in units of the picture."""

MINOR_WIDTH: Final = 4.0
"""The same, after an event that is not drawn large."""

DECADE_WIDTH: Final = 9.0
"""Distance for each power of ten in time."""

GAP_S: Final = 0.5
"""Seconds without an event from which on the picture says that time was left out."""

VIOLATION_WIDTH: Final = 26.0
"""Distance of the violation from the event that it was seen at."""


class Axis:
    """Each event's own place, and what lies between them. `gaps`: from, to, and the seconds left out there."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.places: list[float] = []
        self.gaps: list[tuple[float, float, float]] = []
        self._times: list[float] = []
        place, before = START, 0.0
        for n, record in enumerate(records):
            passed = max(0.0, record["t"] - before)
            least = MINOR_WIDTH if n and records[n - 1]["kind"] in words.MINOR else EVENT_WIDTH
            width = least + DECADE_WIDTH * log10(1 + passed / STEP_S) * (passed > 0)
            if record["kind"] == "violation":
                width += VIOLATION_WIDTH  # what broke the promise stays visible beside it
            if passed >= GAP_S:
                self.gaps.append((place, place + width, passed))
            place, before = place + width, record["t"]
            self.places.append(place)
            self._times.append(record["t"])
        self.end = place + REST

    def at(self, t: float) -> float:
        """The place of a time between events."""
        after = bisect_right(self._times, t)
        if after == 0 or after == len(self._times):
            return self.end if after else START
        t0, t1 = self._times[after - 1], self._times[after]
        share = (t - t0) / (t1 - t0) if t1 > t0 else 0.0
        return self.places[after - 1] + share * (self.places[after] - self.places[after - 1])
