"""Group commit on PostgreSQL: many processes write, so a work may meet others' locks, and a connection may end.

A group's works wait for others' locks only as long as others' commits take. Where one meets a lock that is held for
longer, the group is committed without it, and it is done alone, where it may wait: transactions that hold the locks of
several works wait for nobody, so no two of them can wait for each other. Whatever was not committed for reasons that
are nobody's fault is done again; after a COMMIT without an answer nothing is, because nobody knows what became of it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from ...domain.identifiers import RunId
from ...domain.ports import Append, Clock, News
from ..codec import Codec, microseconds, moment, stream_id
from ..driver import Connection, Contended, DriverError, Lost, Taken, domain_error
from ..postgres import LOCK_TIMEOUT_MS, PostgresConnection
from . import postgres_statements as sql
from .appends import follow_output, output_row, refuse
from .library import Library
from .projections import folds_at, run_of
from .transaction import StoreTransaction
from .writer import GroupWriter, Result, Work, Written

SAVEPOINTS_MAX: Final = 60
"""Works with a savepoint in one transaction: PostgreSQL keeps 64 of them at hand, more slow down everybody's reads."""

ATTEMPTS_MAX: Final = 3
"""Times something that was undone through nobody's fault is tried, before its authors hear of it."""


@dataclass(slots=True)
class _Round:
    """What one transaction did: results by the works' places in the group, and the news. `busy`: it stopped early."""

    results: dict[int, Result] = field(default_factory=dict[int, Result])
    news: list[News] = field(default_factory=list[News])
    busy: bool = False


class PostgresTransaction(StoreTransaction):
    """What PostgreSQL says in one statement where SQLite says it row by row."""

    def renew(self, worker: str, held: Sequence[tuple[RunId, int]], until: datetime) -> Sequence[RunId]:
        """Prolong the leases this worker still holds at these epochs; the runs it does not hold any more."""
        leases = {
            "run_id": [UUID(bytes=stream_id(run_id)) for run_id, _ in held],
            "epoch": [epoch for _, epoch in held],
            "holder": worker,
            "until": microseconds(until),
        }
        kept = {run_of(row[0]) for row in self._connection.execute(sql.RENEW_LEASES, leases).fetchall()}
        return [run_id for run_id, _ in held if run_id not in kept]


