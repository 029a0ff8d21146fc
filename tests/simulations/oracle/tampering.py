"""Tampered histories: each is a real one with one thing wrong, and the violation that must come of it."""

from collections.abc import Callable
from typing import Final

from .recording import Recording

Tamper = Callable[[Recording], None]

TAMPERS: Final[list[tuple[str, Tamper]]] = []
"""The violation and the function that brings it about in a recording."""


def breaks(name: str) -> Callable[[Tamper], Tamper]:
    """The decorated function makes a recording that breaks this promise."""

    def register(tamper: Tamper) -> Tamper:
        TAMPERS.append((name, tamper))
        return tamper

    return register
