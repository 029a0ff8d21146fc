"""Tails of stores of several sizes, without a socket: `python -m tests.benchmarks.store_tails --directory D SIZES`.

One real turn is run in each store; the others are its rows with other ids, so that a million messages take seconds.
What is timed is the store's whole tail, the client's (the whole service but its socket), and beside them the bare
statements that find the same rows, on a connection of their own that is set up as the store's. The ways take turns
every few tails and the sizes every round: what the machine does otherwise befalls them alike.
"""

import argparse
import json
import random
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, closing
from itertools import islice
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

from reattach.adapters.agents.loading import load_agents
from reattach.adapters.client import Client, InProcess
from reattach.adapters.composition import load_settings, run, running, system_clock, system_ids
from reattach.domain.agent import Text
from reattach.domain.application import Application
from reattach.domain.identifiers import RUN_PREFIX, SESSION_PREFIX, SessionId, identifier, uuid_of
from reattach.domain.ports import Append, Store
from reattach.domain.requests import Limits, StartRun
from reattach.domain.scribe import Scribe
from reattach.infrastructure.eventstore import open_store

from .databases import Database, PostgresDatabase, SqliteDatabase

TENANT: Final = "default"
LIMIT: Final = 20
ROUNDS: Final = 7
BATCH: Final = 20_000
"""Turns written in one transaction."""

SLICE: Final = 25
"""Tails of one way before it is the next one's turn."""

NEWEST: Final = (
    "SELECT turn, attempt, ordinal, message_id, role, status, first_seq FROM messages WHERE session_id = ? "
    "ORDER BY turn DESC, attempt DESC, ordinal DESC LIMIT ?"
)
PARTS: Final = (
    "SELECT body FROM parts WHERE session_id = ? AND (turn, attempt, ordinal) >= (?, ?, ?) "
    "ORDER BY turn, attempt, ordinal, part_index, chunk"
)
SESSION: Final = "SELECT state, lease_until FROM sessions WHERE session_id = ?"
LAST_RUN: Final = "SELECT run_id, state FROM runs WHERE session_id = ? ORDER BY turn DESC, attempt DESC LIMIT 1"
HEAD: Final = "SELECT version + frames - 1 FROM events WHERE stream_id = ? ORDER BY version DESC LIMIT 1"

TABLES: Final = ("sessions", "runs", "events", "messages", "parts")


class Copy(NamedTuple):
    """One turn of a session with so many of them."""

    session: UUID
    session_id: str
    run: UUID
    run_id: str
    turn: int
    turns: int


class Made(NamedTuple):
    """A store of one size, open, and its sessions."""

    database: Database
    store: Store
    client: Client
    sessions: list[SessionId]
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

    def __init__(self, database: Database, template: SessionId) -> None:
        self._database = database
        self._template = template
        found = {table: database.table(table) for table in TABLES}
        self._columns = {table: columns for table, (columns, _) in found.items()}
        self._rows = {table: rows for table, (_, rows) in found.items()}
        stored_run = self._rows["runs"][0][0]
        self._rows["events"] = [row for row in self._rows["events"] if row[0] == stored_run]
        self._run_id = identifier(RUN_PREFIX, database.uuid(stored_run))

    def write(self, sessions: int, turns: int) -> list[SessionId]:
        """So many sessions with so many turns each, which came in turns as they do: one of each, then the next."""
        new = [uuid4() for _ in range(sessions)]
        made = [(session, SessionId(identifier(SESSION_PREFIX, session))) for session in new]
        copies = (self._copy(*names, turn, turns) for turn in range(1, turns + 1) for names in made)
        while batch := list(islice(copies, BATCH)):
            for table, columns in self._columns.items():
                self._database.insert(table, columns, self._copied(table, columns, batch))
        self._database.settle()
        return [session_id for _, session_id in made]

    def _copy(self, session: UUID, session_id: str, turn: int, turns: int) -> Copy:
        run = uuid4()
        return Copy(session, session_id, run, identifier(RUN_PREFIX, run), turn, turns)

    def _copied(self, table: str, columns: Sequence[str], copies: Iterable[Copy]) -> Iterator[list[Any]]:
        at = {name: columns.index(name) for name in columns}
        named = [at[name] for name in ("state", "message_id") if name in at]
        for copy in copies:
            if table == "sessions" and copy.turn != copy.turns:
                continue
            session, run = self._database.stored(copy.session), self._database.stored(copy.run)
            ids = {"session_id": session, "run_id": run, "stream_id": run, "turn": copy.turn, "feed_id": None}
            changed = [(at[name], value) for name, value in ids.items() if name in at]
            for row in self._rows[table]:
                new = list(row)
                for place, value in changed:
                    new[place] = value
                for place in named:
                    new[place] = self._renamed(row[place], copy)
                yield new

    def _renamed(self, value: Any, copy: Copy) -> Any:
        text = value if isinstance(value, str) else bytes(value).decode()
        text = text.replace(self._template, copy.session_id).replace(self._run_id, copy.run_id)
        text = text.replace('"turns":1', f'"turns":{copy.turns}')
        return text if isinstance(value, str) else text.encode()


