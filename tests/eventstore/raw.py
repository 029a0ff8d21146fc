"""What stands in a database, read past the store."""

import sqlite3
from contextlib import closing

import psycopg

from reattach.infrastructure.codec import stream_id, uuid_in


def facts(url: str, stream: str) -> list[tuple[str, bytes]]:
    """The stream's records in the order of its log: topic and stored bytes."""
    select = "SELECT topic, state FROM events WHERE stream_id = {} ORDER BY version"
    if url.startswith("sqlite:///"):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as raw:
            return raw.execute(select.format("?"), (stream_id(stream),)).fetchall()
    with psycopg.connect(url) as connection:
        found = connection.execute(select.format("%s").encode(), (uuid_in(stream_id(stream)),))
        return [(topic, bytes(state)) for topic, state in found.fetchall()]
