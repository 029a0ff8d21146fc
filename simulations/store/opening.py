"""Which core a world runs on, by its name."""

from collections.abc import Callable
from typing import Final

from ...domain.ports import Clock
from ...infrastructure.eventstore import is_postgres
from .core import Core
from .dual import DualCore
from .inline import SqliteCore
from .model import ModelCore

POSTGRES: Final = "postgres"
"""What the store is called whose name is the URL of a PostgreSQL."""


def kind_of(store: str | None) -> str | None:
    """What is told of a store: its name, and of a PostgreSQL only that it is one."""
    return POSTGRES if store is not None and is_postgres(store) else store


def core_of(store: str, clock: Clock) -> tuple[Core, Callable[[], None]]:
    """The core called "model", "sqlite", "dual" or by the URL of a PostgreSQL, and what lets go of it.

    "dual" is SQLite in lock-step with the model; so is a PostgreSQL.
    """
    if store == "model":
        return ModelCore(clock), _nothing
    if is_postgres(store):
        from .postgres import PostgresCore, opened  # noqa: PLC0415  - psycopg is an extra

        postgres = PostgresCore(clock, opened(store))
        return DualCore(ModelCore(clock), postgres), postgres.end
    sqlite = SqliteCore(clock)
    return (sqlite if store == "sqlite" else DualCore(ModelCore(clock), sqlite)), sqlite.end


def _nothing() -> None:
    """A model holds nothing."""
