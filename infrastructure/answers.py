"""A psycopg connection whose statements are answered in time, or not at all.

`statement_timeout` is the server's: it doesn't help where the server, or a proxy before it, has fallen silent.
"""

from collections.abc import Generator
from typing import Any, Final, TypeVar

import psycopg
from psycopg import pq

T = TypeVar("T")

ANSWER_TIMEOUT_S: Final = 10.0
"""Seconds until a statement without an answer takes its connection for dead; more than any of ours may take."""

LOOK_S: Final = 0.1
"""Seconds between two looks whether Ctrl-C was pressed; the driver's own figure."""


class TimedConnection(psycopg.Connection[tuple[Any, ...]]):
    """Raises psycopg.OperationalError, and is closed, where nothing has come for `ANSWER_TIMEOUT_S`."""

    def wait(self, gen: Generator[Any, Any, T], interval: float = LOOK_S, timeout: float | None = None) -> T:
        """Consume a generator of the driver's, as psycopg.Connection.wait."""
        try:
            return super().wait(gen, interval, timeout or ANSWER_TIMEOUT_S)
        except psycopg.OperationalError as error:
            if self.pgconn.transaction_status != pq.TransactionStatus.ACTIVE:
                raise
            self.pgconn.finish()
            raise psycopg.OperationalError(f"no answer came for {ANSWER_TIMEOUT_S:g} s") from error
