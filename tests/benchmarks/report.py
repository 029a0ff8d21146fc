"""The table: what was measured beside its baseline, and the ratio beside its target."""

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from .load import Reading


@dataclass(frozen=True)
class Target:
    """A bound on the ratio of figure and baseline."""

    bound: Literal["<=", ">="]
    value: float

    def met(self, figure: float) -> bool:
        """Whether the figure keeps the bound."""
        return figure <= self.value if self.bound == "<=" else figure >= self.value


@dataclass(frozen=True)
class Row:
    """One line: medians of both sides, and the median (lowest, highest) of the ratios of pairs taken together."""

    benchmark: str
    what: str
    figure: float
    unit: str
    against: str = ""
    baseline: float | None = None
    ratios: tuple[float, float, float] | None = None
    target: Target | None = None

    @property
    def verdict(self) -> str:
        """met, MISSED, or nothing where there is no target."""
        if self.target is None:
            return ""
        judged = self.ratios[0] if self.ratios else self.figure
        return "met" if self.target.met(judged) else "MISSED"


def at_most(value: float) -> Target:
    """The figure may be this many times its baseline."""
    return Target("<=", value)


def at_least(value: float) -> Target:
    """The figure should be this many times its baseline."""
    return Target(">=", value)


@dataclass
class Report:
    """Collects rows, and every delivery that was not perfect."""

    rows: list[Row] = field(default_factory=list[Row])
    faults: list[str] = field(default_factory=list[str])
    notes: list[str] = field(default_factory=list[str])
    deliveries: int = 0

    def delivered(self, what: str, reading: Reading) -> Reading:
        """Count a measurement's frames, and keep what was wrong with them."""
        self.deliveries += reading.frames
        if reading.faults:
            self.faults.append(f"{what}: {reading.faults}")
        if reading.reconnects:
            self.notes.append(f"{what}: {reading.reconnects} readers were asked to reconnect, and did")
        if reading.busy > 0.9:
            self.notes.append(f"{what}: the client was busy for {reading.busy:.0%} of the time and may be the limit")
        return reading

    def ratio(
        self,
        benchmark: str,
        what: str,
        pairs: Sequence[tuple[float, float]],
        unit: str,
        *,
        against: str,
        target: Target | None = None,
    ) -> None:
        """A row of pairs, figure and baseline, the two measured one after the other."""
        ratios = sorted(figure / baseline for figure, baseline in pairs)
        spread = (statistics.median(ratios), ratios[0], ratios[-1])
        figure, baseline = (statistics.median(column) for column in zip(*pairs, strict=True))
        self._add(Row(benchmark, what, figure, unit, against, baseline, spread, target))

    def figure(
        self, benchmark: str, what: str, figures: Sequence[float], unit: str, target: Target | None = None
    ) -> None:
        """A row that stands for itself."""
        self._add(Row(benchmark, what, statistics.median(figures), unit, target=target))

    def _add(self, row: Row) -> None:
        self.rows.append(row)
        print("  ".join(cell for cell in cells(row) if cell), flush=True)

    def table(self) -> str:
        """All rows as Markdown."""
        header = ("benchmark", "measured", "Reattach", "baseline", "ratio (range)", "target", "")
        lines = [header, *(cells(row) for row in self.rows)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
        rule = tuple("-" * max(width, 1) for width in widths)
        padded = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in (header, rule)]
        padded += [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in lines[1:]]
        return "\n".join(f"| {' | '.join(line)} |" for line in padded)

    def write(self, path: Path) -> None:
        """The same for programs."""
        rows = [{**asdict(row), "verdict": row.verdict} for row in self.rows]
        path.write_text(json.dumps({"rows": rows, "faults": self.faults, "notes": self.notes}, indent=1))


def cells(row: Row) -> tuple[str, ...]:
    """A row's texts."""
    baseline = "" if row.baseline is None else f"{number(row.baseline)} {row.unit}, {row.against}"
    ratio = "" if row.ratios is None else f"{row.ratios[0]:.2f} ({row.ratios[1]:.2f}-{row.ratios[2]:.2f})"
    target = ""
    if row.target is not None:
        unit = "x" if row.ratios else f" {row.unit}"
        target = f"{row.target.bound} {number(row.target.value)}{unit}"
    return row.benchmark, row.what, f"{number(row.figure)} {row.unit}", baseline, ratio, target, row.verdict


def number(value: float) -> str:
    """Three significant digits, thousands apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
