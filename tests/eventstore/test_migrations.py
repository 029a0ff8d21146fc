"""The file is created and migrated on opening, by one of several at once; what is not ours is left alone."""

import asyncio
import os
import sqlite3
import stat
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

from reattach.domain.agent import EndPart, Text
from reattach.domain.errors import ConfigurationError, RecordDamaged, StoreUnavailable
from reattach.domain.request_config import EVERYTHING, RequestConfig
from reattach.infrastructure.clock import SystemClock
from reattach.infrastructure.eventstore import open_store
from reattach.infrastructure.eventstore.schema import metadata
from reattach.infrastructure.migrations import HEAD, configuration, migrate
from reattach.infrastructure.sqlite import connect_writer

from .world import ENVIRONMENT, ROOT, ManualClock, World


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.execute(statement)


def test_the_migrations_lead_to_the_schema(path: Path) -> None:
    """Alembic finds nothing left to do."""
    migrate(path)
    engine = sa.create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_tables_are_created_as_the_schema_says(path: Path, tmp_path: Path) -> None:
    """Down to the text of the SQL: Alembic compares neither partial indexes nor WITHOUT ROWID."""
    migrate(path)
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'schema.db'}")
    metadata.create_all(engine)
    engine.dispose()
    assert normal(path) == normal(tmp_path / "schema.db")


def normal(path: Path) -> set[str]:
    with closing(sqlite3.connect(path)) as raw:
        rows = raw.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL AND tbl_name != 'alembic_version'")
        return {" ".join(row[0].split()) for row in rows}


def test_the_schema_is_not_bound_to_sqlite() -> None:
    dialect = postgresql.dialect()
    for table in metadata.sorted_tables:
        assert str(CreateTable(table).compile(dialect=dialect))
        for index in table.indexes:
            assert str(CreateIndex(index).compile(dialect=dialect))
    assert "BYTEA" in str(CreateTable(metadata.tables["events"]).compile(dialect=dialect))
    assert "stream_id UUID" in str(CreateTable(metadata.tables["events"]).compile(dialect=dialect))


def test_head_is_the_newest_migration() -> None:
    assert ScriptDirectory.from_config(configuration()).get_current_head() == HEAD


def test_migrating_twice_changes_nothing(path: Path) -> None:
    migrate(path)
    before = path.read_bytes()
    migrate(path)
    assert path.read_bytes() == before


def test_a_new_file_reclaims_space_and_logs_ahead(path: Path) -> None:
    migrate(path)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA auto_vacuum").fetchone() == (2,)
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.anyio
async def test_several_threads_at_once_create_one_store(path: Path) -> None:
    await asyncio.gather(*(asyncio.to_thread(migrate, path) for _ in range(8)))
    assert await self_check(path)


def test_who_opens_a_new_file_waits_for_who_makes_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite itself doesn't wait before it switches to WAL, whatever its busy time-out is."""
    with closing(sqlite3.connect(path, isolation_level=None)) as maker:

        def commit(_seconds: float) -> None:
            maker.execute("COMMIT")

        maker.execute("CREATE TABLE made (by TEXT)")
        maker.execute("BEGIN IMMEDIATE")
        monkeypatch.setattr(time, "sleep", commit)
        with closing(connect_writer(path, "strict")) as waited:
            assert waited.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_who_opens_a_new_file_does_not_wait_for_ever(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as maker:
        maker.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            connect_writer(path, "strict", wait_ms=1)


@pytest.mark.anyio
async def test_several_processes_at_once_create_one_store(path: Path) -> None:
    code = "import sys, pathlib, reattach.infrastructure.migrations as m; m.migrate(pathlib.Path(sys.argv[1]))"
    started = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", code, str(path), cwd=ROOT, env=ENVIRONMENT)
        for _ in range(4)
    ]
    assert [await process.wait() for process in started] == [0] * 4
    assert await self_check(path)


async def self_check(path: Path) -> bool:
    async with open_store(f"sqlite:///{path}", SystemClock()) as store:
        segment = await World(store, ManualClock()).running()
        return await store.run_view(segment.run_id) is not None


@pytest.mark.anyio
async def test_a_newer_schema_is_refused(path: Path) -> None:
    """Before anything is written, and saying what to do."""
    migrate(path)
    execute(path, "UPDATE alembic_version SET version_num = '9999'")
    before = path.read_bytes()
    with pytest.raises(ConfigurationError, match=r"newer version .* Run that version, or restore a backup"):
        await open_store(f"sqlite:///{path}", SystemClock()).start()
    assert path.read_bytes() == before


