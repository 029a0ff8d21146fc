"""Group commit on PostgreSQL: many processes write, so a work may meet others' locks, and a connection may end.

A work waits for others' locks about as long as others' commits take. Where it would be longer, its group is committed
without it and it is done again, with whatever has arrived since: transactions that hold the locks of several works wait
for nobody for long, so two of them can't hold each other up. What a connection took with it before COMMIT was sent is
done again, too; after a COMMIT without an answer nothing is, because nobody knows what became of it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from ...domain.errors import ReattachError
from ...domain.identifiers import RunId
from ...domain.ports import Answer, Append, Clock, News
from ..codec import Codec, microseconds, moment, stream_id
from ..driver import Connection, Contended, DriverError, Lost, Taken, domain_error
from ..postgres import LOCK_TIMEOUT_MS, PostgresConnection, array, integers
from . import postgres_statements as sql
from . import statements
from .appends import follow_output, output_row, refuse
from .library import Library
from .projections import folds_at, run_of
from .transaction import StoreTransaction
from .writer import GroupWriter, Result, Work, Written

SAVEPOINTS_MAX: Final = 60
"""Works with a savepoint in one transaction: PostgreSQL keeps 64 of them at hand, more slow down everybody's reads."""


@dataclass(slots=True)
class _Round:
    """What one transaction did: results by the works' places in the group, and the news."""

    results: dict[int, Result] = field(default_factory=dict[int, Result])
    news: list[News] = field(default_factory=list[News])


