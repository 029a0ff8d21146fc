"""Agents that do what agents should not do."""

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from reattach import AgentFailure, ApprovalRequest, Approvals, Context, Data, Finish, Output, Text, ToolResult


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


async def leaving(context: Context) -> AsyncGenerator[Output, None]:
    """Goes on after its end, if it is let; the input names a file for what it does there."""
    if context.decisions:
        yield Data("checkpoint", str(context.checkpoint))
        return
    notes = Path(str(context.input))
    yield Text("a \ud800 surrogate")
    yield ToolResult("never called", [math.nan, math.inf])
    try:
        yield Finish("early") if notes.stem == "finish" else Approvals([ApprovalRequest("c", "t", {})], state=math.nan)
        notes.write_text("after")
    finally:
        with notes.open("a") as file:
            file.write("finally")


agents = [odd, stubborn, leaving]
