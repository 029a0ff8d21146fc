"""The loop: virtual time, names without addresses, an end to everything that never ends, what asyncio offers."""

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import pytest

from reattach.simulations.loop import Deadlock, SimLoop, SimulationEscape, StepBudget
from reattach.simulations.process import Process
from reattach.simulations.stepping import CANCELLED_TIMERS_MAX, STEP_S
from reattach.simulations.tape import Tape


@pytest.fixture
def loop() -> Iterator[SimLoop]:
    loop = SimLoop(Tape(1))
    yield loop
    loop.close()


def test_waiting_takes_no_time_and_steps_take_a_little(loop: SimLoop) -> None:
    async def wait() -> float:
        await asyncio.sleep(3600)
        return loop.time()

    now = loop.run_until_complete(wait())
    assert 3600 < now < 3600 + 10 * STEP_S
    assert loop.steps < 10


def test_timers_run_in_order_and_not_when_cancelled(loop: SimLoop) -> None:
    log: list[str] = []
    loop.call_later(2, log.append, "b")
    loop.call_at(1, log.append, "a")
    loop.call_later(-5, log.append, "now")
    for cancelled in (loop.call_at(1.5, log.append, "no"), loop.call_soon(log.append, "no")):
        cancelled.cancel()
        assert cancelled.cancelled()
    assert loop.call_at(2.5, log.append, "c").when() == 2.5
    loop.run_until_complete(asyncio.sleep(3))
    assert log == ["now", "a", "b", "c"]


def test_cancelled_timers_do_not_pile_up(loop: SimLoop) -> None:
    timers = [weakref.ref(loop.call_later(1000, int)) for _ in range(10 * CANCELLED_TIMERS_MAX)]
    for timer in timers:
        if handle := timer():
            handle.cancel()
            del handle
    assert sum(timer() is not None for timer in timers) <= CANCELLED_TIMERS_MAX + 1


def test_sweeping_cancelled_timers_leaves_the_others_in_order(loop: SimLoop) -> None:
    log: list[int] = []
    delays = [number * 7919 % 1009 for number in range(1, 1000)]
    timers = {delay: loop.call_later(delay, log.append, delay) for delay in delays}
    for delay in delays[::3] + delays[1::3]:
        timers[delay].cancel()
    loop.run_until_complete(asyncio.sleep(2000))
    assert log == sorted(delays[2::3])


def test_a_spinner_runs_into_its_budget() -> None:
    loop = SimLoop(Tape(1), max_steps=1000)

    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(StepBudget, match=r"1000 steps at .* then spinner"):
        loop.run_until_complete(loop.create_task(spin(), name="spinner"))
    loop.close()


def test_a_deadlock_names_who_waits_and_where(loop: SimLoop) -> None:
    async def inner() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(inner(), name="one who waits")

    with pytest.raises(Deadlock) as caught:
        loop.run_until_complete(main())
    group, waiter = caught.value.waiting
    assert group.startswith("test_a_deadlock_names_who_waits_and_where.<locals>.main#1 at taskgroups.py:")
    assert waiter.startswith("one who waits at locks.py:")
    assert waiter in str(caught.value)


def test_unnamed_tasks_are_called_after_their_coroutine_and_their_process(loop: SimLoop) -> None:
    async def main(process: Process) -> None:
        await process.stopping.wait()

    async def work() -> None: ...

    process = Process(loop, "n0", main)
    process.start()
    tasks = [loop.create_task(work()), process.spawn(work()), process.spawn(work()), loop.create_task(work(), name="x")]
    odd = loop.create_task(work(), name="<bound method at 0x7f00>")
    prefix = "test_unnamed_tasks_are_called_after_their_coroutine_and_their_process.<locals>.work"
    assert [task.get_name() for task in tasks] == [f"{prefix}#1", f"n0.1/{prefix}#1", f"n0.1/{prefix}#2", "x"]
    assert odd.get_name() == f"{prefix}#2"
    loop.run_until_complete(asyncio.sleep(1))


def test_what_asyncio_offers_works(loop: SimLoop) -> None:
    log: list[object] = []

    async def numbers() -> AsyncGenerator[int, None]:
        for number in range(5):
            yield number

    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue(1)
        async with asyncio.TaskGroup() as group, aclosing(numbers()) as stream:
            group.create_task(produce(queue))
            log.append([await queue.get() for _ in range(3)])
            log.append([number async for number in stream])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.Event().wait()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(5), 1)
        log.append(await asyncio.gather(asyncio.sleep(2, "a"), asyncio.sleep(1, "b")))
        log.append(await asyncio.to_thread(threading.get_ident) == threading.get_ident())
        with pytest.raises(KeyError):
            await asyncio.to_thread(dict[str, int]().__getitem__, "none")
        done, pending = await asyncio.wait({asyncio.ensure_future(asyncio.sleep(delay)) for delay in (1, 9)}, timeout=2)
        log.append((len(done), len(pending)))

    async def produce(queue: asyncio.Queue[int]) -> None:
        for number in range(3):
            await queue.put(number)

    loop.run_until_complete(main())
    assert log == [[0, 1, 2], [0, 1, 2, 3, 4], ["a", "b"], True, (1, 1)]


def test_an_error_nobody_took_is_kept(loop: SimLoop) -> None:
    async def fail() -> None:
        raise KeyError("lost")

    def broken() -> None:
        raise ValueError("callback")

    async def main() -> None:
        loop.create_task(fail())
        loop.call_soon(broken)
        await asyncio.sleep(1)

    loop.run_until_complete(main())
    assert [str(context["exception"]) for context in loop.unhandled] == ["callback", "'lost'"]


def test_an_abort_ends_the_run_and_the_first_one_counts(loop: SimLoop) -> None:
    async def main() -> None:
        loop.abort(KeyError("violated"))
        loop.abort(ValueError("then this"))
        await asyncio.sleep(5)

    with pytest.raises(KeyError, match="violated"):
        loop.run_until_complete(main())
    assert loop.time() < 1


def test_another_threads_call_is_refused(loop: SimLoop) -> None:
    caught: list[BaseException] = []

    def call() -> None:
        try:
            loop.call_soon_threadsafe(print)
        except SimulationEscape as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert "one thread" in str(caught[0])
    loop.call_soon_threadsafe(int)


def test_a_loop_runs_once_at_a_time_and_not_when_closed(loop: SimLoop) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="is running"):
            loop.run_forever()
        with pytest.raises(RuntimeError, match="can't be closed"):
            loop.close()
        other = SimLoop(Tape(2))
        with pytest.raises(RuntimeError, match="another loop is running"):
            other.run_forever()

    loop.run_until_complete(main())
    loop.close()
    loop.close()
    assert loop.is_closed()
    with pytest.raises(RuntimeError, match="closed"):
        loop.run_forever()
