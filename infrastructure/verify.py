"""Verify: read everything that a database holds, and name what is torn, missing or altered. Writes nothing."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple

from pydantic import ValidationError

from ..domain.errors import ConfigurationError, RecordDamaged
from ..domain.identifiers import JOB_PREFIX, RUN_PREFIX, SESSION_PREFIX, identifier
from .codec import Codec, Row, uuid_in
from .driver import domain_error, domain_errors
from .eventstore import is_postgres
from .migrations import HEAD
from .sqlite import connect_reader, database_path
from .verify_sessions import Break, Facts, Reading, Recorded, in_rows

_STREAMS: Final = (
    (SESSION_PREFIX, "SELECT session_id, 1, version FROM sessions"),
    (JOB_PREFIX, "SELECT job_id, 1, version FROM jobs"),
    (RUN_PREFIX, "SELECT run_id, first_seq, version FROM runs"),
)
_RECORDS: Final = (
    "SELECT stream_id, version, frames, epoch, topic, state, checksum FROM events ORDER BY stream_id, version"
)


class Known(NamedTuple):
    """A stream as its state row knows it: the first seq that was not trimmed, the version of its last fact."""

    name: str
    first_seq: int
    version: int


def breaks(url: str, codec: Codec | None = None) -> Iterator[Break]:
    """Everything wrong in the database, stream by stream; nothing of a healthy one. A server may run meanwhile.

    Raises ConfigurationError (no such file, another schema), StoreUnavailable, and RecordDamaged for a file that
    SQLite itself can't read.
    """
    if is_postgres(url):
        yield from _on_postgres(url, codec or Codec())
        return
    path = database_path(url)
    if not path.exists():
        raise ConfigurationError(f"There is no database {path}.")
    try:
        with closing(connect_reader(path)) as connection:
            connection.execute("BEGIN")  # one moment of the store, however long it takes
            _check_schema(connection, url)
            yield from _breaks(connection, codec or Codec())
    except sqlite3.Error as error:
        raise domain_error(error) from error


def _on_postgres(url: str, codec: Codec) -> Iterator[Break]:
    from .migrations.postgres import check_schema  # noqa: PLC0415  - psycopg is an extra
    from .postgres import one_moment  # noqa: PLC0415  - as above

    check_schema(url)
    with domain_errors(), one_moment(url) as connection:
        yield from _breaks(connection, codec)


def _check_schema(connection: sqlite3.Connection, url: str) -> None:
    tables = connection.execute("SELECT name FROM sqlite_schema WHERE name = 'alembic_version'").fetchall()
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone() if tables else None
    if found != (HEAD,):
        raise ConfigurationError(f"{url} has another schema than {HEAD}; a server of this version brings it there.")


def _breaks(connection: Reading, codec: Codec) -> Iterator[Break]:
    known = {
        stream: Known(identifier(prefix, uuid_in(stream)), first_seq, version)
        for prefix, statement in _STREAMS
        for stream, first_seq, version in connection.execute(statement)
    }
    recorded: dict[bytes, Recorded] = {}
    for stream, group in groupby(connection.execute(_RECORDS), key=itemgetter(0)):
        state = known.pop(stream, None)
        rows = (Row._make(columns[1:]) for columns in group)
        if state is None:
            yield Break(f"stream {uuid_in(stream)}", next(rows).version, "belongs to no session, job or run")
            continue
        facts = Facts(state.name) if state.name.startswith(SESSION_PREFIX) else None
        found = list(_in_stream(codec, state, rows, facts))
        yield from found
        if facts is not None:
            yield from facts.broken_memory()
            recorded[stream] = facts.recorded(whole=not found)
    yield from (Break(state.name, state.first_seq, "is missing") for state in known.values())
    yield from in_rows(connection, recorded)


def _in_stream(codec: Codec, state: Known, rows: Iterator[Row], facts: Facts | None) -> Iterator[Break]:
    """What is wrong with a stream's records; a session's `facts` take in what is whole.

    The state row knows the last fact. Output after it, the end of a run that still runs, has no other witness.
    """
    expected = state.first_seq
    for row in rows:
        if row.version > expected:
            yield Break(state.name, expected, "is missing")
        elif row.version < expected and row.last >= state.first_seq:
            yield Break(state.name, row.version, "overlaps the record before it")
        expected = row.last + 1
        try:
            if state.name.startswith(RUN_PREFIX):
                codec.frames(state.name, row)
                continue
            line = codec.lines(state.name, row)[0]
            if facts is not None:
                facts.take(row.topic, row.version, line)
        except (RecordDamaged, ValidationError, KeyError):
            yield Break(state.name, row.version, "is torn or altered")
    if expected <= state.version:
        yield Break(state.name, expected, "is missing")
