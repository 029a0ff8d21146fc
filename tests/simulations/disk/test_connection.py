"""apsw with the face of `sqlite3`: what production code sees of it."""

import sqlite3
from collections.abc import Iterator

import pytest

from reattach.infrastructure.driver import domain_error
from reattach.simulations.disk.connection import Connection
from reattach.simulations.disk.platter import Platter
from reattach.simulations.disk.vfs import Drive
from reattach.simulations.tape import Tape


@pytest.fixture
def disk() -> Platter:
    return Platter(Tape.replay({}), sector_bytes=4096)


@pytest.fixture
def connection(disk: Platter) -> Iterator[Connection]:
    connection = Connection(Drive(disk, safe=True), "x.db")
    connection.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b)")
    yield connection
    connection.end()


def test_statements_rows_and_counts(connection: Connection) -> None:
    assert connection.execute("INSERT INTO t VALUES (:a, :b)", {"a": 1, "b": b"x", "more": 0}).rowcount == 1
    assert connection.executemany("INSERT INTO t VALUES (?, ?)", [(2, "y"), (3, None)]).rowcount == 1
    assert connection.execute("UPDATE t SET b = 'z' WHERE a > 1").rowcount == 2
    assert connection.execute("UPDATE t SET b = 'z' WHERE a > 9").rowcount == 0
    assert list(connection.execute("SELECT * FROM t")) == [(1, b"x"), (2, "z"), (3, "z")]
    cursor = connection.execute("SELECT a FROM t")
    assert (cursor.fetchone(), cursor.fetchall(), cursor.fetchone()) == ((1,), [(2,), (3,)], None)


def test_transactions(connection: Connection) -> None:
    commits = connection.commits
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO t VALUES (1, 2)")
    assert connection.in_transaction
    connection.close()
    assert not connection.in_transaction
    assert connection.execute("SELECT * FROM t").fetchall() == []
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("COMMIT")
    assert connection.commits == commits + 1


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("INSERT INTO t VALUES (1, 2), (1, 3)", sqlite3.IntegrityError),
        ("SELECT * FROM nothing", sqlite3.OperationalError),
        ("COMMIT", sqlite3.OperationalError),
    ],
)
def test_errors_are_those_of_sqlite3(connection: Connection, statement: str, kind: type[sqlite3.Error]) -> None:
    commits = connection.commits
    with pytest.raises(kind) as caught:
        connection.execute(statement)
    assert type(caught.value) is kind
    assert connection.commits == commits


def test_a_damaged_file_is_damaged(disk: Platter, connection: Connection) -> None:
    connection.end()
    file = disk.open("x.db")
    disk.change(file, 0, b"no database at all, but long enough to be one" * 9)
    again = Connection(Drive(disk, safe=True), "x.db")
    with pytest.raises(sqlite3.DatabaseError) as caught:
        again.execute("SELECT * FROM t")
    assert domain_error(caught.value).code == "record_damaged"
    again.end()
