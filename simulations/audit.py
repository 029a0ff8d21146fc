"""The audit of determinism: each seed, in fresh processes, under several hash seeds, in two orders, gives one trace."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from .campaign import JOBS
from .job import Outcome, Task
from .misuse import MISUSES
from .pool import Pool
from .report import Setting
from .trace import Divergence, first_divergence

HASH_SEEDS: Final = (0, 1, 4711)
"""PYTHONHASHSEED of the processes: sets and dicts of texts come out differently under each."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run all seeds."""

    hash_seed: int
    backwards: bool

    def __str__(self) -> str:
        return f"PYTHONHASHSEED={self.hash_seed}, {'last' if self.backwards else 'first'} seed first"


@dataclass(frozen=True, slots=True)
class Difference:
    """A seed that gave two traces. Without a divergence, both were equal when the seed was run alone."""

    seed: int
    left: Variant
    right: Variant
    divergence: Divergence | None


@dataclass(frozen=True, slots=True)
class Audit:
    """What came of it. Seeds of which some world ended in trouble are `troubles`: they prove nothing."""

    seeds: int
    worlds: int
    differences: tuple[Difference, ...]
    troubles: tuple[str, ...]
    misuse: Outcome | None
    """The first world that ended because of what a user's agent does."""


def audit(
    seeds: Sequence[int],
    setting: Setting,
    progress: Callable[[int, int], None],
    *,
    jobs: int = JOBS,
    hash_seeds: Iterable[int] = HASH_SEEDS,
) -> Audit:
    """Compare all variants. `progress` is told worlds so far and in all. Raises JobsFail."""
    variants = [Variant(hash_seed, backwards) for hash_seed in hash_seeds for backwards in (False, True)]
    first: dict[int, tuple[str, Variant]] = {}
    different: dict[int, tuple[Variant, Variant]] = {}
    troubles: list[str] = []
    misuse: Outcome | None = None
    worlds = 0
    for variant in variants:
        tasks = [Task(seed, setting, tracing=True) for seed in (reversed(seeds) if variant.backwards else seeds)]
        with Pool(jobs, hash_seed=variant.hash_seed) as pool:
            for outcome in pool.run(tasks):
                if outcome is None:
                    continue
                worlds += 1
                progress(worlds, len(seeds) * len(variants))
                if outcome.trouble:
                    troubles.append(f"seed {outcome.seed}: {outcome.trouble}")
                    continue
                if outcome.violation in MISUSES:
                    misuse = misuse or outcome
                digest, of = first.setdefault(outcome.seed, (outcome.digest, variant))
                if outcome.digest != digest:
                    different.setdefault(outcome.seed, (of, variant))
    differences = [_difference(seed, setting, *pair) for seed, pair in sorted(different.items())]
    return Audit(len(seeds), worlds, tuple(differences), tuple(troubles), misuse)


def _difference(seed: int, setting: Setting, left: Variant, right: Variant) -> Difference:
    """Run the seed twice more, alone, and look for the place where the traces part."""
    with TemporaryDirectory() as folder:
        left_file, right_file = Path(folder) / "left", Path(folder) / "right"
        for variant, file in ((left, left_file), (right, right_file)):
            with Pool(1, hash_seed=variant.hash_seed) as pool:
                list(pool.run([Task(seed, setting, tracing=True, trace_file=str(file))]))
        divergence = first_divergence(_lines(left_file), _lines(right_file))
    return Difference(seed, left, right, divergence)


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []
