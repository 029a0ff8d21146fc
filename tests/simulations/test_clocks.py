"""Clocks are skewed and jump; ids rise whatever the clock does, and are the same every time."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from reattach.simulations.loop import SimLoop
from reattach.simulations.process import EPOCH, Process, SimClock, SimIds
from reattach.simulations.tape import Tape


@pytest.fixture
def loop() -> Iterator[SimLoop]:
    loop = SimLoop(Tape(1))
    yield loop
    loop.close()


async def until_told(process: Process) -> None:
    await process.stopping.wait()


def test_clocks_are_skewed_and_jump(loop: SimLoop) -> None:
    process = Process(loop, "n0", until_told, skew_s=30)
    world, own = SimClock(loop), SimClock(loop, process)
    loop.run_until_complete(asyncio.sleep(10))
    assert abs(world.now() - EPOCH - timedelta(seconds=10)) < timedelta(milliseconds=1)
    assert own.now() - world.now() == timedelta(seconds=30)
    assert own.monotonic() == world.monotonic() == loop.time()
    process.skew_s = -5
    process.start()
    assert own.now() - world.now() == timedelta(seconds=-5)


def test_ids_rise_and_are_the_same_every_time(loop: SimLoop) -> None:
    process = Process(loop, "n0", until_told, skew_s=30)
    first, second = SimIds(SimClock(loop, process), 1), SimIds(SimClock(loop), 2)
    ids = [first.uuid() for _ in range(5000)]
    process.skew_s = 0
    ids.append(first.uuid())
    assert ids == sorted(set(ids))
    assert {(each.version, each.variant) for each in ids} == {(7, "specified in RFC 4122")}
    assert ids[0].int >> 80 == int((EPOCH.timestamp() + 30) * 1000)
    assert not {second.uuid() for _ in range(100)} & set(ids)
    process.skew_s = 30
    again = SimIds(SimClock(loop, process), 1)
    assert [again.uuid() for _ in range(5000)] == ids[:5000]
    with pytest.raises(ValueError, match="does not fit"):
        SimIds(SimClock(loop), 1 << 22)
