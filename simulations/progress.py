"""Progress on a terminal: one line that changes in place; elsewhere a line now and then."""

from collections.abc import Mapping
from time import monotonic
from typing import Final, TextIO

from .campaign import Tally

REDRAWN_S: Final = 0.2
"""Seconds between changes of the line on a terminal."""

REPEATED_S: Final = 30.0
"""Seconds between lines where the output is no terminal."""

_CLEAR: Final = "\r\x1b[K"


class StatusLine:
    """A line about what goes on, as a context: leaving it removes the line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._in_place = stream.isatty()
        self._next = monotonic() + (0 if self._in_place else REPEATED_S)

    def __enter__(self) -> "StatusLine":
        return self

    def __exit__(self, *_: object) -> None:
        if self._in_place:
            self._write(_CLEAR)

    def show(self, text: str) -> None:
        """Say this, unless something was said a moment ago."""
        now = monotonic()
        if now < self._next:
            return
        self._next = now + (REDRAWN_S if self._in_place else REPEATED_S)
        self._write(f"{_CLEAR}{text}" if self._in_place else f"{text}\n")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def progress_line(tally: Tally, marks: Mapping[str, str]) -> str:
    """A campaign in one line."""
    reached = sum(1 for name in marks if tally.marks[name])
    found = ", ".join(f"{name} {times}" for name, times in tally.violations.most_common()) or "none broken"
    troubles = f" · {len(tally.troubles)} in trouble" if tally.troubles else ""
    return (
        f"{tally.worlds:,} seeds · {tally.worlds_per_s:.1f}/s · {tally.hours_per_cpu_minute:.1f} simulated h/CPU-min"
        f" · marks {reached}/{len(marks)} · {found}{troubles}"
    )


def summary(tally: Tally, marks: Mapping[str, str]) -> list[str]:
    """What was run, what was found, and what was never reached: lines for people."""
    never = [name for name in marks if not tally.marks[name]]
    lines = [
        f"{tally.worlds:,} seeds in {tally.seconds:.1f} s ({tally.worlds_per_s:.1f}/s), {tally.simulated_s / 3600:.1f} "
        f"simulated hours ({tally.hours_per_cpu_minute:.1f} a CPU-minute), {tally.steps:,} steps, "
        f"{tally.exchanges:,} exchanges, {tally.commits:,} commits",
        f"marks reached: {len(marks) - len(never)} of {len(marks)}",
    ]
    if never:
        lines.append(f"never reached, so nothing is known about: {', '.join(never)}")
    if tally.troubles:
        lines.append(f"the simulator itself failed in {len(tally.troubles)} worlds: these prove nothing")
    if not tally.worlds:
        lines.append("nothing was judged: no world had ended")
    elif not tally.failures:
        lines.append("no promise was broken in the others" if tally.troubles else "no promise was broken")
    for name, times in tally.violations.most_common():
        lines.append(f"broken: {name} in {times} of {tally.worlds:,} worlds")
    return lines
