"""The synchronous core of group commit: a group of works becomes one transaction, a failure hurts only its own work.

No thread and no event loop here: the committer runs it on a thread of its own, a simulator may run it in line.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...domain.errors import ReattachError, StoreUnavailable
from ...domain.ports import Append, Clock, News, Transaction
from ..codec import Codec
from ..driver import ERRORS, Connection, domain_error
from ..sqlite import data_version
from .appends import Places, append_output
from .library import Library
from .projections import folds_at
from .transaction import StoreTransaction

Work = Append | Callable[[Transaction], Any]
"""Output to append, or what to do in a transaction."""


@dataclass(slots=True)
class Result:
    """What became of one work: its value, or the error its author gets.

    `again`: it was undone because others were in its way; done again it may work.
    """

    value: Any = None
    error: Exception | None = None
    again: bool = False


@dataclass(slots=True)
class Written:
    """What became of a group: a result for each work, and the news of what is now durable, in log order."""

    results: list[Result]
    news: list[News] = field(default_factory=list[News])


class GroupWriter(ABC):
    """Writes groups. Owns the one connection that writes; opens it again after it broke."""

    def __init__(self, library: Library, codec: Codec) -> None:
        self._library = library
        self._codec = codec
        self._places = Places()

    @abstractmethod
    def open(self) -> None:
        """Open the connection now. Raises StoreUnavailable or RecordDamaged."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection. What is not committed is undone."""

    @abstractmethod
    def write(self, group: Sequence[Work]) -> Written:
        """Do the group's works, durable on return. Errors are results; nothing is raised.

        If a transaction can't begin or commit, the authors of its works get the error and nothing of it is news.
        """

    @abstractmethod
    def foreign_commits(self) -> bool:
        """Whether another connection, of any process, has committed since the last time this was asked."""

    @abstractmethod
    def _begun(self, connection: Connection) -> StoreTransaction:
        """What a work is handed, inside the open transaction of this connection."""

    def _transact(self, connection: Connection, work: Callable[[Transaction], Any], news: list[News]) -> Result:
        transaction = self._begun(connection)
        value = work(transaction)
        news += transaction.news
        return Result(value)


class Writer(GroupWriter):
    """Writes groups to SQLite, each in one transaction that nobody else writes beside."""

    def __init__(self, connect: Callable[[], Connection], library: Library, codec: Codec, clock: Clock) -> None:
        super().__init__(library, codec)
        self._connect = connect
        self._clock = clock
        self._connection: Connection | None = None
        self._seen: int | None = None

    def open(self) -> None:
        """Open the connection now. Raises StoreUnavailable or RecordDamaged."""
        try:
            self._seen = data_version(self._opened())
        except ERRORS as error:
            raise domain_error(error) from error

    def close(self) -> None:
        """Close the connection. What is not committed is undone."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def write(self, group: Sequence[Work]) -> Written:
        """Run the group in one transaction, durable on return. Errors are results; nothing is raised.

        If the transaction can't begin or commit, every author gets the error and nothing is news.
        """
        try:
            connection = self._opened()
            connection.execute("BEGIN IMMEDIATE")
            written = Written([])
            for work in group:
                written.results.append(self._one(connection, work, written.news))
            connection.execute("COMMIT")
        except ERRORS as error:
            self.close()
            return Written([Result(error=domain_error(error)) for _ in group])
        except BaseException:
            self.close()
            raise
        return written

    def foreign_commits(self) -> bool:
        """Whether another connection, of any process, has committed since the last time this was asked.

        The number that SQLite keeps for this connection ignores its own commits: the answer is exact. After a
        broken connection it is True once.
        """
        try:
            version = data_version(self._opened())
        except ERRORS as error:
            raise domain_error(error) from error
        changed = version != self._seen
        self._seen = version
        return changed

    def _opened(self) -> Connection:
        if self._connection is None:
            self._connection = self._connect()
            self._seen = None
        return self._connection

    def _one(self, connection: Connection, work: Work, news: list[News]) -> Result:
        folds = False
        if isinstance(work, Append):
            folds = folds_at(work.batch.first_seq, work.batch.data)
            if not folds and work.batch.checkpoint is None:
                # The fence's statement is all there is, and undoes itself: no savepoint on the hot path.
                try:
                    return self._append(connection, work, news, folds=False)
                except ReattachError as error:
                    return Result(error=error)
        connection.execute("SAVEPOINT work")
        try:
            if isinstance(work, Append):
                result = self._append(connection, work, news, folds=folds)
            else:
                result = self._transact(connection, work, news)
        except Exception as error:
            if isinstance(error, ERRORS) and not connection.in_transaction:
                raise  # SQLite has rolled the whole group back
            connection.execute("ROLLBACK TO work")
            connection.execute("RELEASE work")
            # Whatever a work raises is its author's, and undoes only that work.
            return Result(error=domain_error(error) if isinstance(error, ERRORS) else error)
        connection.execute("RELEASE work")
        return result

    def _append(self, connection: Connection, append: Append, news: list[News], *, folds: bool) -> Result:
        committed = append_output(connection, self._codec, self._places, append, folds=folds)
        if committed is not None:
            news.append(committed)
        return Result()

    def _begun(self, connection: Connection) -> StoreTransaction:
        return StoreTransaction(connection, self._library, self._codec, self._clock.now())


def unavailable(group: Sequence[Work], detail: str) -> Written:
    """The answer to a group that was not tried."""
    return Written([Result(error=StoreUnavailable(detail)) for _ in group])
