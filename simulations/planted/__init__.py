"""Planted bugs: known mistakes, put into production code for the length of a world, to see whether anybody notices.

Each is an edit of a function's source, written here and not there: production code has no flags for bugs. An edit that
does not fit any more fails loudly, so that the list grows old with the code.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from .bugs import BUGS
from .edit import Edit, Planted, edited

__all__ = ["BUGS", "Edit", "Planted", "planted_bug"]

BY_NAME: Mapping[str, Planted] = {bug.name: bug for bug in BUGS}
"""All of them."""


@contextmanager
def planted_bug(name: str | None) -> Iterator[None]:
    """Inside, production code has this bug. Raises KeyError for a bug that nobody knows."""
    if name is None:
        yield
        return
    with edited(BY_NAME[name].edits):
        yield
