"""`reattach simulate crashpoints --disk`: the power is cut under the database, on many disks in turn."""

import argparse
import json
import shlex
import sys
from collections import Counter
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, Final

from ..adapters.cli.exits import UsageError
from ..adapters.cli.terminal import Terminal
from .progress import StatusLine
from .tape import Tape
from .verdicts import Verdict

try:
    from .disk.cuts import CUTS_A_DISK, Disk, run_disk
    from .disk.recording import RECORDINGS, NotRepeatable, recording
    from .disk.variants import PLANTED, VARIANTS
except ModuleNotFoundError as missing:
    raise UsageError(str(missing)) from missing

CUTS: Final = 1_000
"""Power cuts, unless told otherwise."""


@dataclass(slots=True)
class Score:
    """What came of all disks so far."""

    began: float = field(default_factory=monotonic)
    seconds: float = 0.0
    disks: int = 0
    numbers: Counter[str] = field(default_factory=Counter[str])
    variants: Counter[str] = field(default_factory=Counter[str])
    failed: Disk | None = None

    def add(self, disk: Disk) -> None:
        """Count a disk."""
        self.seconds = monotonic() - self.began
        self.disks += 1
        self.numbers.update(
            cuts=disk.cuts, acknowledged=disk.acknowledged, forgotten=disk.forgotten, in_recovery=disk.in_recovery
        )
        self.numbers.update({f"unsure_{fate}": times for fate, times in disk.unsure.items()})
        self.numbers.update({f"changes_{fate}": times for fate, times in disk.changes.items()})
        self.variants[disk.variant] += disk.cuts
        self.failed = disk if disk.violation else None

    @property
    def cuts_per_s(self) -> float:
        """Power cuts a second."""
        return self.numbers["cuts"] / self.seconds if self.seconds else 0.0


def powercuts(options: argparse.Namespace, terminal: Terminal) -> int:
    """Cut the power so often, on one disk after the other, until a promise is broken."""
    planted: str | None = options.planted
    if planted is not None and planted not in PLANTED:
        raise UsageError(f"There is no bug {planted} of a disk. There are: {', '.join(PLANTED)}.")
    if options.agents or options.store:
        raise UsageError("--disk has its own agents and its own store.")
    wanted, interrupted = options.cuts or CUTS, False
    score = Score()
    try:
        with StatusLine(sys.stderr) as line:
            for seed in range(RECORDINGS):
                line.show(f"recording world {seed + 1} of {RECORDINGS}")
                recording(seed)
            score = Score()
            _run(score, options.seed, wanted, planted, line)
    except KeyboardInterrupt:
        interrupted = True
    except NotRepeatable as error:
        terminal.error(f"THE SIMULATOR FAILED: {error}.")
        return Verdict.TROUBLE
    verdict = Verdict.INTERRUPTED if interrupted else Verdict.VIOLATION if score.failed else Verdict.CLEAN
    command = _command(score.failed, wanted, planted) if score.failed else None
    if options.json:
        terminal.result(json.dumps(_json(score, verdict, command)))
        return verdict
    for text in (*_summary(score), *(_told(score.failed, command) if score.failed and command else ())):
        terminal.result(text)
    return verdict


def _run(score: Score, first: int, wanted: int, planted: str | None, line: StatusLine) -> None:
    while score.numbers["cuts"] < wanted and score.failed is None:
        cuts = min(CUTS_A_DISK, wanted - score.numbers["cuts"])
        score.add(run_disk(Tape(first + score.disks), cuts, planted))
        line.show(f"{score.numbers['cuts']:,} of {wanted:,} power cuts · {score.cuts_per_s:.0f}/s")


def _summary(score: Score) -> list[str]:
    n = score.numbers
    variants = ", ".join(f"{name} {times:,}" for name, times in sorted(score.variants.items()))
    return [
        f"{n['cuts']:,} power cuts on {score.disks:,} disks in {score.seconds:.1f} s ({score.cuts_per_s:.0f}/s), "
        f"{n['in_recovery']:,} of them while the database recovered from the one before: {variants}",
        f"{n['acknowledged']:,} commits acknowledged; of those being written, {n['unsure_kept']:,} were there "
        f"afterwards and {n['unsure_lost']:,} were not; relaxed durability lost {n['forgotten']:,} acknowledged ones",
        f"unsynced writes: {n['changes_kept']:,} kept, {n['changes_lost']:,} lost, {n['changes_torn']:,} torn",
        *([] if score.failed else ["no promise was broken" if score.disks else "nothing was judged"]),
    ]


def _told(failed: Disk, command: str) -> list[str]:
    violation = failed.violation
    assert violation is not None
    what = {**VARIANTS, **PLANTED}[failed.variant].what
    return [
        "",
        f"BROKEN PROMISE {violation.name} (disk {failed.seed}, after {failed.cuts} cuts; {failed.variant}: {what})",
        f"  {violation.detail}",
        command,
    ]


def _command(failed: Disk, wanted: int, planted: str | None) -> str:
    """The same disk again: how often its power goes is no draw of its tape."""
    words = ["reattach", "simulate", "crashpoints", "--disk", "--seed", str(failed.seed)]
    words += ["--cuts", str(min(CUTS_A_DISK, wanted))]
    return shlex.join([*words, *(("--planted", planted) if planted else ())])


def _json(score: Score, verdict: Verdict, command: str | None) -> dict[str, Any]:
    failed = score.failed
    violation = failed.violation if failed else None
    return {
        "verdict": verdict.name.lower().replace("_", "-"),
        "seconds": round(score.seconds, 3),
        "cuts_per_s": round(score.cuts_per_s, 1),
        "disks": score.disks,
        **score.numbers,
        "variants": dict(score.variants),
        "violation": violation.name if violation else None,
        "detail": violation.detail if violation else None,
        "seed": failed.seed if failed else None,
        "replay": command,
    }
