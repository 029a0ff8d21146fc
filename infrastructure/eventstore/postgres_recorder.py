"""The library's recorder on PostgreSQL: the feed's places come from transactions, not from a counter."""

from typing import Any

from eventsourcing.persistence import IntegrityError

from ..codec import OUTPUT_TOPIC
from ..driver import TAKEN, Connection
from ..postgres import PostgresConnection
from . import feed_statements as sql
from .recorder import Recorder


class PostgresRecorder(Recorder):
    """Facts and output in one table; everything but output is in the feed. Takes no lock on any table."""

    _begin = "BEGIN"

    def _insert(self, connection: Connection, rows: list[dict[str, Any]]) -> list[int]:
        session = connection if isinstance(connection, PostgresConnection) else None
        assert session is not None, "the store's own connection"
        ids: list[int] = []
        try:
            for row in rows:
                if row["topic"] == OUTPUT_TOPIC:
                    session.execute(sql.INSERT_EVENT, row)
                    continue
                (feed_id,) = session.execute(sql.INSERT_FACT, row | {"number": session.next_fact()}).fetchone()
                ids.append(feed_id)
        except TAKEN as error:
            raise IntegrityError(str(error)) from error
        return ids
