"""The tape: every decision of a world, one stream a site, 0 always the benign answer.

A seed is only a way to fill a tape. Each site (`net.reset:c0-n1`, `sched:n0.1/Worker._claim#1`) has its own stream, so
that zeroing a decision never shifts another one: that is what makes a failure shrink. What is recorded is the decision,
not the random number behind it; so a tape keeps its meaning while intensities are made smaller.

The generator is counter-based (SplitMix64: Steele, Lea and Flood, OOPSLA 2014): a value is a function of the seed, the
site and the position. It needs no state, and a site that is asked once costs no set-up.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final, Literal, Self, TypeVar
from zlib import crc32

from pydantic import BaseModel, ConfigDict, NonNegativeInt

FORMAT: Final = "reattach-tape/1"

STEPS: Final = 64
"""Values that `between` can take, unless told otherwise."""

_MASK: Final = (1 << 64) - 1
_GAMMA: Final = 0x9E3779B97F4A7C15
_UNIT: Final = 1 / (1 << 53)

T = TypeVar("T")


class Tape:
    """Answers every question of a world, and remembers the answers.

    `planted` and `violation` are notes that travel with a dumped tape: the planted bug that was in place, if any, and
    the name of what was found.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.planted: str | None = None
        self.violation: str | None = None
        self._streams: dict[str, tuple[list[int], int]] = {}
        """By site: what was answered, and where its random numbers begin."""
        self._script: Mapping[str, Sequence[int]] | None = None

    @classmethod
    def replay(cls, decisions: Mapping[str, Sequence[int]], seed: int = 0) -> Self:
        """A tape that gives these answers, and 0 beyond them. An answer too large for its question is the largest."""
        tape = cls(seed)
        tape._script = decisions
        return tape

    def draw(self, site: str, n: int) -> int:
        """One of 0 to n-1, all alike."""
        if n < 1:
            raise ValueError(f"{site}: nothing to choose from")
        if self._script is None:
            log, bits = self._bits(site)
            value = bits * n >> 64
        else:
            log, value = self._scripted(site, n)
        log.append(value)
        return value

    def chance(self, site: str, p: float) -> bool:
        """True with probability p. With p <= 0 nothing is asked and nothing recorded."""
        if p <= 0:
            return False
        if self._script is None:
            log, bits = self._bits(site)
            value = int((bits >> 11) * _UNIT < p)
        else:
            log, value = self._scripted(site, 2)
        log.append(value)
        return value == 1

    def sparse(self, site: str, n: int, density: float) -> int:
        """0 with probability 1 - density, else one of 1 to n-1: noise that starts out small."""
        if density <= 0 or n < 2:
            return 0
        if self._script is None:
            log, bits = self._bits(site)
            unit = (bits >> 11) * _UNIT
            value = 1 + min(int(unit / density * (n - 1)), n - 2) if unit < density else 0
        else:
            log, value = self._scripted(site, n)
        log.append(value)
        return value

    def pick(self, site: str, options: Sequence[T]) -> T:
        """One of the options. The first is the benign one."""
        return options[self.draw(site, len(options))]

    def between(self, site: str, low: float, high: float, steps: int = STEPS) -> float:
        """One of `steps` values from low on, below high. Low is the benign one."""
        return low + (high - low) * self.draw(site, steps) / steps

    @property
    def asked(self) -> dict[str, int]:
        """How often each site was asked so far."""
        return {site: len(log) for site, (log, _) in self._streams.items()}

    @property
    def decisions(self) -> dict[str, list[int]]:
        """What was answered, by site. Zeros at the end are left out, as replaying gives them anyway."""
        trimmed: dict[str, list[int]] = {}
        for site, (log, _) in self._streams.items():
            end = len(log)
            while end and not log[end - 1]:
                end -= 1
            if end:
                trimmed[site] = log[:end]
        return trimmed

    def dump(self) -> str:
        """The tape as JSON, a site a line, so that two tapes can be compared by eye."""
        head = {"format": FORMAT, "seed": self.seed, "planted": self.planted, "violation": self.violation}
        fields = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
        lines = [f"    {json.dumps(site)}: {json.dumps(log)}" for site, log in sorted(self.decisions.items())]
        body = "{\n" + ",\n".join(lines) + "\n  }" if lines else "{}"
        return "{\n" + ",\n".join([*fields, f'  "decisions": {body}']) + "\n}\n"

    @classmethod
    def load(cls, text: str | bytes) -> Self:
        """The tape of `dump`, to be replayed. Raises ValueError if it is none."""
        file = _File.model_validate_json(text)
        tape = cls.replay(file.decisions, file.seed)
        tape.planted = file.planted
        tape.violation = file.violation
        return tape

    def _scripted(self, site: str, n: int) -> tuple[list[int], int]:
        """What was answered here before, and the script's next answer."""
        log, _ = self._streams.get(site) or self._begin(site)
        script = self._script.get(site, ()) if self._script is not None else ()
        position = len(log)
        return log, min(script[position], n - 1) if position < len(script) else 0

    def _begin(self, site: str) -> tuple[list[int], int]:
        key = _mix((_mix(self.seed & _MASK) ^ crc32(site.encode())) & _MASK)
        stream: tuple[list[int], int] = ([], key)
        self._streams[site] = stream
        return stream

    def _bits(self, site: str) -> tuple[list[int], int]:
        """What was answered here before, and 64 random bits: SplitMix64 at this site's next position."""
        log, key = self._streams.get(site) or self._begin(site)
        # _mix is written out here: this is asked at almost every step of a world.
        z = (key + (len(log) + 1) * _GAMMA) & _MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
        return log, z ^ (z >> 31)


class _File(BaseModel):
    """The file of a tape."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    format: Literal["reattach-tape/1"]
    seed: int
    planted: str | None
    violation: str | None
    decisions: dict[str, list[NonNegativeInt]]


def _mix(z: int) -> int:
    """SplitMix64's finalizer: every bit of the answer depends on every bit of z."""
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)
