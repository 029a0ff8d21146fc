"""The library's recorder on our tables: what its Application and Repository store and load facts through.

It takes no table lock and sends no notifications. Inside one of our transactions it writes on the transaction's
connection (`within`); used by itself it has one connection and one transaction a call.
"""

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from uuid import UUID

from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    Notification,
    OperationalError,
    StoredEvent,
    Subscription,
)

from ..codec import OUTPUT_TOPIC, Row, checksum, damaged, uuid_in
from ..driver import ERRORS, TAKEN, Connection
from . import feed_statements as feed_sql
from . import statements as sql

POLL_S: Final = 0.02
"""Seconds between two looks of a subscription for what other processes recorded."""

ALL: Final = 2**62
"""More events than a stream has."""

PAGE: Final = 500
"""Notifications a subscription reads at once."""


class Recorder(ApplicationRecorder):
    """Facts and output in one table; everything but output is in the feed."""

    _begin = "BEGIN IMMEDIATE"

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._own: Connection | None = None
        self._lock = threading.RLock()
        self.recorded = threading.Condition()

    def close(self) -> None:
        """Close the connection of its own, if there is one."""
        with self._lock:
            if self._own is not None:
                self._own.close()
                self._own = None

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        *,
        within: Connection | None = None,
        frames: int = 1,
        epoch: int = 0,
        outline: bytes | None = None,
        **kwargs: Any,
    ) -> Sequence[int] | None:
        """Insert all or nothing; the feed ids, in order. Raises IntegrityError for a version that is taken.

        `frames`, `epoch` and `outline` are those of each event. With `within` the caller's transaction decides.
        """
        if not stored_events:
            return []
        rows = [_parameters(event, frames, epoch, outline) for event in stored_events]
        if within is not None:
            return self._insert(within, rows)
        with self._transaction() as connection:
            ids = self._insert(connection, rows)
        with self.recorded:
            self.recorded.notify_all()
        return ids

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
        facts: bool = False,
    ) -> Sequence[StoredEvent]:
        """A stream's events, checked. Only its facts if asked: they are few, however long the stream."""
        given = {name: value for name, value in (("gt", gt), ("lte", lte)) if value is not None}
        statement = sql.select_events(bounds=tuple(given), desc=desc, facts=facts)
        stream = _bytes(originator_id)
        parameters = given | {"stream_id": stream, "limit": ALL if limit is None else limit}
        rows = (Row._make(row) for row in self._select(statement, parameters))
        return [StoredEvent(originator_id, row.version, row.topic, _checked(stream, row)) for row in rows]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """The feed from `start` to `stop`, at most `limit` of it, of these topics (none: all)."""
        bounds = {"gte" if inclusive_of_start else "gt": start, "lte": stop}
        given = {name: value for name, value in bounds.items() if value is not None}
        names = {f"topic{n}": topic for n, topic in enumerate(topics)}
        rows = self._select(
            feed_sql.select_feed(bounds=tuple(given), topics=len(names)), {**given, **names, "limit": limit}
        )
        return [
            Notification(uuid_in(stream), row.version, row.topic, _checked(stream, row), feed_id)
            for feed_id, stream, *columns in rows
            for row in (Row._make(columns),)
        ]

    def max_notification_id(self) -> int | None:
        """The feed's last id, or None if nothing was recorded."""
        last: int | None = self._select(feed_sql.SELECT_FEED_END, {})[0][0]
        return last

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> "PollingSubscription":
        """The feed after `gt`, for ever: woken by what this recorder inserts, looking for the rest."""
        return PollingSubscription(self, gt, topics)

    def _insert(self, connection: Connection, rows: list[dict[str, Any]]) -> list[int]:
        fed = [row for row in rows if row["topic"] != OUTPUT_TOPIC]
        # The counter is a row, not max(feed_id): an id is never given twice, also when its event was deleted.
        connection.execute(feed_sql.ADVANCE_FEED, {"count": len(fed)})
        (last,) = connection.execute(sql.SELECT_META, {"key": "feed"}).fetchone()
        for feed_id, row in enumerate(fed, last - len(fed) + 1):
            row["feed_id"] = feed_id
        try:
            connection.executemany(feed_sql.INSERT_EVENT, rows)
        except TAKEN as error:
            raise IntegrityError(str(error)) from error
        return [row["feed_id"] for row in fed]

    @contextmanager
    def _transaction(self) -> Generator[Connection]:
        with self._lock:
            try:
                connection = self._connection()
                connection.execute(self._begin)
                try:
                    yield connection
                    connection.execute("COMMIT")
                finally:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
            except ERRORS as error:
                raise OperationalError(str(error)) from error

    def _select(self, statement: str, parameters: dict[str, Any]) -> list[Any]:
        with self._lock:
            try:
                return self._connection().execute(statement, parameters).fetchall()
            except ERRORS as error:
                raise OperationalError(str(error)) from error

    def _connection(self) -> Connection:
        if self._own is None:
            self._own = self._connect()
        return self._own


class PollingSubscription(Subscription[Recorder]):
    """Notifications as they are recorded."""

    def __init__(self, recorder: Recorder, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder, gt, topics)
        self._page: list[Notification] = []

    def stop(self) -> None:
        """End the iteration, also one that waits in another thread."""
        with self._recorder.recorded:
            super().stop()
            self._recorder.recorded.notify_all()

    def __next__(self) -> Notification:
        while not self._has_been_stopped:
            if self._page:
                notification = self._page.pop()
                self._last_notification_id = notification.id
                return notification
            with self._recorder.recorded:
                self._page = self._look()
                if not self._page and not self._has_been_stopped:
                    self._recorder.recorded.wait(POLL_S)
        raise StopIteration

    def _look(self) -> list[Notification]:
        last = self._last_notification_id or 0
        page = self._recorder.select_notifications(last, PAGE, topics=self._topics, inclusive_of_start=False)
        return list(reversed(page))


def _parameters(event: StoredEvent, frames: int, epoch: int, outline: bytes | None) -> dict[str, Any]:
    stream = _bytes(event.originator_id)
    row = Row(event.originator_version, frames, epoch, event.topic, event.state)
    columns = row._replace(checksum=checksum(stream, row))._asdict()
    return columns | {"stream_id": stream, "outline": outline, "feed_id": None}


def _checked(stream: bytes, row: Row) -> bytes:
    if checksum(stream, row) != row.checksum:
        raise damaged(str(uuid_in(stream)), row.version)
    return row.state


def _bytes(originator_id: UUID | str) -> bytes:
    return originator_id.bytes if isinstance(originator_id, UUID) else UUID(originator_id).bytes
