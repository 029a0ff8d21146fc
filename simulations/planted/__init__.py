"""Planted bugs: known mistakes, put into production code for the length of a world, to see whether anybody notices.

Each is an edit of a function's source, written here and not there: production code has no flags for bugs. An edit that
does not fit any more fails loudly, so that the list grows old with the code.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from .bugs import BUGS
from .edit import Edit, Planted, edited

__all__ = ["BUGS", "Edit", "Planted", "planted_bug", "store_of"]

BY_NAME: Mapping[str, Planted] = {bug.name: bug for bug in BUGS}
"""All of them."""


def store_of(name: str | None) -> str | None:
    """What the worlds of this bug run on; None if it shows on any store. Raises KeyError."""
    return BY_NAME[name].store if name is not None else None


@contextmanager
def planted_bug(name: str | None) -> Generator[None]:
    """Inside, production code has this bug. Raises KeyError for a bug that nobody knows."""
    if name is None:
        yield
        return
    with edited(BY_NAME[name].edits):
        yield
