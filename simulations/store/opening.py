"""Which core a world runs on, by its name."""

from collections.abc import Callable

from ...domain.ports import Clock
from .core import Core
from .dual import DualCore
from .inline import SqliteCore
from .model import ModelCore


def core_of(store: str, clock: Clock) -> tuple[Core, Callable[[], None]]:
    """The core called "model", "sqlite" or "dual", and what lets go of it."""
    if store == "model":
        return ModelCore(clock), _nothing
    sqlite = SqliteCore(clock)
    return (sqlite if store == "sqlite" else DualCore(ModelCore(clock), sqlite)), sqlite.end


def _nothing() -> None:
    """A model holds nothing."""
