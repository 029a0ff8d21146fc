"""Tails of stores of several sizes, without HTTP: `python -m tests.benchmarks.store_tails FILE --sessions N --turns N`.

One real turn is run; the others are its rows with other ids, so that a million messages take seconds. What is timed is
the store's whole tail, and beside it the bare statements that find the same rows, on a connection of their own.
"""

import argparse
import json
import random
import sqlite3
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

from reattach.adapters.agents.loading import load_agents
from reattach.adapters.composition import run, system_clock, system_ids
from reattach.domain.agent import Text
from reattach.domain.application import Application
from reattach.domain.identifiers import RUN_PREFIX, SESSION_PREFIX, SessionId, identifier, uuid_of
from reattach.domain.ports import Append, Store
from reattach.domain.requests import Limits, StartRun
from reattach.domain.scribe import Scribe
from reattach.infrastructure.eventstore import open_store

TENANT: Final = "default"
LIMIT: Final = 20
BATCH: Final = 20_000
"""Turns written in one transaction."""

NEWEST: Final = (
    "SELECT turn, attempt, ordinal, message_id, role, status, first_seq FROM messages WHERE session_id = ? "
    "ORDER BY turn DESC, attempt DESC, ordinal DESC LIMIT ?"
)
RAW: Final = (
    "SELECT body FROM parts WHERE session_id = ? AND (turn, attempt, ordinal) >= (?, ?, ?) "
    "ORDER BY turn, attempt, ordinal, part_index, chunk",
    "SELECT state, lease_until FROM sessions WHERE session_id = ?",
    "SELECT run_id, state FROM runs WHERE session_id = ? ORDER BY turn DESC, attempt DESC LIMIT 1",
    "SELECT version + frames - 1 FROM events WHERE stream_id = ? ORDER BY version DESC LIMIT 1",
)


TABLES: Final = {
    "sessions": "SELECT * FROM sessions",
    "runs": "SELECT * FROM runs",
    "events": "SELECT * FROM events",
    "messages": "SELECT * FROM messages",
    "parts": "SELECT * FROM parts",
}


class Copy(NamedTuple):
    """One turn of a session with so many of them."""

    session: UUID
    run_id: UUID
    turn: int
    turns: int


async def one_turn(store: Store) -> SessionId:
    """A session with one finished turn: a prompt and an answer."""
    agents = load_agents("tests.benchmarks.agents:bench")
    application = Application(store, system_ids(), agents, Limits())
    session = await application.create_session(TENANT, {})
    await application.start_run(TENANT, session.session_id, StartRun(agent="bench"))
    (assignment,) = await application.claim("bench", list(agents), 1)
    scribe = Scribe(assignment.run, assignment.outline, assignment.next_seq)
    scribe.write(Text("An answer of ordinary length, which says what it has to say. " * 5))
    scribe.finish()
    await store.append(Append(assignment.run.run_id, assignment.run.epoch, scribe.take()))
    await application.complete(assignment.run.run_id, assignment.run.epoch)
    return session.session_id


