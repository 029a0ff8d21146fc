"""Small limits: what a run of thousands of frames would reach is reached by one of twenty.

FoundationDB calls it buggify: constants that a test would never get to are drawn small in some of the worlds.
"""

import importlib
from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Final

from .tape import Tape

SMALL_P: Final = 0.25
"""Probability of each limit to be small."""

SMALL: Final = (
    ("adapters.http.feed", "WINDOW_FRAMES_MAX", 8),
    ("adapters.http.feed", "SEND_BYTES_MAX", 400),
    ("adapters.http.walk", "FIRST_PAGE_FRAMES", 2),
    ("adapters.http.walk", "PAGE_FRAMES", 3),
    ("adapters.http.broadcaster", "REFILL_FRAMES", 3),
    ("adapters.http.walk", "SNAPSHOT_MESSAGES", 2),
    ("adapters.worker", "HISTORY_MESSAGES_MAX", 3),
    ("domain.scribe", "TEXT_CHARS_MAX", 5),
    ("adapters.appender", "PENDING_FRAMES_MAX", 4),
    ("infrastructure.eventstore.committer", "QUEUE_MAX", 40),
)
"""Module, constant, and how small it may be."""

_PACKAGE: Final = __name__.removesuffix(".simulations.limits")


@contextmanager
def small_limits(tape: Tape) -> Generator[None]:
    """Inside, some of the limits are small."""
    with ExitStack() as stack:
        for _, name, _ in SMALL:
            if tape.chance(f"limit.{name}", SMALL_P):
                stack.enter_context(small(name))
        yield


def small(name: str) -> AbstractContextManager[None]:
    """Inside, this limit is small."""
    module, value = next((module, value) for module, limit, value in SMALL if limit == name)
    return _limited(importlib.import_module(f"{_PACKAGE}.{module}"), name, value)


@contextmanager
def _limited(module: Any, name: str, value: int) -> Generator[None]:
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)
