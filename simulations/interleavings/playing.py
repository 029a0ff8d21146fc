"""One play: a few groups of use cases on a real PostgreSQL, each through a production writer of its own."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, Final

from ...infrastructure.codec import Codec
from ...infrastructure.eventstore.library import Library
from ...infrastructure.eventstore.postgres_recorder import PostgresRecorder
from ...infrastructure.eventstore.postgres_writer import PostgresWriter
from ...infrastructure.eventstore.schema import meta, metadata
from ...infrastructure.postgres import connect
from ..store.postgres import PostgresCore, opened, place
from .cases import Clock, Driven, Group
from .choices import Choices
from .gates import GatedConnection, Gates, Stopped
from .serial import Outcome, Prepare, started

GROUPS_MAX: Final = 200
"""Groups of one writer in one play; more, and somebody is done again and again."""

_TABLES: Final = [table.name for table in metadata.sorted_tables if table is not meta]


@dataclass(slots=True)
class Played:
    """What came of one order."""

    outcome: Outcome | None
    order: list[str] = field(default_factory=list[str])
    trouble: str | None = None
    """Why it has no outcome, or one that nobody may have."""
    switches: int = 0


class _Writer:
    """One process, as far as the database can tell: a thread, a connection, a production writer."""

    def __init__(self, number: int, url: str, clock: Clock) -> None:
        self.number = number
        self.gates: Gates | None = None
        self.error: BaseException | None = None
        self._connection = GatedConnection(connect(url, "relaxed"), self._pass_by)
        self.pid = self._connection.raw.info.backend_pid
        self._codec = Codec()
        self._library = Library(PostgresRecorder(lambda: self._connection), self._codec)
        self._clock = clock
        self._jobs: SimpleQueue[Sequence[Driven] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"writer-{number}", daemon=True)
        self._thread.start()

    def give(self, driven: Sequence[Driven]) -> None:
        """Begin with these."""
        self.error = None
        self._jobs.put(driven)

    def close(self) -> None:
        """No more plays."""
        self._jobs.put(None)
        self._thread.join()
        self._connection.raw.close()

    def _pass_by(self, statement: str) -> None:
        if self.gates is not None:
            self.gates.pass_by(self.number, statement)

    def _run(self) -> None:
        while (driven := self._jobs.get()) is not None:
            assert self.gates is not None
            try:
                self._do(driven)
            except Stopped:
                pass
            except BaseException as error:  # noqa: BLE001  - told by whoever plays
                self.error = error
            self._connection.close()
            self.gates.done(self.number)

    def _do(self, driven: Sequence[Driven]) -> None:
        """As the committer's thread: what is to be done again is done with the next group."""
        # New in each play: it remembers places of runs, and would ask less the second time.
        writer = PostgresWriter(lambda: self._connection, self._library, self._codec, self._clock)
        for _ in range(GROUPS_MAX):
            group = [(one, one.work) for one in driven if one.work is not None]
            if not group:
                return
            written = writer.write([work for _, work in group])
            for (one, _), result in zip(group, written.results, strict=True):
                if not result.again:
                    one.told(result)
        raise RuntimeError(f"not done after {GROUPS_MAX} groups")


class Stage:
    """A database in the state in which a race begins, and the writers that race."""

    def __init__(self, url: str, prepare: Prepare) -> None:
        self._clock = Clock()
        self._shared = opened(url)
        self._core = PostgresCore(self._clock, self._shared)
        self._groups: Sequence[Group] = prepare(self._clock, self._core.write)
        self._names = [f"kept_{name}" for name in _TABLES]
        for kept, name in zip(self._names, _TABLES, strict=True):
            self._shared.execute(f"CREATE TABLE {kept} AS TABLE {name}")
        self._writers = [_Writer(number, place(url), self._clock) for number in range(len(self._groups))]
        self._watch = connect(place(url)).raw
        self._gates = Gates(self._watch, [writer.pid for writer in self._writers])
        for writer in self._writers:
            writer.gates = self._gates

    def close(self) -> None:
        """Leave the database empty."""
        for writer in self._writers:
            writer.close()
        self._watch.close()
        self._core.end()
        self._shared.execute("; ".join(f"DROP TABLE {kept}" for kept in self._names))

    def play(self, choose: Callable[[Choices, Sequence[int], int | None, bool], int], choices: Choices) -> Played:
        """One order of the statements: `choose` says who is let on."""
        restore = [f"DELETE FROM {name}; INSERT INTO {name} SELECT * FROM kept_{name}" for name in _TABLES]  # noqa: S608  our own names
        self._shared.execute("; ".join(restore))
        driven = started([case for group in self._groups for case in group], self._clock)
        self._gates.begin()
        rest = iter(driven)
        for writer, group in zip(self._writers, self._groups, strict=True):
            writer.give([next(rest) for _ in group])
        played = Played(None)
        try:
            self._order(choose, choices, played)
        finally:
            self._gates.stop()
        errors = [writer.error for writer in self._writers if writer.error is not None]
        if errors:
            played.trouble = f"a writer failed: {errors[0]!r}"
        elif played.trouble is None:
            played.outcome = Outcome.of(driven, self._core.durable())
        return played

    def _order(self, choose: Any, choices: Choices, played: Played) -> None:
        last: int | None = None
        while (standing := self._gates.settle()) or self._gates.blocked:
            blocked = self._gates.blocked
            if not standing and all(len(self._groups[writer]) == 1 for writer in blocked):
                played.trouble = "a deadlock: every writer waits for a lock"
            # A wait may end without the lock at any time; where nobody else can go on, it must.
            waits = [~writer for writer in blocked]
            chosen = choose(choices, [*standing, *waits], last, not standing)
            if chosen < 0:
                played.order.append(f"{~chosen}: no longer waits")
                self._gates.time_out(~chosen)
                continue
            played.switches += last is not None and chosen != last and last in standing
            played.order.append(f"{chosen}: {' '.join(self._gates.next_of(chosen).split())[:60]}")
            self._gates.let_on(chosen)
            last = chosen