def raw(database: Database, session_id: SessionId) -> int:
    """The same rows by bare statements; how many."""
    session = database.stored(uuid_of(session_id))
    found = database.select(NEWEST, (session, LIMIT))
    parts = database.select(PARTS, (session, *found[-1][:3]))
    database.select(SESSION, (session,))
    ((last, _),) = database.select(LAST_RUN, (session,))
    database.select(HEAD, (last,))
    return len(found) + len(parts) + 3


async def made(database: Database, sessions: int, turns: int, stack: AsyncExitStack) -> Made:
    """A store of that size."""
    async with open_store(database.url, system_clock()) as store:
        template = await one_turn(store)
    names = Copies(database, template).write(sessions, turns)
    store = await stack.enter_async_context(open_store(database.url, system_clock()))
    tail = await store.tail(names[0], LIMIT)
    assert tail is not None
    assert len(tail.messages) == min(LIMIT, 2 * turns)
    service = await stack.enter_async_context(running(load_settings(database=database.url, worker=False, mcp=False)))
    client = await stack.enter_async_context(Client("http://here", transport=InProcess(service.app)))
    print(f"{sessions} sessions with {turns} turns each", file=sys.stderr)
    return Made(database, store, client, names, turns)


async def timed(work: Callable[[SessionId], Awaitable[object]], sessions: Sequence[SessionId]) -> list[float]:
    """How long each took, in microseconds."""
    took: list[float] = []
    for session_id in sessions:
        begun = time.perf_counter()
        await work(session_id)
        took.append((time.perf_counter() - begun) * 1e6)
    return took


async def interleaved(
    named: Mapping[str, Callable[[SessionId], Awaitable[object]]],
    sessions: Sequence[SessionId],
    count: int,
    chosen: random.Random,
) -> dict[str, list[float]]:
    """Each way's times. They take turns, so that noise befalls them alike; each with sessions that it finds cold."""
    took = {name: list[float]() for name in named}
    for first in range(0, count, SLICE):
        for name, work in named.items():
            took[name] += await timed(work, chosen.choices(sessions, k=min(SLICE, count - first)))
    return took


async def measure(databases: Sequence[tuple[Database, int, int]], count: int) -> list[dict[str, float]]:
    """Tails of random sessions, ours and the bare statements', size after size, round after round."""
    chosen = random.Random(1)
    async with AsyncExitStack() as stack:
        stores = [await made(database, sessions, turns, stack) for database, sessions, turns in databases]
        taken = [{name: list[list[float]]() for name in ways(each)} for each in stores]
        for _ in range(ROUNDS):
            for each, rounds in zip(stores, taken, strict=True):
                for name, took in (await interleaved(ways(each), each.sessions, count, chosen)).items():
                    rounds[name].append(took)
        return [
            figures(rounds) | {"rows": raw(each.database, each.sessions[0])}
            for each, rounds in zip(stores, taken, strict=True)
        ]


def ways(made: Made) -> dict[str, Callable[[SessionId], Awaitable[object]]]:
    """The ways to a tail, by name."""

    async def bare(session_id: SessionId) -> int:
        return raw(made.database, session_id)

    async def ours(session_id: SessionId) -> object:
        return await made.store.tail(session_id, LIMIT)

    async def answered(session_id: SessionId) -> object:
        return await made.client.tail(session_id, LIMIT)

    return {"": ours, "raw_": bare, "client_": answered}


def figures(rounds: Mapping[str, Sequence[Sequence[float]]]) -> dict[str, float]:
    """Of each way the quietest round's p50 and p99: noise only ever adds."""
    p50 = {f"{name}p50": min(map(statistics.median, taken)) for name, taken in rounds.items()}
    p99 = {f"{name}p99": min(statistics.quantiles(one, n=100)[98] for one in taken) for name, taken in rounds.items()}
    found = p50 | p99
    return found | {f"ratio_{quantile}": found[quantile] / found[f"raw_{quantile}"] for quantile in ("p50", "p99")}


def main() -> None:
    """Print the figures of each size, as JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sizes", nargs="+", metavar="SESSIONS:TURNS")
    parser.add_argument("--directory", type=Path, required=True, help="where SQLite's files are")
    parser.add_argument("--postgres", action="store_true", help="databases of a PostgreSQL that is started for this")
    parser.add_argument("--count", type=int, default=1000, help="tails a round")
    arguments = parser.parse_args()
    sizes = [(int(sessions), int(turns)) for sessions, turns in (size.split(":") for size in arguments.sizes)]
    kind = PostgresDatabase if arguments.postgres else SqliteDatabase
    databases = [(kind.new(arguments.directory), *size) for size in sizes]
    with ExitStack() as stack:
        for database, *_ in databases:
            stack.enter_context(closing(database))
        print(json.dumps(run(measure(databases, arguments.count))))


if __name__ == "__main__":
    main()
