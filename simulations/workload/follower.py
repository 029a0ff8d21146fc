"""A reader that drops, comes back elsewhere, and presents every kind of cursor; each block it takes is judged."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from pydantic_core import from_json

from ...domain.identifiers import RunId, SessionId
from ..exchange import Answer, ConnectionLost, Request
from ..network import WINDOW_BYTES
from ..oracle.delivery import Asked, Seen
from ..oracle.log import TERMINAL
from ..oracle.sessionlog import DELETED
from ..violation import Violation
from .client import ANSWER_S, Client, whole
from .place import Exchanging
from .returning import Returning

RECONNECT_S: Final = 0.2
"""Seconds before a reader comes back."""

SILENCE_S: Final = 6.0
"""Seconds without a byte after which a reader with a watchdog gives a connection up: three keepalives."""

CONFIG_P: Final = 0.15
"""Part of a restless reader's requests that say which request_config they expect; half of them wrongly."""

BOTH_P: Final = 0.15
"""Part of a restless reader's requests with a cursor that ask for a snapshot as well."""

OTHER_CONFIG: Final = "0123456789abcdef"
"""A digest that no request_config has."""

SLOW_S: Final = 1.5
"""Seconds a slow reader takes for one piece."""


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
        after: str | None = None,
        epoch: int | None = None,
        noticed: Callable[[Seen], None] = lambda _: None,
    ) -> None:
        """`restless` is the probability that it drops after a piece; `took` gets each frame, `noticed` what has no id.

        `after` is a cursor to begin with, `epoch` the session's that the reader says it holds.
        """
        self._epoch = epoch
        self._noticed = noticed
        self._client = client
        self._world = client.world
        self._run_id = run_id
        self._session_id = session_id
        self._restless = restless
        self._took = took
        self._returning = Returning(client, run_id, session_id, restless=restless > 0 and after is None)
        self._returning.cursors += [after] if after is not None else []
        self._ended = False
        self._stopped = False
        self._exchange: Exchanging | None = None
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
        while self._goes_on():
            asked = self._returning.ask()
            headers = (("Last-Event-ID", asked.cursor),) if asked.cursor else ()
            if self._epoch is not None:
                asked, headers = replace(asked, epoch=self._epoch), (*headers, ("Session-Epoch", str(self._epoch)))
            query = self._query(asked)
            config = self._config()
            if config is not None:
                query = f"{query}&config={config}" if query else f"config={config}"
            try:
                self._exchange = self._client.open(Request("GET", self._path, query, headers))
                await self._read(self._exchange, asked, config)
            except ConnectionLost:
                pass
            finally:
                if self._exchange is not None:
                    self._leave(self._exchange)
            if self._goes_on():
                await asyncio.sleep(RECONNECT_S)

    def _goes_on(self) -> bool:
        return not self._ended and not self._stopped

    @property
    def _deleted(self) -> bool:
        session = self._world.log.sessions.get(self._session_id) if self._session_id is not None else None
        return session is not None and session.status == DELETED

    def _leave(self, exchange: Exchanging) -> None:
        vanishes = self._restless > 0 and self._world.watchdog and not self._world.healed
        if vanishes and self._world.tape.chance(f"client.vanish:{self._client.name}", 0.2):
            exchange.vanish()
        else:
            exchange.close()

    def _query(self, asked: Asked) -> str:
        """Beside a cursor in the header `snapshot` means nothing."""
        cursor_too = asked.cursor is not None and self._restless > 0 and not self._world.healed
        if asked.snapshot or (cursor_too and self._world.tape.chance(f"client.both:{self._client.name}", BOTH_P)):
            return "snapshot=true"
        return f"after={asked.seq}" if asked.seq else ""

    def _config(self) -> str | None:
        """Which request_config it takes the run to have, if it says so at all: now and then another."""
        run = self._world.log.run(self._run_id) if self._run_id is not None else None
        if run is None or self._restless <= 0 or self._world.healed:
            return None
        drawn = self._world.tape.sparse(f"client.config:{self._client.name}", 3, CONFIG_P)
        return (None, run.config.digest, OTHER_CONFIG)[drawn]

    # What it gets.

    async def _read(self, exchange: Exchanging, asked: Asked, config: str | None) -> None:
        delivery = self._world.delivery(asked, self._client.name)
        watchdog = self._world.watchdog
        try:
            async with asyncio.timeout(ANSWER_S if watchdog else None):
                head = await exchange.head()
            if head.status == 204 and config != OTHER_CONFIG:
                delivery.nothing_more()
                self._ended = True
                return
            if config == OTHER_CONFIG:
                await self._refused(exchange, head)
                return
            if head.status == 404 and self._deleted:
                self._ended = True
                return
            if head.status != 200:
                raise Violation("stream-refused", f"{self._client.name}: {self._path} was answered {head.status}.")
            while not self._ended:
                async with asyncio.timeout(SILENCE_S if watchdog else None):
                    data = await exchange.read()
                if not data:
                    if not self._deleted:  # of a deleted session's nothing more comes: who asks again is told so
                        delivery.ended()
                    return
                self._take(delivery.feed(data))
                if await self._had_enough():
                    return
        except TimeoutError:
            self._world.mark("fell-silent")

    async def _refused(self, exchange: Exchanging, head: Answer) -> None:
        """It wanted another request_config than the run has: it must be told so before it gets any frame."""
        trouble = head.status == 200  # a stream that can't begin at all is a reconnect, and no more
        if not trouble and head.status != 409:
            raise Violation("mismatch-accepted", f"{self._client.name}: {self._path} was answered {head.status}.")
        async with asyncio.timeout(ANSWER_S if self._world.watchdog else None):
            body = await exchange.read() if trouble else await whole(exchange)
        if trouble and body and b"event: stream.reconnect\n" not in body.partition(b"\n\n")[0]:
            detail = f"{self._client.name}: {self._path} was begun for another request_config: {body[:80]!r}"
            raise Violation("mismatch-accepted", detail)
        if not trouble and from_json(body)["code"] != "config_mismatch":
            raise Violation("answer-wrong", f"{self._client.name}: {self._path} was answered 409: {body[:200]!r}")
        self._world.mark("config-mismatch" if not trouble else "asked-to-reconnect")

    def _take(self, blocks: list[Seen]) -> None:
        frames = [seen for seen in blocks if seen.cursor is not None]
        if frames:
            trace = self._world.trace
            trace.emit("saw", proc=self._client.name, run=frames[-1].run_id, first=frames[0].seq, last=frames[-1].seq)
        for seen in blocks:
            if seen.cursor is None:
                self._noticed(seen)
            else:
                self._returning.cursors.append(seen.cursor)
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
