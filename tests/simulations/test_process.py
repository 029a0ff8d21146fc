"""Processes: kill -9 leaves no trace, a pause makes late, SIGTERM is a request."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Iterator
from contextlib import suppress
from contextvars import ContextVar

import pytest

from reattach.simulations.loop import SimLoop
from reattach.simulations.process import PROCESS, Incarnation, Process, ProcessDown
from reattach.simulations.tape import Tape


@pytest.fixture
def loop() -> Iterator[SimLoop]:
    loop = SimLoop(Tape(1))
    yield loop
    loop.close()


async def until_told(process: Process) -> None:
    await process.stopping.wait()


def run(loop: SimLoop, seconds: float) -> None:
    loop.run_until_complete(asyncio.sleep(seconds))


def test_a_killed_process_does_nothing_any_more(loop: SimLoop) -> None:
    """No finally, no except, no callback, no timer, no generator of it runs; not even when what it waits for comes."""
    log: list[str] = []
    answer = loop.create_future()

    async def numbers() -> AsyncGenerator[int, None]:
        try:
            while True:
                yield 1
        finally:
            log.append("generator closed")

    async def asking() -> None:
        try:
            await answer
        finally:
            log.append("answered or cancelled")

    async def main(process: Process) -> None:
        here = asyncio.get_running_loop()
        here.call_later(2, log.append, "timer")
        loop.create_task(asking())
        generator = numbers()
        try:
            async with asyncio.timeout(2):
                async for _ in generator:
                    await asyncio.sleep(0.7)
                    here.call_soon(log.append, "callback")
        except TimeoutError:
            log.append("timeout")
        finally:
            log.append("finally")

    process = Process(loop, "n0", main)
    process.start()
    run(loop, 1)
    assert log == ["callback"]
    process.kill()
    loop.call_later(0.5, answer.set_result, None)
    run(loop, 10)
    assert log == ["callback"]
    assert loop.waiting() == []


def test_what_it_left_behind_is_closed_with_the_loop_and_schedules_nothing(loop: SimLoop) -> None:
    log: list[str] = []

    async def stubborn(process: Process) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            log.append(str(PROCESS.get()))
            loop.create_task(asyncio.sleep(1))
            asyncio.get_running_loop().call_soon(log.append, "never")
            with suppress(GeneratorExit):
                await asyncio.sleep(1)
            log.append("end")

    process = Process(loop, "n0", stubborn)
    process.start()
    run(loop, 1)
    process.kill()
    run(loop, 1)
    assert log == []
    loop.close()
    assert log == ["<n0.1 (dead)>", "end"]
    assert loop.unhandled == []


def test_a_packet_outlives_its_sender(loop: SimLoop) -> None:
    log: list[object] = []

    async def main(process: Process) -> None:
        loop.call_world(5, lambda: log.append(("world", PROCESS.get())))
        loop.call_later(5, lambda: log.append("process"))
        await process.stopping.wait()

    process = Process(loop, "n0", main)
    process.start()
    run(loop, 1)
    process.kill()
    run(loop, 10)
    assert log == [("world", None)]


def test_the_clock_does_not_go_on_for_the_dead(loop: SimLoop) -> None:
    """A timer of a dead process an hour away must not drag the world there."""

    async def main(process: Process) -> None:
        await asyncio.sleep(3600)

    process = Process(loop, "n0", main)
    process.start()
    loop.call_later(1, process.kill)
    with pytest.raises(Exception, match=r"nothing can run at 1\.0.*waiting: told"):
        loop.run_until_complete(loop.create_task(asyncio.Event().wait(), name="told"))


def test_a_paused_process_is_late(loop: SimLoop) -> None:
    log: list[tuple[str, float]] = []

    def note(name: str) -> None:
        log.append((name, round(loop.time(), 2)))

    async def main(process: Process) -> None:
        loop.call_at(2, note, "timer")
        loop.call_at(3, note, "cancelled").cancel()
        await asyncio.sleep(1.5)
        note("woke")
        await process.stopping.wait()

    process = Process(loop, "n0", main)
    process.start()
    run(loop, 1)
    process.pause(5)
    process.pause(1)
    process.run_in(0, note, "callback")
    loop.call_at(2.5, note, "world")
    run(loop, 9)
    assert log == [("world", 2.5), ("callback", 6.0), ("timer", 6.0), ("woke", 6.0)]
    assert process.up


def test_a_process_is_asked_to_stop_and_is_down_when_its_main_ends(loop: SimLoop) -> None:
    log: list[str] = []
    down: list[tuple[str, object]] = []

    async def main(process: Process) -> None:
        loop.create_task(background())
        await process.stopping.wait()
        log.append("drained")

    async def background() -> None:
        await asyncio.sleep(5)
        log.append("went on without its process")

    process = Process(loop, "n0", main)
    process.on_down.append(lambda incarnation: down.append((incarnation.label, PROCESS.get())))
    process.start()
    run(loop, 1)
    assert process.up
    process.terminate()
    run(loop, 10)
    assert not process.up
    assert log == ["drained"]
    assert down == [("n0.1", None)]


def test_each_start_is_another_life(loop: SimLoop) -> None:
    lives: list[Incarnation | None] = []
    down: list[str] = []

    async def main(process: Process) -> None:
        lives.append(PROCESS.get())
        await until_told(process)

    process = Process(loop, "n0", main)
    process.on_down.append(lambda incarnation: down.append(incarnation.label))
    assert not process.up
    for _ in range(3):
        process.start()
        run(loop, 0.1)
        assert process.up
        with pytest.raises(RuntimeError, match="up already"):
            process.start()
        process.kill()
        process.kill()
    assert [life.label for life in lives if life] == ["n0.1", "n0.2", "n0.3"] == down
    assert process.label == "n0.3"


def test_a_death_is_the_worlds_business_whoever_killed(loop: SimLoop) -> None:
    """What listeners schedule must outlive the killer."""
    down: list[object] = []

    async def killer(process: Process) -> None:
        victim.kill()
        await process.stopping.wait()

    victim = Process(loop, "n1", until_told)
    victim.on_down.append(lambda _: down.append(PROCESS.get()))
    victim.start()
    Process(loop, "n0", killer).start()
    run(loop, 1)
    assert down == [None]


def test_what_only_a_dead_callback_held_is_not_closed_either(loop: SimLoop) -> None:
    """Dropping the callback would drop the generator, and a generator that is dropped is closed, by nobody's code."""
    log: list[str] = []

    async def numbers() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            log.append("closed")

    async def main(process: Process) -> None:
        for delay in (0.1, 2, 60):
            generator = numbers()
            await anext(generator)
            loop.call_later(delay, print, generator)
            del generator
        await process.stopping.wait()

    process = Process(loop, "n0", main)
    process.start()
    run(loop, 0.01)
    process.kill()
    run(loop, 1)
    # The last one is dropped while the loop looks for the next timer.
    loop.call_later(100, int)
    run(loop, 100)
    assert log == []


