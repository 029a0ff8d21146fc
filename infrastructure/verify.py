"""Verify: read everything that a database holds, and name what is torn, missing or altered. Writes nothing."""

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple, Protocol

from pydantic import ValidationError

from ..domain.errors import ConfigurationError, RecordDamaged
from ..domain.identifiers import JOB_PREFIX, RUN_PREFIX, SESSION_PREFIX, SessionId, identifier
from ..domain.memory import Memory, first_break
from ..domain.session_facts import MemoryAppended
from .codec import Codec, Row, uuid_in
from .driver import domain_error, domain_errors
from .eventstore import is_postgres
from .migrations import HEAD
from .sqlite import connect_reader, database_path

_STREAMS: Final = (
    (SESSION_PREFIX, "SELECT session_id, 1, version FROM sessions"),
    (JOB_PREFIX, "SELECT job_id, 1, version FROM jobs"),
    (RUN_PREFIX, "SELECT run_id, first_seq, version FROM runs"),
)
_RECORDS: Final = (
    "SELECT stream_id, version, frames, epoch, topic, state, checksum FROM events ORDER BY stream_id, version"
)
_MEMORIES: Final = "SELECT session_id, sequence, body FROM memories ORDER BY session_id, sequence"


class Break(NamedTuple):
    """What is wrong in a stream, and at which seq. Of a memory `seq` is its sequence number."""

    stream: str
    seq: int
    what: str


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


class Reading(Protocol):
    """What a verification asks of a connection."""

    def execute(self, statement: str, /) -> Iterable[Any]: ...


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
    remembered: dict[bytes, int] = {}
    for stream, group in groupby(connection.execute(_RECORDS), key=itemgetter(0)):
        state = known.pop(stream, None)
        rows = (Row._make(columns[1:]) for columns in group)
        if state is None:
            yield Break(f"stream {uuid_in(stream)}", next(rows).version, "belongs to no session, job or run")
            continue
        entries: list[Memory] = []
        yield from _in_stream(codec, state, rows, entries)
        remembered[stream] = len(entries)
        yield from _in_memory(state.name, entries)
    yield from (Break(state.name, state.first_seq, "is missing") for state in known.values())
    yield from _in_rows(connection, remembered)


def _in_stream(codec: Codec, state: Known, rows: Iterator[Row], entries: list[Memory]) -> Iterator[Break]:
    """What is wrong with a stream's records; its memories go into `entries`.

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
            else:
                line = codec.lines(state.name, row)[0]
                if row.topic == MemoryAppended.topic:
                    entries.append(Memory.of(MemoryAppended.model_validate_json(line)))
        except (RecordDamaged, ValidationError):
            yield Break(state.name, row.version, "is torn or altered")
    if expected <= state.version:
        yield Break(state.name, expected, "is missing")


def _in_memory(name: str, entries: list[Memory]) -> Iterator[Break]:
    sequence = first_break(SessionId(name), entries) if entries else None
    if sequence is not None:
        yield Break(name, sequence, "breaks the chain of its memory")


def _in_rows(connection: Reading, remembered: dict[bytes, int]) -> Iterator[Break]:
    """The memories as they are served: the same chain, and as many as were recorded."""
    for stream, group in groupby(connection.execute(_MEMORIES), key=itemgetter(0)):
        name = identifier(SESSION_PREFIX, uuid_in(stream))
        entries: list[Memory] = []
        for _, sequence, body in group:
            try:
                entries.append(Memory.model_validate_json(body))
            except ValidationError:
                yield Break(name, sequence, "is a memory that can't be read")
        yield from _in_memory(name, entries)
        if len(entries) < remembered.pop(stream, 0):
            yield Break(name, len(entries) + 1, "is a memory that is missing")
    for stream, count in remembered.items():
        if count:
            yield Break(identifier(SESSION_PREFIX, uuid_in(stream)), 1, "is a memory that is missing")