class PostgresTransaction(StoreTransaction):
    """What PostgreSQL says in one statement where SQLite says it row by row.

    `unanswered` are the keys that had no answer when the work asked. Another transaction may answer them meanwhile.
    """

    def __init__(
        self, connection: Connection, library: Library, codec: Codec, now: datetime, *, by_server: bool
    ) -> None:
        super().__init__(connection, library, codec, now)
        self._by_server = by_server
        self.unanswered: list[tuple[str, str]] = []

    def answer(self, tenant: str, key: str) -> Answer | None:
        """What this tenant's Idempotency-Key was answered with, if it was used."""
        known = super().answer(tenant, key)
        if known is None:
            self.unanswered.append((tenant, key))
        return known

    def _one(self, statement: str, parameters: dict[str, Any]) -> Any:
        """The first row. What is locked is as late as it is locked: this process may have stood still since BEGIN."""
        row = super()._one(statement, parameters)
        if self._by_server and row is not None and statement in (statements.LOCK_RUN, statements.LOCK_SESSION):
            self._now = max(self._now, moment(row[1]) or self._now)
        return row

    def renew(self, worker: str, held: Sequence[tuple[RunId, int]], until: datetime) -> Sequence[RunId]:
        """Prolong the leases this worker still holds at these epochs; the runs it does not hold any more."""
        leases = {
            "run_id": array("uuid", [stream_id(run_id) for run_id, _ in held]),
            "epoch": integers(epoch for _, epoch in held),
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
        self._transaction: PostgresTransaction | None = None

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
        at_once, lost = _is_plain_stretch(group), False
        while left := [place for place in range(len(group)) if place not in results]:
            try:
                done = self._at_once(group) if at_once else self._round(group, left)
            except Lost as error:
                at_once, again = False, self._connection is not None and not lost
                lost = True
                self.close()
                if again:
                    continue  # nothing was committed, or appends that are recognized when they come again
                done = _Round({place: _undone(error) for place in left})
            except DriverError as error:
                done = _Round({place: _undone(error) for place in left})
            except BaseException:
                self.close()
                raise
            results |= done.results
            news += done.news
            at_once = False
        return Written([results[place] for place in range(len(group))], news)

    def _at_once(self, group: Sequence[Work]) -> _Round:
        """Appends of different runs in one statement that is its own transaction; those that landed."""
        if self._opened().pooled:  # outside a transaction it would have no time-outs
            return self._round(group, range(len(group)))
        done = _Round()
        self._follow_landed(self._opened(), group, range(len(group)), done)
        return done

    def _round(self, group: Sequence[Work], places: Sequence[int]) -> _Round:
        """Do these works in one transaction, or the first of them. Raises DriverError if nothing was committed."""
        connection = self._opened()
        alone = len(places) == 1
        self._began = moment(connection.begin(LOCK_TIMEOUT_MS if alone else None))
        done = _Round()
        try:
            if alone:
                done.results[places[0]] = self._do(connection, group[places[0]], done.news)
            else:
                self._together(connection, group, places, done)
        except Lost:
            raise
        except Exception as error:
            connection.execute("ROLLBACK")
            if alone:
                return _Round({places[0]: self._undone(connection, error)})
            raise
        try:
            connection.commit()
        except DriverError as error:
            self.close()
            return _Round(dict.fromkeys(done.results, Result(error=domain_error(error))))
        return done

    def _together(
        self, connection: PostgresConnection, group: Sequence[Work], places: Sequence[int], done: _Round
    ) -> None:
        savepoints = 0
        for stretch in _stretches(group, places):
            self._follow_landed(connection, group, stretch, done)
            for place in stretch:
                if place in done.results:
                    continue
                savepoints += 1
                if savepoints > SAVEPOINTS_MAX:
                    return
                done.results[place] = self._guarded(connection, group[place], done.news)

    def _follow_landed(
        self, connection: PostgresConnection, group: Sequence[Work], stretch: Sequence[int], done: _Round
    ) -> None:
        """Append what is plain in the stretch, all in one statement, and say what has landed."""
        appends = {place: work for place in stretch if isinstance(work := group[place], Append) and is_plain(work)}
        if not appends:
            return
        landed = _append(connection, [output_row(self._codec, append) for append in appends.values()])
        for place, append in appends.items():
            if append.run_id in landed:
                done.news.append(follow_output(connection, self._codec, self._places, append, folds=False))
                done.results[place] = Result()

    def _guarded(self, connection: PostgresConnection, work: Work, news: list[News]) -> Result:
        """Do it so that its failure undoes nothing else."""
        connection.execute("SAVEPOINT work")
        try:
            result = self._do(connection, work, news)
        except Lost:
            raise
        except Exception as error:  # noqa: BLE001  - whatever a work raises is its author's, and undoes only that work
            connection.execute("ROLLBACK TO work")
            connection.execute("RELEASE work")
            return self._undone(connection, error)
        connection.execute("RELEASE work")
        return result

    def _undone(self, connection: PostgresConnection, error: Exception) -> Result:
        """As `_undone`; a refusal is none where meanwhile another has answered the key: done again, it finds that."""
        asked, self._transaction = self._transaction, None
        if isinstance(error, ReattachError) and asked is not None:
            for tenant, key in asked.unanswered:
                if connection.execute(statements.SELECT_ANSWER, {"tenant": tenant, "key": key}).fetchone() is not None:
                    return Result(error=error, again=True)
        return _undone(error)

    def _do(self, connection: PostgresConnection, work: Work, news: list[News]) -> Result:
        self._transaction = None
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
        self._transaction = PostgresTransaction(
            connection, self._library, self._codec, now, by_server=self._clock is None
        )
        return self._transaction

    def _opened(self) -> PostgresConnection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection


def is_plain(append: Append) -> bool:
    """Whether there are frames, and nothing that has to land together with them."""
    batch = append.batch
    return batch.checkpoint is None and bool(batch.data) and not folds_at(batch.first_seq, batch.data)


def _is_plain_stretch(group: Sequence[Work]) -> bool:
    runs = {work.run_id for work in group if isinstance(work, Append) and is_plain(work)}
    return len(runs) == len(group)


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
    arrays = {
        "stream_id": array("uuid", [row["stream_id"] for row in rows]),
        "topic": array("text", [row["topic"].encode() for row in rows]),
    }
    for name in ("state", "outline"):
        arrays[name] = array("bytea", [row[name] for row in rows])
    for name in ("version", "frames", "epoch", "checksum"):
        arrays[name] = integers(row[name] for row in rows)
    return frozenset(run_of(row[0]) for row in connection.execute(sql.APPEND_OUTPUTS, arrays).fetchall())


def _undone(error: Exception) -> Result:
    """The result of a work that has left nothing. Beside others it may fare better the next time."""
    meant = domain_error(error) if isinstance(error, DriverError) else error
    return Result(error=meant, again=isinstance(error, Contended | Taken))
