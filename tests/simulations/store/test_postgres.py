"""Worlds on a real PostgreSQL, in lock-step with the model: equal to it, deterministic, and nobody else's business."""

from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest

from reattach.domain.identifiers import SessionId
from reattach.infrastructure.codec import Codec
from reattach.infrastructure.eventstore.postgres_reads import PostgresReads
from reattach.infrastructure.postgres import connect
from reattach.simulations import job
from reattach.simulations.planted import Edit
from reattach.simulations.planted.edit import edited
from reattach.simulations.store.postgres import PostgresCore, opened
from reattach.simulations.tape import Tape
from reattach.simulations.verdicts import Verdict
from reattach.simulations.world import run_world

from ...eventstore.world import ManualClock
from ...postgres import new_database
from ..simulating import Simulate, little, simulate

__all__ = ["little", "simulate"]  # fixtures

SEEDS = range(24)
COMPARED = range(3)
DIVERGING = range(20)
"""Seeds within which a bug of the store must have shown."""

TRANSACTION = "infrastructure.eventstore.postgres_writer:PostgresTransaction"
WRITER = "infrastructure.eventstore.postgres_writer:PostgresWriter"


@pytest.fixture(name="url", scope="module")
def url_of_a_database() -> str:
    return new_database()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_world_on_postgresql_keeps_every_promise(url: str, seed: int) -> None:
    """The first answer, news, error or row that is not the model's would end it; at the end all rows are compared."""
    report = run_world(Tape(seed), store=url, tracing=False)
    assert report.trouble is None
    assert report.violation is None
    assert report.commits > 0


@pytest.mark.parametrize("seed", COMPARED)
def test_the_same_seed_is_the_same_world_on_every_store(url: str, seed: int) -> None:
    told, on_postgres = (run_world(Tape(seed), store=store).trace.text().splitlines() for store in ("model", url))
    assert told[1:] == on_postgres[1:]
    assert '"store":"postgres"' in on_postgres[0]


@pytest.mark.parametrize(
    "bug",
    [
        Edit(f"{TRANSACTION}.renew", '"until": microseconds(until)', '"until": microseconds(until) + 1'),
        Edit(f"{WRITER}._follow_landed", "done.results[place] = Result()", "done.results[place] = Result(1)"),
    ],
    ids=["a lease is longer", "a result is another"],
)
def test_a_bug_of_the_postgresql_store_is_found(url: str, bug: Edit) -> None:
    with edited([bug]):
        found = next(filter(None, (run_world(Tape(seed), store=url, tracing=False).violation for seed in DIVERGING)))
    assert found.name == "store-divergence"


def test_what_else_is_in_the_database_is_not_touched(url: str) -> None:
    """Worlds have a schema of their own, and begin empty. The database's own tables stay as they are."""
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("INSERT INTO idempotency VALUES ('t', 'k', 'f', '', 0)")
        core = PostgresCore(ManualClock(), opened(url))
        core.write([lambda tx: tx.forget_answers(tx.now, 9)])
        assert list(core.durable()) == []
        core.end()
        assert other.execute("SELECT count(*) FROM idempotency").fetchone() == (1,)


def test_a_database_that_only_reads_keeps_its_statements_prepared(url: str) -> None:
    """The driver forgets all of them with each ROLLBACK: reads of one instant end otherwise."""
    connection = connect(url, reads=True)
    reads = PostgresReads(lambda: connection, Codec())
    session = SessionId("ses_" + "0" * 26)
    found: list[Sequence[object]] = []
    for _ in range(2):
        assert reads.tail(session, 9) is None
        prepared = "SELECT name FROM pg_prepared_statements WHERE statement LIKE '%sessions%'"
        found.append(connection.execute(prepared).fetchall())
    assert len(found[0]) == 1
    assert found[0] == found[1]
    reads.close()


def test_the_commands_take_a_database(simulate: Simulate, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "WORLD", ".world:run_world")
    done = simulate("run", "--seed", "3", "--store", "postgres", "--database", url, "--tape", "t.json")
    assert done.code == Verdict.CLEAN
    tape = Path("t.json").read_text(encoding="utf-8")
    assert '"store": "postgres"' in tape
    assert "postgresql:" not in tape
    assert simulate("replay", "t.json", "--database", url).code == Verdict.CLEAN
    refused = simulate("replay", "t.json")
    assert (refused.code, "--store postgres needs --database" in refused.err) == (Verdict.USAGE, True)
    hunted = simulate("hunt", "--seeds", "0:4", "--jobs", "2", "--store", "postgres", "--database", url)
    assert hunted.code == Verdict.CLEAN


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--store", "postgres"], "--store postgres needs --database postgresql://"),
        (["--store", "postgres", "--database", "sqlite:///x.db"], "--store postgres needs --database postgresql://"),
        (["--store", "dual", "--database", "postgresql:///x"], "--database is for --store postgres"),
        (["--store", "postgres", "--database", "postgresql:///x?host=/nowhere"], "The database can't be reached"),
    ],
)
def test_what_is_no_postgresql_is_refused(simulate: Simulate, arguments: list[str], said: str) -> None:
    done = simulate("run", "--seed", "1", *arguments)
    assert done.code == Verdict.USAGE
    assert said in done.err
