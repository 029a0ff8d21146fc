"""What a work was asked, read from the function itself.

A transaction's work is a closure: its free variables say which run, which epoch, which Idempotency-Key it was made
for. The oracle thus knows what was wanted without trusting what came of it. Tests pin the names it looks for.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType
from typing import Any, Final, cast

DEPTH_MAX: Final = 4
"""Functions within functions that are looked into."""

_CALLED: Final = (FunctionType, partial)


def circumstances(work: Callable[..., Any], depth: int = DEPTH_MAX) -> Mapping[str, Any]:
    """The free variables of a work and of the works it wraps, by name; the outermost wins."""
    if isinstance(work, partial):
        return {**circumstances(work.func, depth), **work.keywords}
    if not isinstance(work, FunctionType) or work.__closure__ is None or depth == 0:
        return {}
    inner: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for name, cell in zip(work.__code__.co_freevars, work.__closure__, strict=True):
        try:
            value = cell.cell_contents
        except ValueError:  # not bound yet
            continue
        if isinstance(value, _CALLED):
            inner |= circumstances(cast("Callable[..., Any]", value), depth - 1)
        else:
            own[name] = value
    return inner | own
