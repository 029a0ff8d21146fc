"""Orders: FIFO is first come first served, random is bounded, PCT is strict but ends, and spinning costs time."""

import asyncio
from collections.abc import Iterator
from contextlib import suppress

import anyio
import pytest

from reattach.simulations.loop import SimLoop
from reattach.simulations.scheduling import DISPLACEMENT, DISPLACEMENTS, PCT_FAIR_AFTER, Strategy
from reattach.simulations.stepping import SPIN_STEPS, STEP_S
from reattach.simulations.tape import Tape


@pytest.fixture
def loop() -> Iterator[SimLoop]:
    loop = SimLoop(Tape(1))
    yield loop
    loop.close()


def order_of(loop: SimLoop, count: int) -> list[int]:
    """In which order callbacks ran that were ready at once."""
    log: list[int] = []
    for number in range(count):
        loop.call_soon(log.append, number)
    loop.run_until_complete(asyncio.sleep(1))
    return log


def test_fifo_is_first_come_first_served(loop: SimLoop) -> None:
    assert order_of(loop, 50) == list(range(50))


def test_random_displaces_within_bounds() -> None:
    loop = SimLoop(Tape(1), "random", density=1.0)
    log = order_of(loop, 300)
    loop.close()
    assert log != sorted(log)
    assert sorted(log) == list(range(300))
    bound = DISPLACEMENT * DISPLACEMENTS
    assert all(abs(place - number) < bound for place, number in enumerate(log))


@pytest.mark.parametrize("strategy", ["fifo", "random", "pct"])
def test_nobody_starves(strategy: Strategy) -> None:
    """A task that is always ready waits for one that PCT ranks below it: the fair tail lets the other run."""
    loop = SimLoop(Tape.replay({"pct:other": [999]}), strategy, max_steps=2 * PCT_FAIR_AFTER)
    done = False

    async def spin() -> None:
        while not done:
            await asyncio.sleep(0)

    async def other() -> None:
        nonlocal done
        for _ in range(5):
            await asyncio.sleep(0)
        done = True

    loop.create_task(other(), name="other")
    loop.run_until_complete(spin())
    loop.close()


def test_pct_changes_its_mind_where_the_tape_says() -> None:
    """Two busy tasks: the first runs alone until the change point, and from then on only while the second waits."""

    def names(change: int) -> str:
        loop = SimLoop(Tape.replay({"pct.change": [change], "pct:b": [5]}), "pct")
        loop.recorded = []

        async def busy(pause_s: float) -> None:
            for _ in range(20):
                await asyncio.sleep(0)
            await asyncio.sleep(pause_s)
            for _ in range(100):
                await asyncio.sleep(0)

        tasks = [loop.create_task(busy(0), name="a"), loop.create_task(busy(0.001), name="b")]
        for task in tasks:
            loop.run_until_complete(task)
        loop.close()
        return "".join(name for _, name in loop.recorded if name in "ab")

    assert names(0).startswith("a" * 122)
    changed = names(10)
    assert changed.startswith("a" * 10 + "b" * 21 + "a")
    assert "b" * 101 in changed
    assert changed.endswith("a")


async def unwilling(until_s: float) -> None:
    """Ignores being cancelled until that time."""
    loop = asyncio.get_running_loop()
    while loop.time() < until_s:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


@pytest.mark.parametrize("strategy", ["fifo", "random", "pct"])
def test_a_scope_that_waits_for_its_victim_does_not_stop_the_clock(strategy: Strategy) -> None:
    """anyio calls itself again until the victim is gone; the clock hurries, but passes no timer."""
    loop = SimLoop(Tape(3), strategy)
    ticks: list[float] = []

    async def main() -> None:
        for second in range(1, 7):
            loop.call_at(second, lambda: ticks.append(loop.time()))
        with anyio.move_on_after(0.5):
            await unwilling(5.5)

    loop.run_until_complete(main())
    loop.close()
    assert SPIN_STEPS < loop.steps < 20 * SPIN_STEPS
    assert [round(tick, 3) for tick in ticks] == [1, 2, 3, 4, 5]
    assert 5.5 <= loop.time() < 6


def test_pct_ranks_what_spins_below_its_victim() -> None:
    """The victim is ranked last; were the callback that cancels it ranked first, it would never get to notice."""
    loop = SimLoop(Tape.replay({"pct:victim": [999]}), "pct", max_steps=PCT_FAIR_AFTER)

    async def main() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(unwilling, 0.01, name="victim")
            await anyio.sleep(0.005)
            group.cancel_scope.cancel()

    loop.run_until_complete(main())
    loop.close()
    assert loop.time() < 1


def test_honest_work_is_not_hurried(loop: SimLoop) -> None:
    async def work() -> None:
        for _ in range(SPIN_STEPS - 10):
            await asyncio.sleep(0)

    for _ in range(3):
        loop.run_until_complete(work())
        loop.run_until_complete(asyncio.sleep(0.001))
    assert loop.time() == pytest.approx(loop.steps * STEP_S + 3 * 0.001, abs=3 * STEP_S * 2)