def test_an_older_schema_is_brought_up(path: Path) -> None:
    """From an empty history, as a first start leaves it when it is killed in between."""
    migrate(path)
    with closing(sqlite3.connect(path)) as raw:
        tables = [row[0] for row in raw.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        for table in tables:
            raw.execute("DELETE FROM alembic_version" if table == "alembic_version" else f"DROP TABLE {table}")
        raw.commit()
    migrate(path)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT value FROM meta ORDER BY key").fetchall() == [(0,), (1,)]


SECOND_VERSION = (
    "ALTER TABLE messages DROP COLUMN config",
    "CREATE TABLE by_run AS SELECT r.run_id, p.ordinal, p.part_index, p.chunk, p.body FROM parts p "
    "JOIN runs r USING (session_id, turn, attempt)",
    "DROP TABLE parts",
    "ALTER TABLE by_run RENAME TO parts",
    "UPDATE alembic_version SET version_num = '0002'",
)


def messages_in(path: Path) -> list[tuple[object, ...]]:
    """Each part with its message."""
    with closing(sqlite3.connect(path)) as raw:
        return raw.execute(
            "SELECT m.session_id, m.turn, m.attempt, m.ordinal, p.part_index, p.chunk, m.status, m.config, p.body "
            "FROM messages m JOIN parts p USING (session_id, turn, attempt, ordinal)"
        ).fetchall()


@pytest.mark.anyio
async def test_messages_of_the_second_version_are_brought_over(path: Path) -> None:
    """Their parts come to lie by session, and they know how their run is shown."""
    async with open_store(f"sqlite:///{path}", SystemClock()) as store:
        world = World(store, ManualClock())
        for config in (EVERYTHING, RequestConfig(tool_output="omit"), RequestConfig(kinds=("text",))):
            segment = await world.running(config=config)
            await segment.write(Text("Eight oranges"), EndPart(), Text("and two lemons."), EndPart())
            await world.end(segment, "complete")
    before = messages_in(path)
    assert len({row[-2] for row in before}) == 3
    for statement in SECOND_VERSION:
        execute(path, statement)
    migrate(path)
    assert messages_in(path) == before
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT count(*) FROM sqlite_schema WHERE name LIKE '%by_run%'").fetchone() == (0,)


def test_a_migration_happens_whole_or_not_at_all(path: Path) -> None:
    """It fails half-way, at a name that is taken; nothing of it stays."""
    execute(path, "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    execute(path, "CREATE VIEW runs AS SELECT 1")
    before = normal(path)
    with pytest.raises(StoreUnavailable, match="runs"):
        migrate(path)
    assert normal(path) == before


def test_the_database_of_something_else_is_left_alone(path: Path) -> None:
    execute(path, "CREATE TABLE recipes (name TEXT)")
    with pytest.raises(ConfigurationError, match="recipes"):
        migrate(path)
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (1,)


@pytest.mark.parametrize("content", [b"no database at all" * 100, b"\0" * 4096])
def test_a_file_that_is_no_database_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises((ConfigurationError, RecordDamaged), match=r"file"):
        migrate(path)
    assert path.read_bytes() == content


@pytest.mark.parametrize("database", ["missing/store.db", "."])
def test_a_place_where_no_file_can_be_is_refused(tmp_path: Path, database: str) -> None:
    with pytest.raises(ConfigurationError, match="can't be opened"):
        migrate(tmp_path / database)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("folder", [stat.S_IRUSR | stat.S_IXUSR, stat.S_IRWXU])
def test_a_read_only_file_is_refused(path: Path, folder: int) -> None:
    migrate(path)
    path.chmod(stat.S_IRUSR)
    path.parent.chmod(folder)
    with pytest.raises(ConfigurationError, match="readonly"):
        migrate(path)
    path.parent.chmod(stat.S_IRWXU)


@pytest.mark.parametrize(
    "url", ["mysql://localhost/x", "sqlite://", "sqlite:///:memory:", "sqlite:///x.db?mode=ro", "reattach.db", ""]
)
def test_an_unsupported_url_is_refused_with_what_is_supported(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"sqlite:///relative\.db"):
        open_store(url, SystemClock())


def test_a_password_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as refused:
        open_store("mysql://ada:secret@localhost/x", SystemClock())
    assert "secret" not in str(refused.value)
