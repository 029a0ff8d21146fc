"""One program, many processes: with different hash seeds and heaps, the same steps; without our hashes, others."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from reattach.simulations.anyio_patch import patched_anyio
from reattach.simulations.guard import guarded
from reattach.simulations.loop import SimLoop
from reattach.simulations.scheduling import Strategy
from reattach.simulations.tape import Tape

from .fixed_program import program

ROOT: Final = Path(__file__).parents[2]
PROCESSES: Final = 3
STRATEGIES: Final[tuple[Strategy, ...]] = ("fifo", "random", "pct")


def outputs(without: str) -> list[str]:
    """What the program prints in each process. They run side by side."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.simulations.fixed_program", without, str(salt)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT / ".src"), "PYTHONHASHSEED": str(salt * 1000 + 1)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for salt in range(1, PROCESSES + 1)
    ]
    printed = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * PROCESSES
    return printed


def test_every_process_takes_the_same_steps() -> None:
    first, *others = outputs("nothing")
    assert "closed dropped 5" in first
    assert "in line" in first
    assert others == [first] * (PROCESSES - 1)


@pytest.mark.parametrize("cause", ["tasks", "scopes", "coroutines"])
def test_without_what_we_do_about_it_they_differ(cause: str) -> None:
    """So the test above can fail, for each of the causes."""
    assert len(set(outputs(cause))) > 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_ran_before_leaves_no_trace(strategy: Strategy) -> None:
    assert digest_of(3, strategy) == digest_of(3, strategy)


@pytest.mark.parametrize("strategy", ["random", "pct"])
def test_another_seed_takes_other_steps(strategy: Strategy) -> None:
    assert digest_of(3, strategy) != digest_of(4, strategy)


def test_a_replayed_tape_takes_the_same_steps() -> None:
    tape = Tape(3)
    digest = digest_of(tape, "random")
    assert any(site.startswith("sched:group") or "witness#" in site for site in tape.decisions)
    again = Tape.replay(tape.decisions)
    assert digest_of(again, "random") == digest
    assert again.decisions == tape.decisions


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_empty_tape_is_fifo(strategy: Strategy) -> None:
    async def steps() -> None:
        await asyncio.gather(*(asyncio.sleep(0.001 * index) for index in range(9)))

    def digest(strategy: Strategy) -> str:
        loop = SimLoop(Tape.replay({}), strategy)
        loop.run_until_complete(steps())
        loop.close()
        return loop.schedule_digest

    assert digest(strategy) == digest("fifo")


def digest_of(seed: int | Tape, strategy: Strategy) -> str:
    loop = SimLoop(Tape(seed) if isinstance(seed, int) else seed, strategy)
    with guarded(loop, 1), patched_anyio():
        loop.run_until_complete(program([]))
        loop.close()
    return loop.schedule_digest