def test_one_that_is_down_takes_no_orders(loop: SimLoop) -> None:
    process = Process(loop, "n0", until_told)
    with pytest.raises(ProcessDown, match="n0 is down"):
        process.spawn(asyncio.sleep(1))
    for order in (process.terminate, lambda: process.pause(1), lambda: process.run_in(0, print)):
        with pytest.raises(ProcessDown):
            order()
    process.kill()


def test_a_crash_is_told(loop: SimLoop) -> None:
    async def main(process: Process) -> None:
        raise KeyError("why")

    process = Process(loop, "n0", main)
    process.start()
    run(loop, 1)
    assert not process.up
    assert [(context["message"], str(context["exception"])) for context in loop.unhandled] == [
        ("n0.1 crashed", "'why'")
    ]


def test_what_a_process_starts_belongs_to_it(loop: SimLoop) -> None:
    """And what the world has set is not theirs: a process inherits nothing from whoever starts it."""
    seen: list[str] = []
    world = ContextVar("world", default="unset")
    world.set("set")

    async def note() -> None:
        seen.append(f"{PROCESS.get()} {world.get()}")

    def start(*coroutines: Coroutine[object, object, None]) -> None:
        for coroutine in coroutines:
            loop.create_task(coroutine)

    process = Process(loop, "n0", until_told)
    process.start()
    process.spawn(note())
    process.run_in(0, start, note(), note())
    run(loop, 1)
    assert seen == ["<n0.1> unset"] * 3
    assert PROCESS.get() is None