class Copies:
    """The one turn, again and again."""

    def __init__(self, file: str, template: SessionId) -> None:
        self._file = file
        self._template = template
        with closing(sqlite3.connect(file)) as connection:
            found = {table: connection.execute(statement) for table, statement in TABLES.items()}
            self._columns = {table: [column[0] for column in rows.description] for table, rows in found.items()}
            self._rows = {table: rows.fetchall() for table, rows in found.items()}
        self._run = UUID(bytes=self._rows["runs"][0][0])

    def write(self, sessions: int, turns: int) -> list[SessionId]:
        """So many sessions with so many turns each."""
        made = [uuid4() for _ in range(sessions)]
        copies = [Copy(session, uuid4(), turn, turns) for session in made for turn in range(1, turns + 1)]
        with closing(sqlite3.connect(self._file)) as connection:
            connection.execute("PRAGMA synchronous = OFF")
            for first in range(0, len(copies), BATCH):
                self._insert(connection, copies[first : first + BATCH])
                connection.commit()
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return [SessionId(identifier(SESSION_PREFIX, session)) for session in made]

    def _insert(self, connection: sqlite3.Connection, copies: Sequence[Copy]) -> None:
        for table, columns in self._columns.items():
            rows = [row for row in self._rows[table] if table != "events" or row[0] == self._run.bytes]
            wanted = [copy for copy in copies if table != "sessions" or copy.turn == copy.turns]
            marks = ", ".join("?" * len(columns))
            insert = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608  - our own names
            connection.executemany(insert, (self._copied(columns, row, copy) for copy in wanted for row in rows))

    def _copied(self, columns: Sequence[str], row: Sequence[Any], copy: Copy) -> list[Any]:
        session, run_id = copy.session.bytes, copy.run_id.bytes
        ids = {"session_id": session, "run_id": run_id, "stream_id": run_id, "turn": copy.turn, "feed_id": None}
        pairs = zip(columns, row, strict=True)
        return [ids[name] if name in ids else self._renamed(name, value, copy) for name, value in pairs]

    def _renamed(self, name: str, value: Any, copy: Copy) -> Any:
        if name not in ("state", "message_id"):
            return value
        text = value.decode() if isinstance(value, bytes) else value
        text = text.replace(self._template, identifier(SESSION_PREFIX, copy.session))
        text = text.replace(identifier(RUN_PREFIX, self._run), identifier(RUN_PREFIX, copy.run_id))
        text = text.replace('"turns":1', f'"turns":{copy.turns}')
        return text.encode() if isinstance(value, bytes) else text


def raw(connection: sqlite3.Connection, session_id: SessionId) -> int:
    """The same rows by bare statements; how many."""
    session = uuid_of(session_id).bytes
    found = connection.execute(NEWEST, (session, LIMIT)).fetchall()
    parts = connection.execute(RAW[0], (session, *found[-1][:3])).fetchall()
    connection.execute(RAW[1], (session,)).fetchall()
    ((last, _),) = connection.execute(RAW[2], (session,)).fetchall()
    connection.execute(RAW[3], (last,)).fetchall()
    return len(found) + len(parts) + 3


def timed(work: Callable[[SessionId], object], sessions: list[SessionId]) -> tuple[float, float]:
    """p50 and p99 in microseconds."""
    took: list[float] = []
    for session_id in sessions:
        begun = time.perf_counter()
        work(session_id)
        took.append((time.perf_counter() - begun) * 1e6)
    return statistics.median(took), statistics.quantiles(took, n=100)[98]


async def measure(file: str, sessions: int, turns: int, count: int) -> dict[str, Any]:
    """Tails of random sessions, ours and the bare statements' in turns."""
    async with open_store(f"sqlite:///{file}", system_clock()) as store:
        template = await one_turn(store)
    made = Copies(file, template).write(sessions, turns)
    async with open_store(f"sqlite:///{file}", system_clock()) as store:
        asked = random.Random(1).choices(made, k=count)
        tail = await store.tail(asked[0], LIMIT)
        assert tail is not None
        assert len(tail.messages) == min(LIMIT, 2 * turns)
        with closing(sqlite3.connect(file)) as bare:
            rows = raw(bare, asked[0])

            def ours(session_id: SessionId) -> None:
                with suppress(StopIteration):  # it never waits
                    store.tail(session_id, LIMIT).send(None)

            def bare_statements(session_id: SessionId) -> None:
                raw(bare, session_id)

            timed(ours, asked)
            timed(bare_statements, asked)
            bare_us, bare_p99_us = timed(bare_statements, asked)
            ours_us, ours_p99_us = timed(ours, asked)
    return {"p50": ours_us, "p99": ours_p99_us, "raw_p50": bare_us, "raw_p99": bare_p99_us, "rows": rows}


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--sessions", type=int, required=True)
    parser.add_argument("--turns", type=int, required=True)
    parser.add_argument("--count", type=int, default=1000)
    arguments = parser.parse_args()
    print(json.dumps(run(measure(arguments.file, arguments.sessions, arguments.turns, arguments.count))))


if __name__ == "__main__":
    main()
