"""A walk: one reader's way through its log. First a page, then page after page, then live; in a session run by run."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from starlette.types import Receive

from ...domain.errors import ReattachError, StoreUnavailable
from ...domain.identifiers import SessionId
from ...domain.messages import Fields
from ...domain.ports import Record, Span
from ...domain.run import Run
from ...domain.transitions import SessionStatus
from . import sse
from .broadcaster import Broadcaster
from .feed import Feed
from .history import history
from .owner import Watch
from .place import Place, Wish
from .reader import Reader

FIRST_PAGE_FRAMES: Final = 64
"""Frames of the first read: small, so that the first byte leaves early."""

SNAPSHOT_MESSAGES: Final = 100
"""Messages of earlier turns in a session's snapshot: its size must not grow with the session's age."""

PAGE_FRAMES: Final = 1024
"""Frames of every further read."""

_log: Final = logging.getLogger("reattach.stream")


class Walk:
    """One reader's way through its log: what comes first, catch-up by pages, then live; in a session, run by run.

    It holds the feed from the beginning, and lets go of it in `stop`.
    """

    __slots__ = (
        "_broadcaster",
        "_feed",
        "_follow",
        "_forget",
        "_moving",
        "_session_id",
        "_store",
        "preface",
        "reader",
        "watch",
    )

    def __init__(
        self,
        broadcaster: Broadcaster,
        reader: Reader,
        feed: Feed | None,
        follow: bool,
        session_id: SessionId | None = None,
    ) -> None:
        self._broadcaster = broadcaster
        self._store = broadcaster.store
        self.reader = reader
        self._feed = feed
        self._follow = follow
        self._session_id = session_id
        self._moving: asyncio.Task[None] | None = None
        self._forget: Callable[[], None] = _nothing
        self.watch: Watch | None = None
        self.preface = b""
        if session_id is not None:
            reader.successor = self._ended

    async def begin(self, place: Place, wish: Wish) -> None:
        """Send what comes first and a first page. What is left is read on while the client is waited for."""
        reader, feed = self.reader, self._feed
        if self.preface:
            await reader.write(self.preface)
            self.preface = b""
        if place.reset is not None:
            cursor = str(wish.cursor) if wish.cursor is not None else str(wish.seq)
            await reader.write(sse.event("stream.reset", {"reason": place.reset, "cursor": cursor}))
        if feed is None:
            self._next_turn()
            return
        reader.seq = place.seq
        if place.reset is not None or wish.snapshot:
            await self._snapshot(feed)
        caught_up = reader.seq + 1 >= feed.start or await self._page(feed, FIRST_PAGE_FRAMES)
        if caught_up and self._follow:
            self._go_live(feed)
        else:
            self._move(self._catch_up)

    def give_up(self, error: ReattachError) -> None:
        """The answer has begun: from here on, trouble is a reconnect."""
        if isinstance(error, StoreUnavailable):
            _log.info("a stream could not go on: %s", error)
        else:
            _log.error("a stream could not go on", exc_info=error)
        self._broadcaster.reconnect(self.reader, "unavailable")

    async def until_left(self, receive: Receive) -> None:
        """Wait until the client has left or has been sent everything, then let go of all."""
        try:
            while (await receive())["type"] != "http.disconnect":
                pass
        finally:
            self.stop()

    async def _catch_up(self) -> None:
        """Read on from the store, page by page, until the window is reached."""
        feed = self._feed
        if not self._follow and feed is not None:
            await self._replay(feed)
            return
        while feed is not None and not self.reader.closed and not await self._page(feed, PAGE_FRAMES):
            pass
        if feed is not None and not self.reader.closed:
            self._go_live(feed)

    def stop(self) -> None:
        """The connection is gone."""
        if self._moving is not None:
            self._moving.cancel()
        self._forget()
        if self.watch is not None:
            self.watch.stop()
        self._broadcaster.leave(self.reader)
        if self._feed is not None:
            self._broadcaster.unfollow(self._feed, self.reader)
            self._broadcaster.release(self._feed)

    async def _snapshot(self, feed: Feed) -> None:
        run = feed.view.run
        snapshot = await self._store.snapshot(run.run_id)
        if snapshot is None:
            return
        state = snapshot.state(run.request_config)
        if self._session_id is not None:
            state = {**state, **await self._earlier(run, state["messages"])}
        await self.reader.write(sse.event("stream.snapshot", {"state": state, "seq": snapshot.seq}))
        self.reader.seq = snapshot.seq

    async def _earlier(self, run: Run, messages: Sequence[Fields]) -> dict[str, Any]:
        """A session's state has the messages of the turns before, the newest of them; `before` pages on from there."""
        span = Span(before=(run.turn, run.attempt, 0))
        earlier, more = await history(self._store, run.session_id, span, SNAPSHOT_MESSAGES)
        return {"messages": [*earlier, *messages], "before": earlier[0]["message_id"] if more else None}

    async def _page(self, feed: Feed, limit: int) -> bool:
        """Send one page from the store; True once the window takes over."""
        reader = self.reader
        records = await self._store.read(feed.view.run.run_id, reader.seq, limit)
        pieces: list[bytes] = []
        seq = reader.seq
        for record in records:
            wanted = record.after(seq, limit) if isinstance(record, Record) else record
            pieces += feed.encoder.blocks(wanted)
            seq = wanted.last_seq
        if seq > feed.head:  # committed, but the news is still on its way: the feed must not send it again
            for record in records:
                feed.accept(record)
        last = feed.terminal and seq == feed.head and reader.successor is None
        body = b"".join(pieces)
        reader.seq = seq
        if body or last:
            await reader.write(body, last=last)
        return reader.closed or not records or seq + 1 >= feed.start

    def _go_live(self, feed: Feed) -> None:
        if not self.reader.closed:
            self._broadcaster.follow(feed, self.reader)

    async def _replay(self, feed: Feed) -> None:
        """What is there now, page by page, and then the end; in a session, of its runs one after the other."""
        await self._broadcaster.refresh(feed)  # the news of another process may still be on its way
        reader, end = self.reader, feed.head
        while reader.seq < end and not reader.closed:
            await self._page(feed, PAGE_FRAMES)
        if reader.closed:
            return
        if self._session_id is not None and feed.terminal:
            self._next_turn()
        else:
            await reader.write(b"", last=True)

    def _ended(self, _: Reader) -> None:
        self._next_turn()

    def _next_turn(self) -> None:
        self._forget()
        self._move(self._move_on)

    def _move(self, on: Callable[[], Awaitable[None]]) -> None:
        self._moving = asyncio.get_running_loop().create_task(self._moved(on))

    async def _moved(self, on: Callable[[], Awaitable[None]]) -> None:
        """Nobody awaits this task: what goes wrong in it is said here, or the reader would wait for ever."""
        try:
            await on()
        except ReattachError as error:
            self.give_up(error)

    async def _move_on(self) -> None:
        """Go to the session's next run, or wait until there is one."""
        if self._session_id is not None:
            await self._to_next(self._session_id)

    async def _stays(self, session_id: SessionId) -> bool:
        """Whether there is anything to wait for: of a deleted session nothing comes, and who asks again is told so."""
        session = await self._store.session(session_id)
        return session is not None and session.status is not SessionStatus.DELETED

    async def _to_next(self, session_id: SessionId) -> None:
        run = self._feed.view.run if self._feed else None
        after = (run.turn, run.attempt) if run else (0, 0)
        begun, run_id, stays = -1, None, True
        while run_id is None and begun != self._broadcaster.turns_begun:
            begun = self._broadcaster.turns_begun  # a turn that begins while the store is asked would be missed
            run_id = await self._store.next_run(session_id, *after)
            stays = run_id is not None or await self._stays(session_id)
        feed = await self._broadcaster.watch(run_id) if run_id is not None else None
        if feed is not None:
            if self._feed is not None:
                self._broadcaster.release(self._feed)
            self._feed = feed
            self.reader.seq = 0
            await self._catch_up()
        elif self._follow and stays:
            self._forget = self._broadcaster.await_turn(session_id, self._next_turn)
        else:
            self.reader.finish(b"")


def _nothing() -> None:
    """What is to be forgotten while nothing is waited for."""
