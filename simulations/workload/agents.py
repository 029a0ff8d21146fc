"""The agents of a world besides the script: one that can't be started again, one for remote workers, one that talks."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from ...adapters.agents.loading import FunctionAgent
from ...adapters.agents.script import ScriptAgent
from ...domain.agent import Agent, Checkpoint, Context, Output, Text


async def talk(context: Context) -> AsyncIterator[Output]:
    """Words without any checkpoint: after a take-over it begins again."""
    for n in range(12):
        yield Text(f"word {n} of turn {context.turn} ")
        await asyncio.sleep(0.15)


async def count(context: Context) -> AsyncIterator[Output]:
    """Numbers with a checkpoint after each: a take-over goes on where it was."""
    done = context.checkpoint if isinstance(context.checkpoint, int) else 0
    for n in range(done, 8):
        yield Text(f"{n} ")
        await asyncio.sleep(0.2)
        yield Checkpoint(n + 1)


def world_agents() -> Mapping[str, Agent]:
    """All of them, by name."""
    agents: list[Agent] = [
        ScriptAgent(),
        FunctionAgent("talk", talk),
        FunctionAgent("count", count),
        FunctionAgent("fragile", talk, on_take_over="fail"),
        FunctionAgent("remote", talk),
    ]
    return {agent.name: agent for agent in agents}
