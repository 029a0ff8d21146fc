"""The end: what is left over is closed at one point and quietly; what is done is let go; the collector waits."""

import asyncio
import gc
import warnings
import weakref
from collections.abc import AsyncGenerator, Iterator
from contextlib import suppress

import anyio
import pytest

from reattach.simulations.loop import DONE_TASKS_MAX, SimLoop
from reattach.simulations.process import PROCESS, Process
from reattach.simulations.tape import Tape
from reattach.simulations.teardown import quiet_gc


@pytest.fixture
def loop() -> Iterator[SimLoop]:
    loop = SimLoop(Tape(1))
    yield loop
    loop.close()


def test_closing_closes_what_is_left_in_order_and_quietly() -> None:
    log: list[str] = []

    async def stream() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
                await asyncio.sleep(1)
        finally:
            await asyncio.sleep(1)
            log.append("never: it would have to wait")

    async def wait(name: str) -> None:
        forgotten = asyncio.sleep(1)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(anyio.sleep_forever)
                async for _ in stream():
                    pass
            await forgotten
        finally:
            task = asyncio.current_task()
            log.append(f"{name} as {task.get_name() if task else None}")
            raise KeyError

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with quiet_gc():
            loop = SimLoop(Tape(1))
            for name in "abc":
                loop.create_task(wait(name), name=name)
            loop.run_until_complete(asyncio.sleep(2.5))
            loop.create_task(wait("never begun"))
            loop.create_future().set_exception(KeyError())
            loop.close()
        gc.collect()
    assert log == ["a as a", "b as b", "c as c"]
    assert [str(context["message"]) for context in loop.unhandled] == ["SimFuture exception was never retrieved"]


def test_a_generator_dropped_half_way_is_closed_by_its_process(loop: SimLoop) -> None:
    log: list[str] = []

    async def stream() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            await asyncio.sleep(1)
            log.append(str(PROCESS.get()))

    async def main(process: Process) -> None:
        await anext(stream())
        await process.stopping.wait()

    Process(loop, "n0", main).start()
    loop.run_until_complete(asyncio.sleep(3))
    assert log == ["<n0.1>"]


def test_finished_tasks_are_let_go(loop: SimLoop) -> None:
    async def main() -> None:
        for _ in range(2 * DONE_TASKS_MAX):
            task = asyncio.create_task(asyncio.sleep(0))
            tasks.append(weakref.ref(task))
            await task
        assert sum(task() is not None for task in tasks) <= DONE_TASKS_MAX + 2

    tasks: list[weakref.ref[asyncio.Task[None]]] = []
    loop.run_until_complete(main())
    assert not any(task() for task in tasks)


def test_the_collector_sleeps_inside_and_is_as_before_afterwards() -> None:
    class Ring:
        def __init__(self) -> None:
            self.ring = self

    assert gc.isenabled()
    frozen = gc.get_freeze_count()
    with suppress(KeyError), quiet_gc():
        assert not gc.isenabled()
        with quiet_gc():
            ring = weakref.ref(Ring())
            assert ring()
        assert not ring()
        assert not gc.isenabled()
        assert gc.get_freeze_count() > frozen
        raise KeyError
    assert gc.isenabled()
    assert gc.get_freeze_count() <= frozen
