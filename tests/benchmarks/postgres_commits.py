"""Bare appends on PostgreSQL: what one durable transaction costs there, with nothing around it.

Run as a process of its own: `python -m tests.benchmarks.postgres_commits KIND URL --writers N --count M`; KIND is
`connection` (one asynchronous connection, one INSERT after the other) or `library` (the recorder that the eventsourcing
library brings, a thread for each writer). It says `ready`, begins at a line on its stdin, and prints how many seconds
it took.
"""

import argparse
import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from uuid import uuid4

import psycopg
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from sqlalchemy import make_url

from .commits import FRAME

TABLE: Final = (
    b"CREATE TABLE IF NOT EXISTS bare (stream_id uuid, version bigint, state bytea, PRIMARY KEY (stream_id, version))"
)
INSERT: Final = b"INSERT INTO bare VALUES (%b, %b, %b)"
TOPIC: Final = "text.delta"
PATIENCE_S: Final = 60.0
"""Seconds a thread waits for its connection: the library locks the whole table for each insert."""


async def connection(url: str, count: int) -> float:
    """Seconds for so many INSERTs on one asynchronous connection, each a transaction."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=0) as raw:
        await raw.execute(TABLE)
        cursor, stream = raw.cursor(binary=True), uuid4()
        for version in range(-count // 10, 0):
            await cursor.execute(INSERT, (stream, version, FRAME))
        await asyncio.to_thread(_told_to_begin)
        begun = time.monotonic()
        for version in range(count):
            await cursor.execute(INSERT, (stream, version, FRAME))
        return time.monotonic() - begun


def library(url: str, writers: int, count: int) -> float:
    """Seconds for so many inserts of one event each, from so many threads. Each has a recorder with a connection."""
    with ThreadPoolExecutor(writers) as threads:
        recorders = list(threads.map(library_recorder, [url] * writers))
        list(threads.map(_insert, recorders, [range(-count // 10, 0)] * writers))
        _told_to_begin()
        begun = time.monotonic()
        list(threads.map(_insert, recorders, [range(count)] * writers))
        seconds = time.monotonic() - begun
    for recorder in recorders:
        recorder.datastore.close()
    return seconds


def library_recorder(url: str) -> PostgresApplicationRecorder:
    """The library's recorder; its table is to be created once."""
    place = make_url(url)
    host: Any = place.query.get("host", place.host)
    store = PostgresDatastore(
        place.database or "", host, place.port or 5432, place.username or "", "", connect_timeout=PATIENCE_S
    )
    return PostgresApplicationRecorder(store)


def _insert(recorder: PostgresApplicationRecorder, versions: range) -> None:
    stream = uuid4()
    for version in versions:
        recorder.insert_events([StoredEvent(stream, version, TOPIC, FRAME)])


def _told_to_begin() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def main() -> None:
    """Measure when told to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("connection", "library"))
    parser.add_argument("url")
    parser.add_argument("--writers", type=int, default=1)
    parser.add_argument("--count", type=int, required=True)
    arguments = parser.parse_args()
    if arguments.kind == "connection":
        print(asyncio.run(connection(arguments.url, arguments.count)))
    else:
        print(library(arguments.url, arguments.writers, arguments.count))


if __name__ == "__main__":
    main()
