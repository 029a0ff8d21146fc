"""An agent that never says the same thing twice: what two attempts said can be told apart, piece by piece."""

import asyncio
import secrets
from collections.abc import AsyncGenerator

from reattach import Context, Output, Text

PIECES = 60
PAUSE_S = 0.03


async def fickle(context: Context) -> AsyncGenerator[Output, None]:
    word = f"{secrets.token_hex(4)}-{context.epoch}"
    for _ in range(PIECES):
        yield Text(f"{word} ")
        await asyncio.sleep(PAUSE_S)


agents = {"fickle": fickle}
