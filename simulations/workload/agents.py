"""The agents of a world besides the script: one that can't be started again, one for remote workers, one that talks."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final

from ...adapters.agents.loading import FunctionAgent
from ...adapters.agents.remote import RemoteAgent
from ...adapters.agents.script import ScriptAgent
from ...domain.agent import Agent, Checkpoint, Context, Output, Text

_WORDS: Final = tuple(f"word {n} of turn {{turn}} " for n in range(12))
_NUMBERS: Final = tuple(f"{n} " for n in range(8))
SPOKEN: Final[Mapping[str, Sequence[str]]] = {"talk": _WORDS, "fragile": _WORDS, "count": _NUMBERS}
"""What these agents say, whatever they are asked."""


async def talk(context: Context) -> AsyncIterator[Output]:
    """Words without any checkpoint: after a take-over it begins again."""
    for word in _WORDS:
        yield Text(word.format(turn=context.turn))
        await asyncio.sleep(0.15)


async def count(context: Context) -> AsyncIterator[Output]:
    """Numbers with a checkpoint after each: a take-over goes on where it was."""
    done = context.checkpoint if isinstance(context.checkpoint, int) else 0
    for n, number in enumerate(_NUMBERS[done:], done):
        yield Text(number)
        await asyncio.sleep(0.2)
        yield Checkpoint(n + 1)


def world_agents(others: Mapping[str, Agent], *, elsewhere: bool) -> Mapping[str, Agent]:
    """All of them and the others, by name. `elsewhere`: remote workers run theirs, not the service."""
    agents: list[Agent] = [
        ScriptAgent(),
        FunctionAgent("talk", talk),
        FunctionAgent("count", count),
        FunctionAgent("fragile", talk, on_take_over="fail"),
        RemoteAgent("remote") if elsewhere else FunctionAgent("remote", talk),
        RemoteAgent("hands"),
    ]
    return {agent.name: agent for agent in agents} | dict(others)
