"""Agents that do what agents should not do."""

import asyncio
from collections.abc import AsyncGenerator, Callable

from reattach import AgentFailure, Context, Data, Output, Text


class Unreadable(Exception):
    def __str__(self) -> str:
        raise ValueError


class Beyond(BaseException):
    """Not even an Exception."""


RAISED: dict[str, Callable[[], BaseException]] = {
    "cancelled": asyncio.CancelledError,
    "exit": SystemExit,
    "generator_exit": GeneratorExit,
    "unreadable": Unreadable,
    "beyond": Beyond,
    "surrogate": lambda: AgentFailure("t\ud800", "m\ud800"),
    "interrupt": KeyboardInterrupt,
}


async def odd(context: Context) -> AsyncGenerator[Output, None]:
    yield Text("before")
    what = str(context.input)
    if what == "number":
        yield Data("n", 10**5000)
        return
    raise RAISED[what]()


async def stubborn(_: Context) -> AsyncGenerator[Output, None]:
    yield Text("you can't stop me")
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue


agents = [odd, stubborn]
