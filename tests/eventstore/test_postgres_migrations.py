"""The schema on PostgreSQL: brought up by the command, one process at a time, and refused where it does not fit."""

import asyncio
import sys
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from reattach.domain.errors import ConfigurationError, StoreUnavailable
from reattach.infrastructure.eventstore import migrate_database, open_store
from reattach.infrastructure.eventstore.schema import metadata
from reattach.infrastructure.migrations import HEAD
from reattach.infrastructure.migrations.postgres import check_schema, migrate

from ..postgres import new_database
from .beside import url_on_postgres
from .world import ENVIRONMENT, ROOT, ManualClock, World

__all__ = ["url_on_postgres"]  # a fixture


@pytest.fixture
def empty() -> str:
    return new_database(migrated=False)


@pytest.fixture
def operator(url: str) -> Iterator["psycopg.Connection[tuple[Any, ...]]"]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def test_the_migrations_make_the_schema(url: str) -> None:
    """Nothing is left to do between what they made and what the code says; partial indexes and their conditions too."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
        made = connection.execute(sa.text("SELECT indexdef FROM pg_indexes WHERE indexname = 'runs_pending'")).scalar()
        assert "WHERE ((status = 'pending'::text) AND (queued = 0))" in str(made)
    engine.dispose()


def test_migrating_says_what_was_there(empty: str) -> None:
    assert migrate_database(empty) is None
    assert migrate_database(empty) == HEAD
    assert migrate_database(empty.replace("postgresql:", "postgresql+asyncpg:")) == HEAD


def test_an_older_schema_is_brought_up_and_keeps_what_it_holds(empty: str) -> None:
    from alembic import command  # noqa: PLC0415  - only here, as where it is used

    from reattach.infrastructure.migrations import configuration  # noqa: PLC0415  - as above

    engine = sa.create_engine(empty.replace("postgresql://", "postgresql+psycopg://"), poolclass=sa.NullPool)
    with engine.connect() as bound, bound.begin():
        config = configuration()
        config.attributes["connection"] = bound
        command.upgrade(config, "0001")
        bound.execute(sa.text("UPDATE meta SET value = 7 WHERE key = 'generation'"))
    engine.dispose()
    with pytest.raises(ConfigurationError, match=r"older schema \(0001, .* Run `reattach migrate --database "):
        check_schema(empty)
    assert migrate(empty) == "0001"
    check_schema(empty)
    with psycopg.connect(empty) as reader:
        assert reader.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone() == (7,)


@pytest.mark.anyio
async def test_a_store_does_not_start_on_another_schema(
    empty: str, url: str, operator: "psycopg.Connection[tuple[Any, ...]]"
) -> None:
    """Nor does it change anything; and it names the command that helps."""
    with pytest.raises(ConfigurationError, match=r"is empty\. Run `reattach migrate --database postgresql"):
        await open_store(empty).start()
    operator.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(ConfigurationError, match=r"newer version .* Run that version"):
        await open_store(url).start()
    with pytest.raises(ConfigurationError, match=r"newer version .* Run that version"):
        migrate(url)


@pytest.mark.anyio
async def test_several_processes_at_once_migrate_once(empty: str) -> None:
    code = "import sys, reattach.infrastructure.eventstore as e; print(e.migrate_database(sys.argv[1]))"
    started = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, empty, cwd=ROOT, env=ENVIRONMENT, stdout=asyncio.subprocess.PIPE
        )
        for _ in range(4)
    ]
    said = [(await process.communicate())[0].decode().strip() for process in started]
    assert sorted(said) == sorted(["None", HEAD, HEAD, HEAD])
    clock = ManualClock()
    async with open_store(empty, clock) as store:
        segment = await World(store, clock).running()
        assert await store.run_view(segment.run_id) is not None


@pytest.mark.anyio
async def test_a_migration_gives_up_rather_than_hold_servers_up(empty: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody has a table in use for ever: it fails, leaves all as it was, and is simply run again."""
    monkeypatch.setattr("reattach.infrastructure.migrations.postgres.LOCK_WAIT_MS", 50)
    with psycopg.connect(empty, autocommit=True) as operator:
        operator.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
        with operator.transaction():
            operator.execute("LOCK TABLE alembic_version")
            with pytest.raises(StoreUnavailable, match="lock timeout"):
                await asyncio.to_thread(migrate, empty)
        assert operator.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (1,)
    assert migrate(empty) is None
    check_schema(empty)


def test_the_database_of_something_else_is_left_alone(empty: str) -> None:
    with psycopg.connect(empty, autocommit=True) as operator:
        operator.execute("CREATE TABLE recipes (name TEXT)")
        for look in (migrate, check_schema):
            with pytest.raises(ConfigurationError, match="recipes"):
                look(empty)
        assert operator.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (1,)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        check_schema("postgresql://nobody@127.0.0.1:1/none")


def test_without_the_extra_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(_: str) -> None:
        return None

    monkeypatch.setattr("reattach.infrastructure.eventstore.find_spec", not_found)
    for refused in (open_store, migrate_database):
        with pytest.raises(ConfigurationError, match=r"pip install 'reattach\[postgres\]'") as told:
            refused("postgresql://ada:secret@localhost/x")
        assert "secret" not in str(told.value)
