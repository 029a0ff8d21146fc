"""PostgreSQL behind a real pgbouncer that hands each transaction to another session: no setting of ours stays there."""

import atexit
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from functools import lru_cache
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import make_url

from reattach.domain.agent import Text
from reattach.infrastructure.eventstore import open_store
from reattach.infrastructure.postgres import connect

from ..postgres import UNPRIVILEGED, new_database
from .contract import StoreContract
from .contract_appends import AppendContract
from .contract_facts import FactContract
from .world import SIGNAL_TIMEOUT_S, Listening, ManualClock, OpenStore, World

PREPARED_SINCE = (1, 21)
"""The first pgbouncer that knows prepared statements of pooled transactions; older ones pool whole sessions here."""


OURS = ("statement_timeout", "lock_timeout", "default_transaction_read_only", "synchronous_commit", "enable_seqscan")


def pool_mode(bouncer: str) -> str:
    said = subprocess.run([bouncer, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"(\d+)\.(\d+)", said)
    assert version is not None, said
    return "transaction" if (int(version[1]), int(version[2])) >= PREPARED_SINCE else "session"


class Bouncer:
    """A pgbouncer before the server of a database."""

    def __init__(self, program: str, behind: str, directory: Path) -> None:
        url = make_url(behind)
        host = url.query.get("host") or url.host
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.mode = pool_mode(program)
        many = self.mode == "session"
        login = f"user={url.username}" + (f" password={url.password}" if url.password else "")
        settings = [
            "[databases]",
            f"* = host={host} port={url.port or 5432} {login}",
            "[pgbouncer]",
            "listen_addr = 127.0.0.1",
            f"listen_port = {self.port}",
            "unix_socket_dir =",
            "auth_type = any",
            f"pool_mode = {self.mode}",
            f"default_pool_size = {20 if many else 1}",  # of one session, whoever is next has what the last one left
            *(() if many else ("max_prepared_statements = 200",)),
        ]
        (directory / "pgbouncer.ini").write_text("\n".join(settings))
        who = ("-u", UNPRIVILEGED) if os.geteuid() == 0 else ()
        self.process = subprocess.Popen([program, "-q", *who, str(directory / "pgbouncer.ini")])
        until = time.monotonic() + SIGNAL_TIMEOUT_S
        while not self._answers():
            assert time.monotonic() < until, "pgbouncer does not answer"

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1.0).close()
        except OSError:
            return False
        return True

    def of(self, url: str) -> str:
        """The same database, by way of it."""
        there = make_url(url).set(host="127.0.0.1", port=self.port, query={})
        return there.render_as_string(hide_password=False)


@lru_cache
def bouncer() -> Bouncer:
    """One for all tests here."""
    program = shutil.which("pgbouncer")
    if program is None:
        pytest.skip("no pgbouncer here: apt-get install pgbouncer")
    directory = Path(tempfile.mkdtemp(prefix="reattach-pgbouncer-"))
    directory.chmod(0o755)
    started = Bouncer(program, new_database(), directory)
    atexit.register(shutil.rmtree, directory)
    atexit.register(started.process.kill)
    return started


@lru_cache
def database(_: Path) -> str:
    """The database that belongs to a test's directory, by way of the pgbouncer."""
    return bouncer().of(new_database())


class Pooled(StoreContract):
    def open(self, directory: Path, clock: ManualClock) -> OpenStore:
        return open_store(database(directory), clock)


@pytest.mark.anyio
class TestAppends(Pooled, AppendContract):
    pass


@pytest.mark.anyio
class TestFacts(Pooled, FactContract):
    pass


@pytest.mark.anyio
async def test_nothing_is_left_in_a_session(tmp_path: Path) -> None:
    """Read-only as a reader's, its commits unsafe as a bell's: whoever has it next would not know."""
    url = database(tmp_path)
    async with open_store(url, durability="relaxed") as store:
        hearing = Listening()
        store.listen(hearing)
        world = World(store, ManualClock())
        segment = await world.running()
        await segment.write(Text("a"))
        await world.log(segment.run_id)
        connection = connect(url, "relaxed")
        connection.begin(1_000)
        connection.commit()
        assert connection.pooled
        with psycopg.connect(url, autocommit=True) as stranger:
            asked = "SELECT name, setting FROM pg_settings WHERE source = 'session' AND name = ANY(%s)"
            assert stranger.execute(asked, ([*OURS],)).fetchall() == []
        assert connection.raw.execute(asked.encode(), ([*OURS],)).fetchall() == []
        connection.close()


@pytest.mark.anyio
async def test_what_others_commit_is_seen_by_looking(tmp_path: Path) -> None:
    """LISTEN in a session that is somebody else's next would tell them."""
    url = database(tmp_path)
    async with open_store(url) as store, open_store(url) as other:
        hearing = Listening()
        store.listen(hearing)
        await World(other, ManualClock()).pending()
        await hearing.hears()
        with psycopg.connect(url, autocommit=True) as stranger:
            assert stranger.execute("SELECT pg_listening_channels()").fetchall() == []
