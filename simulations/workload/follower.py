"""A reader that drops, comes back elsewhere, and presents every kind of cursor; each block it takes is judged."""

import asyncio
from collections.abc import Callable
from typing import Final

from ...domain.identifiers import RunId, SessionId
from ..exchange import ConnectionLost, Exchange, Request
from ..network import WINDOW_BYTES
from ..oracle.delivery import Asked, Delivery, Seen
from ..oracle.log import TERMINAL
from ..violation import Violation
from .client import ANSWER_S, Client

RECONNECT_S: Final = 0.2
"""Seconds before a reader comes back."""

SILENCE_S: Final = 6.0
"""Seconds without a byte after which a reader with a watchdog gives a connection up: three keepalives."""

SLOW_S: Final = 1.5
"""Seconds a slow reader takes for one piece."""

HONEST: Final = 6
"""Of the ways to come back, so many are the honest one."""

OTHERS: Final = ("older", "start", "snapshot", "ahead", "foreign", "epoch", "generation", "seq")
"""And these are not, or not quite."""


class Follower:
    """Follows a run to its terminal frame, or a session until `done`."""

    def __init__(
        self,
        client: Client,
        run_id: RunId | None = None,
        session_id: SessionId | None = None,
        *,
        restless: float = 0.0,
        took: Callable[[Seen], None] = lambda _: None,
    ) -> None:
        """`restless` is the probability that it drops after a piece; `took` gets each frame."""
        self._client = client
        self._world = client.world
        self._run_id = run_id
        self._session_id = session_id
        self._restless = restless
        self._took = took
        self._cursors: list[str] = []
        self._ended = False
        self._stopped = False
        self._exchange: Exchange | None = None
        what = run_id or session_id
        self._path = f"/v1/{'runs' if run_id else 'sessions'}/{what}/events"

    @property
    def ended(self) -> bool:
        """Whether it has everything."""
        return self._ended

    def stop(self) -> None:
        """Go away for good (a session's stream has no end of its own)."""
        self._stopped = True
        if self._exchange is not None:
            self._exchange.close()

    async def follow(self) -> None:
        """Come back until there is nothing more. Raises a Violation."""
        first = True
        while self._goes_on():
            asked, headers = self._ask(first=first)
            first = False
            query = self._query(asked)
            try:
                self._exchange = self._client.open(Request("GET", self._path, query, headers))
                await self._read(self._exchange, asked)
            except ConnectionLost:
                pass
            finally:
                if self._exchange is not None:
                    self._leave(self._exchange)
            if self._goes_on():
                await asyncio.sleep(RECONNECT_S)

    def _goes_on(self) -> bool:
        return not self._ended and not self._stopped

    def _leave(self, exchange: Exchange) -> None:
        vanishes = self._restless > 0 and self._world.watchdog and not self._world.healed
        if vanishes and self._world.tape.chance(f"client.vanish:{self._client.name}", 0.2):
            exchange.vanish()
        else:
            exchange.close()

    # How it comes back.

    def _ask(self, *, first: bool) -> tuple[Asked, tuple[tuple[str, str], ...]]:
        way = "honest"
        if self._restless > 0 and not self._world.healed:
            drawn = self._world.tape.draw(f"client.resume:{self._client.name}", HONEST + len(OTHERS))
            way = "honest" if drawn < HONEST else OTHERS[drawn - HONEST]
        cursor, seq, snapshot = self._cursor(way), 0, way == "snapshot"
        if way == "seq" and self._run_id is not None and self._cursors:
            cursor, seq = None, int(self._cursors[-1].rpartition(".")[2])
        if not first:
            self._world.mark(f"resumed-{way}")
        asked = Asked(self._run_id, self._session_id, cursor, seq, snapshot=snapshot and cursor is None)
        self._client.act("follow" if first else "resume", run=self._run_id, cursor=cursor, way=way)
        return asked, (("Last-Event-ID", cursor),) if cursor else ()

    def _cursor(self, way: str) -> str | None:
        if way in ("start", "snapshot") or (not self._cursors and way != "foreign"):
            return None
        if way == "foreign":
            return self._foreign()
        last = self._cursors[-1]
        run_id, generation, epoch, seq = last.split(".")
        tape, site = self._world.tape, f"client.cursor:{self._client.name}"
        match way:
            case "older":
                return self._cursors[-1 - tape.draw(site, min(len(self._cursors), 16))]
            case "ahead":
                return f"{run_id}.{generation}.{epoch}.{int(seq) + 1000 + tape.draw(site, 5)}"
            case "epoch":
                return f"{run_id}.{generation}.{int(epoch) + 1 + tape.draw(site, 3)}.{seq}"
            case "generation":
                return f"{run_id}.{int(generation) + 1}.{epoch}.{seq}"
            case _:
                return last

    def _foreign(self) -> str | None:
        others = [run_id for run_id in self._world.log.all() if run_id != self._run_id]
        if not others or self._run_id is None:
            return self._cursors[-1] if self._cursors else None
        other = others[self._world.tape.draw(f"client.cursor:{self._client.name}", len(others))]
        frame = self._world.log.frame(other, 1)
        return f"{other}.1.{frame[0]}.1" if frame else None

    def _query(self, asked: Asked) -> str:
        if asked.snapshot:
            return "snapshot=true"
        return f"after={asked.seq}" if asked.seq else ""

    # What it gets.

    async def _read(self, exchange: Exchange, asked: Asked) -> None:
        delivery = Delivery(self._world.log, asked, self._client.name, self._world.mark)
        watchdog = self._world.watchdog
        try:
            async with asyncio.timeout(ANSWER_S if watchdog else None):
                head = await exchange.head()
            if head.status == 204:
                delivery.nothing_more()
                self._ended = True
                return
            if head.status != 200:
                raise Violation("stream-refused", f"{self._client.name}: {self._path} was answered {head.status}.")
            while not self._ended:
                async with asyncio.timeout(SILENCE_S if watchdog else None):
                    data = await exchange.read()
                if not data:
                    delivery.ended()
                    return
                self._take(delivery.feed(data))
                if await self._had_enough():
                    return
        except TimeoutError:
            self._world.mark("fell-silent")

    def _take(self, blocks: list[Seen]) -> None:
        frames = [seen for seen in blocks if seen.cursor is not None]
        if frames:
            trace = self._world.trace
            trace.emit("saw", proc=self._client.name, run=frames[-1].run_id, first=frames[0].seq, last=frames[-1].seq)
        for seen in blocks:
            if seen.cursor is not None:
                self._cursors.append(seen.cursor)
                self._took(seen)
                if self._run_id is not None and seen.kind in TERMINAL:
                    # Now and then it waits for the connection's end, and comes back once more, as a browser does.
                    self._ended = not self._world.tape.chance(f"client.again:{self._client.name}", 0.15)

    async def _had_enough(self) -> bool:
        """Whether it drops now; a slow one takes its time first."""
        if self._restless <= 0 or self._ended or self._world.healed:
            return False
        tape, name = self._world.tape, self._client.name
        small = self._world.network.conditions.window_bytes < WINDOW_BYTES  # then a slow reader is felt
        if tape.chance(f"client.slow:{name}", self._restless * (2 if small else 1 / 3)):
            await asyncio.sleep(SLOW_S)
        return tape.chance(f"client.drop:{name}", self._restless)
