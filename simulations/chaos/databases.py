"""The database under the chaos: where it is, and what only this kind of database can suffer."""

from collections.abc import Sequence
from typing import Protocol

from ...adapters.cli.exits import UsageError


class Database(Protocol):
    """Where everything is kept. `faults` names what can be done to it."""

    @property
    def url(self) -> str:
        """What processes are given."""
        ...

    @property
    def faults(self) -> Sequence[str]:
        """Of `sever` (its connections are cut) and `restart` (it goes away and comes back)."""
        ...

    async def sever(self) -> int:
        """Cut every connection; how many there were."""
        ...

    async def restart(self) -> None:
        """Stop at once, and start again."""
        ...


class SqliteFile:
    """One file. It has no connections that could be cut, and is never away."""

    faults: Sequence[str] = ()

    def __init__(self, url: str) -> None:
        self.url = url

    async def sever(self) -> int:
        """Nothing to cut."""
        return 0

    async def restart(self) -> None:
        """Nothing to restart."""


def database_of(url: str) -> Database:
    """What this URL names. Raises UsageError."""
    if url.startswith("sqlite:"):
        return SqliteFile(url)
    raise UsageError(f"chaos knows no database like {url.partition(':')[0]}.")
