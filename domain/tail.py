"""The tail's cut: which of the newest messages a client is shown, so that it never begins in the middle of a call."""

from collections.abc import Sequence
from typing import Any, Final

from .messages import Fields

EXTRA_FACTOR: Final = 4
"""A tail of N primary messages has at most this many times N in all."""


def is_primary(message: Fields) -> bool:
    """Whether it counts: everything but a message that holds results of calls and nothing else."""
    parts: Sequence[Fields] = message["parts"]
    return not parts or any(part["kind"] != "tool_result" for part in parts)


def cut(messages: Sequence[Fields], limit: int, asked: int) -> int | None:
    """The index at which the tail begins among the newest messages; None if older ones are needed to tell.

    `asked`: how many were asked for, which is `limit`, or EXTRA_FACTOR times that; with fewer, they are all there are.
    """
    start = begins(messages, limit)
    if start is not None:
        return start
    if len(messages) < asked:
        return 0
    return past_orphans(messages) if asked > limit else None


def begins(messages: Sequence[Fields], limit: int) -> int | None:
    """The index at which the tail of `limit` primary messages begins; None if older messages are needed to tell.

    `messages` are the newest ones, oldest first. The tail begins at the `limit`-th primary message from the end, or
    before it, where the calls are whose results stand at its head.
    """
    counted = 0
    for index in range(len(messages) - 1, -1, -1):
        counted += is_primary(messages[index])
        if counted >= limit and not orphans(messages[index:]):
            return index
    return None


def past_orphans(messages: Sequence[Fields]) -> int:
    """The index of the first message from which on none answers a call that was cut away."""
    start = 0
    while orphans(messages[start:]):
        start += 1
    return start


def orphans(messages: Sequence[Fields]) -> bool:
    """Whether the first message holds the result of a call that came before it."""
    if not messages:
        return False
    called: dict[Any, None] = {}
    for part in messages[0]["parts"]:
        if part["kind"] == "tool":
            called[part.get("tool_call_id")] = None
        elif part["kind"] == "tool_result" and part.get("tool_call_id") not in called:
            return True
    return False
