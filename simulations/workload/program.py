"""A program that uses the Python client: it iterates over `Client.follow`, leaves when it likes, and comes back.

What the plain reader (`follower.py`) does by hand, reconnecting and resuming, the client does by itself here.
"""

import asyncio
import math
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

from pydantic_core import to_json

from ...adapters.client import Client as Library
from ...adapters.client import ClientError, Frame, Patience, Unreachable
from ...domain.errors import ReattachError
from ...domain.identifiers import RunId, SessionId
from ..exchange import Request
from ..oracle.delivery import Asked, Seen
from ..violation import Violation
from .client import ANSWER_S, Client
from .follower import RECONNECT_S, SILENCE_S, SLOW_S
from .place import Follows
from .returning import Returning
from .transport import TapeIds, Wire

WAIT_MAX_S: Final = 1.6
"""Seconds a client waits at most between two tries, before jitter."""

GIVE_UP_S: Final = (None, 3.0)
"""Seconds without a sign of life after which a client gives up; then its program tries again."""

ORIGIN: Final = "http://service"
"""What clients take for the service's URL. Which node answers is the network's business."""


class Program:
    """Follows a run to its terminal frame, or a session until `stop`: with the Python client, as a program would."""

    def __init__(
        self,
        client: Client,
        run_id: RunId | None = None,
        session_id: SessionId | None = None,
        *,
        restless: float = 0.0,
        took: Callable[[Seen], None] = lambda _: None,
    ) -> None:
        """`restless` is the probability that it leaves after a frame; `took` gets each frame."""
        self._client = client
        self._world = client.world
        self._run_id = run_id
        self._session_id = session_id
        self._restless = restless
        self._took = took
        self._returning = Returning(client, run_id, session_id, restless=restless > 0)
        self._until = asyncio.timeout(None)
        self._inside = False
        self._stopped = False
        self._ended = False
        self._following: Follows | None = None
        give_up_s = self._world.tape.pick(f"program.give-up:{client.name}", GIVE_UP_S)
        self._patience = Patience(
            wait_min_s=RECONNECT_S,
            wait_max_s=WAIT_MAX_S,
            connect_s=ANSWER_S,
            answer_s=ANSWER_S,
            silence_s=SILENCE_S if self._world.watchdog else math.inf,
            give_up_s=give_up_s if self._world.watchdog else None,
        )
        self._wire = Wire(client, self._asks, self._over, self._vanishes)

    def stop(self) -> None:
        """Go away for good, whatever it waits for."""
        self._stopped = True
        if self._inside:
            self._until.reschedule(self._world.loop.time())

    async def follow(self) -> None:
        """Come back until there is nothing more. Raises a Violation."""
        self._world.mark("followed-by-the-client")
        ids = TapeIds(self._world.tape, self._client.name)
        async with Library(ORIGIN, ids=ids, patience=self._patience, transport=self._wire) as library:
            try:
                async with self._until:
                    self._inside = True
                    while not self._ended and not self._stopped:
                        await self._once(library, self._returning.ask())
                        if not self._ended:
                            await asyncio.sleep(RECONNECT_S)
            except TimeoutError:
                if not self._stopped:
                    raise
            finally:
                self._inside = False

    async def _once(self, library: Library, asked: Asked) -> None:
        """One call of follow, to its end or until it has had enough."""
        self._following = following = self._world.following(asked, self._client.name)
        self._wire.begin()
        after = asked.cursor or asked.seq or None
        if self._run_id is not None:
            frames = library.follow(self._run_id, after, snapshot=asked.snapshot)
        else:
            cursor = after if isinstance(after, str) else None
            frames = library.follow_session(self._session_id or "", cursor, snapshot=asked.snapshot)
        try:
            async with aclosing(frames):
                async for frame in frames:
                    following.take(frame)
                    self._take(frame)
                    if await self._had_enough():
                        return
            following.ended()
            self._ended = True
        except Unreachable as error:
            self._judge_patience(error)
        except (ClientError, ReattachError) as error:
            following.raised(error)

    def _take(self, frame: Frame) -> None:
        if frame.id is None:
            return
        run_id, _, _, seq = frame.id.split(".")
        self._world.trace.emit("saw", proc=self._client.name, run=run_id, first=int(seq), last=int(seq))
        self._returning.cursors.append(frame.id)
        self._took(Seen(frame.type, RunId(run_id), int(seq), frame.id, to_json(dict(frame.data))))

    async def _had_enough(self) -> bool:
        """Whether it leaves now; a slow one takes its time first."""
        if self._restless <= 0 or self._world.healed:
            return False
        tape, name = self._world.tape, self._client.name
        if tape.chance(f"program.slow:{name}", self._restless / 6):
            await asyncio.sleep(SLOW_S)
        return tape.chance(f"program.leaves:{name}", self._restless / 3)

    # What its client does by itself.

    def _asks(self, request: Request) -> None:
        """It sends a request for the stream."""
        headers = {name.lower(): value for name, value in request.headers}
        cursor = headers.get("last-event-id")
        query = dict(pair.split("=") for pair in request.query.split("&") if pair)
        now = self._world.loop.time()
        if self._following is not None:
            self._following.comes(cursor, int(query.get("after", 0)), now, self._wire.asked_s, self._patience)

    def _over(self) -> None:
        if self._following is not None:
            self._following.breaks(self._world.loop.time())

    def _vanishes(self) -> bool:
        may = self._restless > 0 and self._world.watchdog and not self._world.healed
        return may and self._world.tape.chance(f"client.vanish:{self._client.name}", 0.2)

    def _judge_patience(self, error: Unreachable) -> None:
        """It gave up: only after as long a silence as it was told to bear, less the wait that would follow."""
        give_up_s = self._patience.give_up_s
        silent_s = self._world.loop.time() - self._wire.heard_at
        if give_up_s is None or silent_s + 1.5 * WAIT_MAX_S < give_up_s:
            detail = f"{self._client.name} (the Python client): it gave up after {silent_s:.2f} s: {error}"
            raise Violation("gave-up-too-soon", detail)
        self._world.mark("client-gave-up")
