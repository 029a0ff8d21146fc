"""A process of its own that runs one program: `python -m tests.simulations.fixed_program WITHOUT SALT`.

It uses whatever keeps tasks in sets. What came out, and in which order, goes to standard output, then the digest of
the schedule. WITHOUT is what to leave out: `nothing`, `tasks` (theirs are then hashed by address), `scopes` (anyio
keeps theirs in a set again) or `coroutines` (as_completed walks a set of them again). SALT perturbs the heap.
"""

import asyncio
import random
import sys
from collections.abc import AsyncGenerator, Coroutine, Generator
from contextlib import aclosing, closing
from contextvars import Context
from typing import Any, TypeVar

import anyio

from reattach.simulations import anyio_patch
from reattach.simulations.anyio_patch import patched_anyio
from reattach.simulations.guard import guarded, replaced
from reattach.simulations.loop import SimLoop
from reattach.simulations.tape import Tape
from reattach.simulations.teardown import quiet_gc

T = TypeVar("T")


class StockLoop(SimLoop):
    """As SimLoop, with tasks and futures as asyncio makes them."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        *,
        name: object = None,
        context: Context | None = None,
        **options: Any,
    ) -> asyncio.Task[T]:
        return asyncio.Task(coro, loop=self, name=str(name), context=context)


async def witness(log: list[str], name: str) -> None:
    try:
        await asyncio.sleep(60)
    finally:
        log.append(name)


async def aborted_group(log: list[str]) -> None:
    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise ValueError

    try:
        async with asyncio.TaskGroup() as group:
            for index in range(12):
                group.create_task(witness(log, f"group {index}"))
            group.create_task(fail())
    except* ValueError:
        log.append("group failed")


async def waited_sets(log: list[str]) -> None:
    tasks = [asyncio.ensure_future(asyncio.sleep(0.001 * (i % 3), i)) for i in range(24)]
    done, pending = await asyncio.wait(tasks, timeout=0.0015)
    log.append(f"wait {[task.result() for task in done]}")
    log.append(f"pending {[tasks.index(task) for task in pending]}")
    await asyncio.gather(*tasks)


async def as_they_complete(log: list[str]) -> None:
    async def one(index: int) -> int:
        log.append(f"begin {index}")
        return index

    for each in asyncio.as_completed([one(index) for index in range(12)]):
        log.append(f"complete {await each}")
    tasks = [asyncio.ensure_future(one(index)) for index in range(12)]
    for each in asyncio.as_completed(tasks):
        log.append(f"complete {await each}")


async def nested_scopes(log: list[str]) -> None:
    async def inside(name: str) -> None:
        with anyio.CancelScope():
            await witness(log, name)

    with anyio.move_on_after(0.05):
        async with anyio.create_task_group() as group:
            for index in range(12):
                group.start_soon(inside, f"scope {index}")
                group.start_soon(witness, log, f"anyio {index}")


async def generators(log: list[str]) -> None:
    async def numbers(name: str) -> AsyncGenerator[int, None]:
        try:
            for index in range(10):
                yield index
                await asyncio.sleep(0)
        finally:
            log.append(f"closed {name}")

    async with aclosing(numbers("properly")) as proper:
        async for index in proper:
            if index == 3:
                break
    for number in range(6):
        dropped = numbers(f"dropped {number}")
        await anext(dropped)
    await asyncio.sleep(0.01)


def scramble_heap(salt: int) -> list[bytes]:
    """Make holes of every size, in an order of its own: what is allocated next takes them, the last one first.

    Their neighbours are returned, to be kept.
    """
    kept: list[bytes] = []
    for size in range(16, 512, 16):
        blocks = [bytes(size) for _ in range(400)]
        random.Random(salt * size).shuffle(blocks)
        kept += blocks[::2]
        del blocks[::2], blocks
    return kept


async def program(log: list[str], salt: int = 0) -> None:
    """All of it; each part on a heap with new holes."""
    for part in (aborted_group, waited_sets, as_they_complete, nested_scopes, generators):
        kept = scramble_heap(salt) if salt else []
        await part(log)
        del kept
    log.append(await anyio.to_thread.run_sync(lambda: "in line"))


def main(without: str, salt: int) -> None:
    """Run it and print what came of it."""
    log: list[str] = []
    loop = StockLoop(Tape(7), "random") if without == "tasks" else SimLoop(Tape(7), "random")
    stock = asyncio.as_completed
    scopes = (anyio_patch, "OrderedSet", set if without == "scopes" else anyio_patch.OrderedSet)
    with quiet_gc(), guarded(loop, 7), replaced(scopes), patched_anyio(), closing(loop):
        asyncio.as_completed = stock if without == "coroutines" else asyncio.as_completed
        loop.run_until_complete(program(log, salt))
    print("\n".join(log))
    print(loop.steps, loop.schedule_digest)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
