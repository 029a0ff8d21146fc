"""What there is to reach and to find: the marks of the oracle, and the planted bugs with what must catch them."""

from collections.abc import Mapping

from .oracle.marks import MARKS, SESSION_MARKS
from .planted import BUGS


def marks() -> Mapping[str, str]:
    """Every mark that a campaign should reach, and what it means."""
    return {**MARKS, **SESSION_MARKS}


def planted_bugs() -> dict[str, tuple[str, ...]]:
    """Every planted bug, and the promises whose checkers must catch it."""
    return {bug.name: bug.finds for bug in BUGS}