class PostgresWriter(GroupWriter):
    """Writes groups to PostgreSQL. Without a clock the server's own judges leases: all processes have it in common."""

    def __init__(
        self, connect: Callable[[], PostgresConnection], library: Library, codec: Codec, clock: Clock | None
    ) -> None:
        super().__init__(library, codec)
        self._connect = connect
        self._clock = clock
        self._connection: PostgresConnection | None = None
        self._began: datetime | None = None

    def open(self) -> None:
        """Open the connection now. Raises StoreUnavailable."""
        try:
            self._opened()
        except DriverError as error:
            raise domain_error(error) from error

    def close(self) -> None:
        """Close the connection. What is not committed is undone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def foreign_commits(self) -> bool:
        """Nobody asks: the server's notifications say whose they are."""
        return False

    def write(self, group: Sequence[Work]) -> Written:
        """Do the group's works in as few transactions as it takes, durable on return."""
        results: dict[int, Result] = {}
        news: list[News] = []
        attempts, alone = 0, False
        while left := [place for place in range(len(group)) if place not in results]:
            chosen = left[:1] if alone else left
            try:
                done = self._round(group, chosen)
            except DriverError as error:  # nothing was committed
                attempts += 1
                again = isinstance(error, Lost | Contended) and self._connection is not None
                if not isinstance(error, Contended):
                    self.close()
                if again and attempts < ATTEMPTS_MAX:
                    continue
                done = _Round({place: Result(error=domain_error(error)) for place in chosen})
            except BaseException:
                self.close()
                raise
            results |= done.results
            news += done.news
            alone, attempts = done.busy, attempts * (not done.results)
        return Written([results[place] for place in range(len(group))], news)

    def _round(self, group: Sequence[Work], places: Sequence[int]) -> _Round:
        """Do these works in one transaction. Raises DriverError if nothing was committed."""
        connection = self._opened()
        only = len(places) == 1
        self._began = moment(connection.begin(LOCK_TIMEOUT_MS if only else None))
        done = _Round()
        try:
            if only:
                done.results[places[0]] = self._alone(connection, group[places[0]], done.news)
            else:
                self._together(connection, group, places, done)
        except DriverError as error:
            if not isinstance(error, Lost):
                connection.execute("ROLLBACK")
            raise
        if only and done.results[places[0]].error is not None:
            connection.execute("ROLLBACK")
            return done
        try:
            connection.commit()
        except DriverError as error:
            self.close()
            return _Round({place: Result(error=domain_error(error)) for place in done.results}, busy=done.busy)
        return done

    def _alone(self, connection: PostgresConnection, work: Work, news: list[News]) -> Result:
        """It may wait for others, and what it does not finish is undone with the transaction."""
        try:
            return self._do(connection, work, news)
        except (Contended, Taken) as error:
            raise Contended(domain_error(error)) from error
        except Lost:
            raise
        except Exception as error:  # noqa: BLE001  - whatever a work raises is its author's
            return _refused(error)

    def _together(
        self, connection: PostgresConnection, group: Sequence[Work], places: Sequence[int], done: _Round
    ) -> None:
        savepoints = 0
        for stretch in _stretches(group, places):
            landed = self._landed(connection, group, stretch)
            for place in stretch:
                append = group[place]
                if isinstance(append, Append) and append.run_id in landed:
                    done.news.append(follow_output(connection, self._codec, self._places, append, folds=False))
                    done.results[place] = Result()
                    continue
                savepoints += 1
                if savepoints > SAVEPOINTS_MAX or not self._guarded(connection, group, place, done):
                    done.busy = savepoints <= SAVEPOINTS_MAX
                    return

    def _landed(
        self, connection: PostgresConnection, group: Sequence[Work], stretch: Sequence[int]
    ) -> frozenset[RunId]:
        """The runs of the stretch whose output has landed, all in one statement."""
        rows: list[dict[str, Any]] = []
        for place in stretch:
            work = group[place]
            if isinstance(work, Append) and is_plain(work) and work.batch.data:
                rows.append(output_row(self._codec, work))
        return _append(connection, rows) if rows else frozenset()

    def _guarded(self, connection: PostgresConnection, group: Sequence[Work], place: int, done: _Round) -> bool:
        """Do it so that its failure undoes nothing else; False if it has to wait for somebody, and was not done."""
        connection.execute("SAVEPOINT work")
        try:
            done.results[place] = self._do(connection, group[place], done.news)
        except Lost:
            raise
        except Exception as error:  # noqa: BLE001  - whatever a work raises is its author's, and undoes only that work
            connection.execute("ROLLBACK TO work")
            connection.execute("RELEASE work")
            if isinstance(error, Contended | Taken):
                return False
            done.results[place] = _refused(error)
            return True
        connection.execute("RELEASE work")
        return True

    def _do(self, connection: PostgresConnection, work: Work, news: list[News]) -> Result:
        if not isinstance(work, Append):
            return self._transact(connection, work, news)
        rows = [output_row(self._codec, work)]
        if not _append(connection, rows):
            # Somebody had the run in hand: once they are done, it either lands or is refused.
            connection.execute(sql.AWAIT_RUN, {"id": rows[0]["stream_id"]})
            if not _append(connection, rows):
                refuse(connection, self._codec, work)
                return Result()
        folds = folds_at(work.batch.first_seq, work.batch.data)
        news.append(follow_output(connection, self._codec, self._places, work, folds=folds))
        return Result()

    def _begun(self, connection: Connection) -> StoreTransaction:
        now = self._clock.now() if self._clock is not None else self._began
        assert now is not None, "a transaction has begun"
        return PostgresTransaction(connection, self._library, self._codec, now)

    def _opened(self) -> PostgresConnection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection


def is_plain(append: Append) -> bool:
    """Whether nothing has to land together with its frames."""
    return append.batch.checkpoint is None and not folds_at(append.batch.first_seq, append.batch.data)


def _stretches(group: Sequence[Work], places: Sequence[int]) -> Iterator[list[int]]:
    """The works in their order, plain appends of different runs together: one statement sees none of its own rows."""
    stretch: list[int] = []
    runs: dict[RunId, None] = {}
    for place in places:
        work = group[place]
        if isinstance(work, Append) and is_plain(work):
            if work.run_id in runs:
                yield stretch
                stretch, runs = [], {}
            stretch.append(place)
            runs[work.run_id] = None
        else:
            if stretch:
                yield stretch
            yield [place]
            stretch, runs = [], {}
    if stretch:
        yield stretch


def _append(connection: PostgresConnection, rows: list[dict[str, Any]]) -> frozenset[RunId]:
    """Append them where their fences let them; the runs to which something was appended."""
    # In the order of their keys: two processes with the same stale runs must not meet crosswise.
    rows.sort(key=lambda row: row["stream_id"])
    arrays: dict[str, list[Any]] = {name: [row[name] for row in rows] for name in rows[0]}
    arrays["stream_id"] = [UUID(bytes=stream) for stream in arrays["stream_id"]]
    for name in ("state", "outline"):  # of bytes proper the server would have to be told the type
        arrays[name] = [bytearray(value) for value in arrays[name]]
    return frozenset(run_of(row[0]) for row in connection.execute(sql.APPEND_OUTPUTS, arrays).fetchall())


def _refused(error: Exception) -> Result:
    return Result(error=domain_error(error) if isinstance(error, DriverError) else error)
