"""The database under the chaos: where it is, and what only this kind of database can suffer."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Protocol

from sqlalchemy import URL, make_url

from ...adapters.cli.exits import UsageError
from ...infrastructure.eventstore import is_postgres
from .proxy import Link, Target

POSTGRES_PORT: Final = 5432
"""Where PostgreSQL listens unless its URL says otherwise."""

_SEVER: Final = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


class Database(Protocol):
    """Where everything is kept. `faults` names what can be done to it, `links` are the ways to it."""

    @property
    def url(self) -> str:
        """What the judge is given."""
        ...

    @property
    def faults(self) -> Sequence[str]:
        """Of `sever` (its connections are cut) and `restart` (it goes away and comes back)."""
        ...

    def opened(self, host: str) -> contextlib.AbstractAsyncContextManager[tuple[str, Mapping[str, Link]]]:
        """What processes are given, and links that can be cut in front of it, which listen on this address."""
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

    @asynccontextmanager
    async def opened(self, host: str) -> AsyncGenerator[tuple[str, Mapping[str, Link]], None]:
        """The file, and nothing in between."""
        yield self.url, {}

    async def sever(self) -> int:
        """Nothing to cut."""
        return 0

    async def restart(self) -> None:
        """Nothing to restart."""


class Postgres:
    """A server. Processes reach it through a link; `restart` is a shell command that restarts it at once."""

    def __init__(self, url: str, restart: str | None) -> None:
        self.url = url
        self._restart = restart
        self.faults: Sequence[str] = ("sever", "restart") if restart else ("sever",)

    @asynccontextmanager
    async def opened(self, host: str) -> AsyncGenerator[tuple[str, Mapping[str, Link]], None]:
        """Over TCP, also if the server has a socket file only."""
        url = make_url(self.url)
        link = Link(lambda: target_of(url))
        await link.open(host)
        try:
            through = url.set(host=host, port=link.port, query={k: v for k, v in url.query.items() if k != "host"})
            yield through.render_as_string(hide_password=False), {"database": link}
        finally:
            await link.close()

    async def sever(self) -> int:
        """pg_terminate_backend, for everybody."""
        return await asyncio.to_thread(self._sever)

    def _sever(self) -> int:
        import psycopg  # noqa: PLC0415  - an extra

        away = contextlib.suppress(psycopg.OperationalError)  # which may be, just now
        with away, psycopg.connect(self.url, autocommit=True) as connection:
            row: Any = connection.execute(_SEVER).fetchone()
            return int(row[0])
        return 0

    async def restart(self) -> None:
        """Raises UsageError if the command fails."""
        if self._restart is None:
            return
        process = await asyncio.create_subprocess_shell(
            self._restart, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        _, told = await process.communicate()
        if process.returncode:
            raise UsageError(f"{self._restart} exits with {process.returncode}: {told.decode(errors='replace')[-300:]}")


def database_of(url: str, restart: str | None = None) -> Database:
    """What this URL names. Raises UsageError."""
    if is_postgres(url):
        return Postgres(url, restart)
    if url.startswith("sqlite:"):
        return SqliteFile(url)
    raise UsageError(f"chaos knows no database like {url.partition(':')[0]}.")


def shown(url: str) -> str:
    """A database's URL as it may be printed: without its password."""
    return make_url(url).render_as_string()


def target_of(url: URL) -> Target:
    """Where the server listens: an address, or a socket file."""
    port, folder = url.port or POSTGRES_PORT, url.query.get("host")
    if isinstance(folder, str) and folder.startswith("/"):
        return str(Path(folder) / f".s.PGSQL.{port}")
    return url.host or "localhost", port
