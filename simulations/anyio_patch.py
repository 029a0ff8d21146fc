"""anyio on the simulated loop. It runs unmodified but for two things, which are patched while a world runs.

- `to_thread.run_sync`, behind Starlette's synchronous endpoints, file responses and uploads, runs inline.
- A cancel scope's children are kept in order. anyio keeps them in a set of scopes, hashed by address, and cancels in
  the order of that set. (Its sets of tasks are fine: see `tasks.py`.)

Both touch what is private to anyio, so the versions are bounded and the shape is checked.
"""

from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from importlib.metadata import version
from typing import Any, Final

import anyio
from anyio._backends import _asyncio as backend

from .guard import replaced

TESTED: Final = ((4, 10), (4, 16))
"""The first and the last minor version that `tests/simulations/test_determinism.py` was run with."""


class UntestedAnyio(RuntimeError):
    """This version of anyio was never simulated: install one of the tested range, or extend `TESTED`, after running
    tests/simulations/test_determinism.py with the new one."""


class OrderedSet(dict[Any, None]):
    """As much of a set as a cancel scope needs, in order of insertion."""

    __slots__ = ()

    def add(self, item: object) -> None:
        """Put it at the end, unless it is in already."""
        self[item] = None

    def discard(self, item: object) -> None:
        """Take it out if it is in."""
        self.pop(item, None)

    def remove(self, item: object) -> None:
        """Take it out. Raises KeyError."""
        del self[item]


@contextmanager
def patched_anyio() -> Generator[None]:
    """Inside, anyio is deterministic and has no threads. Raises UntestedAnyio. May be nested."""
    check_version(_installed())
    check_shape()
    scope: Any = backend.CancelScope
    initialize: Callable[..., None] = scope.__init__

    def initialize_in_order(self: Any, *args: Any, **options: Any) -> None:
        initialize(self, *args, **options)
        self._child_scopes = OrderedSet()

    with replaced(
        (scope, "__init__", initialize_in_order),
        (backend.AsyncIOBackend, "run_sync_in_worker_thread", classmethod(_run_inline)),
    ):
        yield


def check_version(installed: str) -> None:
    """Raise UntestedAnyio unless this version of anyio was tested."""
    major, minor = (int(part) for part in installed.split(".")[:2])
    first, last = TESTED
    if not first <= (major, minor) <= last:
        bounds = " to ".join(".".join(map(str, bound)) for bound in TESTED)
        raise UntestedAnyio(
            f"anyio {installed} was never simulated, {bounds} were: install one of those, or run "
            "tests/simulations/test_determinism.py with it and extend TESTED in simulations/anyio_patch.py"
        )


def check_shape() -> None:
    """Raise UntestedAnyio unless what is patched is there, and is what it was."""
    scope: Any = backend.CancelScope()
    if type(getattr(scope, "_child_scopes", None)) not in {set, OrderedSet}:
        raise UntestedAnyio("anyio's CancelScope keeps its children in another way than when it was tested")
    if not hasattr(backend.AsyncIOBackend, "run_sync_in_worker_thread"):
        raise UntestedAnyio("anyio runs its threads in another way than when it was tested")


@cache
def _installed() -> str:
    """Asking once is enough, and takes a millisecond."""
    return version("anyio")


async def _run_inline(
    cls: type[backend.AsyncIOBackend],
    func: Callable[..., Any],
    args: tuple[Any, ...],
    abandon_on_cancel: bool = False,
    limiter: anyio.CapacityLimiter | None = None,
) -> Any:
    """Run it here, at a turn of its own, within the limit that threads have."""
    checkpoint: Callable[[], Awaitable[None]] = cls.checkpoint
    await checkpoint()
    async with limiter or cls.current_default_thread_limiter():
        return copy_context().run(func, *args)
