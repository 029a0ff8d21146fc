"""The broadcaster: one per process, it takes news of commits to every reader of the watched runs.

It wakes once per commit, never per frame, and holds nothing per reader but a place. Who is served when is the fan-out's
business (`fanout.py`).
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from ...domain.errors import StoreUnavailable
from ...domain.identifiers import RunId, SessionId
from ...domain.ports import Clock, News, SessionMoved, Store
from . import sse
from .fanout import SLICE_READERS, Fanout
from .feed import Feed
from .reader import Reader

REFILL_FRAMES: Final = 1024
"""Frames read at once when a feed has to be re-read from the store."""

STALLED_TICKS_MAX: Final = 6
"""Keepalive ticks (half an interval each) a socket may take nothing before the connection is given up."""


Wakers = dict[SessionId, dict[Callable[[], None], None]]
"""Who is to be called about a session, in the order in which they came."""


class StreamTimes(BaseModel):
    """The times of event streams, in seconds; `retry_s` is what clients are told to wait before they reconnect."""

    model_config = ConfigDict(frozen=True)
    keepalive_s: float = 10.0
    retry_s: float = 1.0

    @property
    def retry_ms(self) -> int:
        """As the wire wants it."""
        return int(self.retry_s * 1000)


class Broadcaster:
    """The feeds of this process, and the session streams that wait for a next turn.

    `turns_begun` grows with every turn that may have begun: whoever reads which one is next looks at it before.
    """

    def __init__(self, store: Store, clock: Clock, times: StreamTimes) -> None:
        self.store = store
        self.times = times
        self.draining = False
        self._fanout = Fanout(clock, self._advance)
        self._feeds: dict[RunId, Feed] = {}
        self._news = 0
        self.turns_begun = 0
        self._readers: dict[Reader, Feed | None] = {}
        self._between_turns: Wakers = {}
        self._owners: Wakers = {}
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._stop_listening: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin to listen and to keep alive."""
        self._stop_listening = self.store.listen(self)
        self._spawn(self._keep_alive())

    def stop(self) -> None:
        """Stop listening; every stream must have ended."""
        self._stop_listening()
        for task in list(self._tasks):
            task.cancel()

    @property
    def held(self) -> tuple[int, int, int]:
        """What is held in memory: watched runs, connections, sessions whose streams wait for something."""
        return len(self._feeds), len(self._readers), len(self._between_turns) + len(self._owners)

    # News of commits.

    def committed(self, commits: Sequence[News]) -> None:
        """Take the records into their feeds and wake the readers, once for the whole group."""
        self._fanout.committed()
        self._news += 1
        for commit in commits:
            if isinstance(commit, SessionMoved):
                self._move(commit)
                continue
            feed = self._feeds.get(commit.run_id)
            if feed is not None:
                feed.accept(commit.record)
                self._mark(feed)
            if commit.record.first_seq == 1:
                self._begin_turn(commit.session_id)

    def changed(self) -> None:
        """Something was committed elsewhere: re-read every watched run."""
        self._news += 1
        for feed in list(self._feeds.values()):
            feed.stale = True
            self._mark(feed)
        self.turns_begun += 1
        for session_id in list(self._between_turns):
            self._begin_turn(session_id)
        for session_id in list(self._owners):
            self._move(SessionMoved(session_id))

    def _move(self, moved: SessionMoved) -> None:
        for wake in list(self._owners.get(moved.session_id, ())):
            wake()
        if moved.begun:
            self._begin_turn(moved.session_id)

    def _begin_turn(self, session_id: SessionId) -> None:
        self.turns_begun += 1
        for wake in list(self._between_turns.get(session_id, ())):
            wake()

    def _mark(self, feed: Feed) -> None:
        if feed.stale and feed.readers:
            feed.stale = False
            self._spawn(self._refill(feed))
        else:
            self._fanout.serve(feed)

    async def refresh(self, feed: Feed) -> None:
        """Read what the store has beyond the feed. Raises StoreUnavailable."""
        feed.stale = False  # before the first read: what is committed after it makes the feed stale again
        try:
            while records := await self.store.read(feed.view.run.run_id, feed.head, REFILL_FRAMES):
                for record in records:
                    feed.accept(record)
        except StoreUnavailable:
            feed.stale = True
            raise
        self._mark(feed)

    async def _refill(self, feed: Feed) -> None:
        try:
            await self.refresh(feed)
        except StoreUnavailable:
            asyncio.get_running_loop().call_later(self.times.retry_s, self._mark, feed)

    # Readers.

    async def watch(self, run_id: RunId) -> Feed | None:
        """The feed of a run, opened if need be, held until `release`; None if there is no such run."""
        feed = self._feeds.get(run_id)
        if feed is not None:
            feed.watchers += 1
            return feed
        news = self._news
        view = await self.store.run_view(run_id)
        if view is None:
            return None
        feed = self._feeds.get(run_id)
        if feed is None:
            encoder = sse.Encoder(run_id, self.store.generation, view.run.request_config)
            feed = Feed(view, encoder)
            feed.stale = news != self._news  # something was committed while the run was read: it may be this run
            self._feeds[run_id] = feed
        feed.watchers += 1
        return feed

    def release(self, feed: Feed) -> None:
        """Let go of a feed. One that nobody holds is dropped: the store has everything."""
        feed.watchers -= 1
        run_id = feed.view.run.run_id
        if feed.watchers == 0 and self._feeds.get(run_id) is feed:
            del self._feeds[run_id]

    def enter(self, reader: Reader) -> None:
        """A connection begins to be streamed to."""
        self._readers[reader] = None

    def leave(self, reader: Reader) -> None:
        """A connection has ended, by whoever's doing."""
        reader.close()
        self._readers.pop(reader, None)

    def follow(self, feed: Feed, reader: Reader) -> None:
        """The reader has caught up to the window: from now on it is served with everybody."""
        feed.readers[reader] = None
        self._readers[reader] = feed
        self._advance(feed, reader)
        if feed.stale:  # it became so while nobody followed, and nobody may ever say so again
            self._mark(feed)

    def unfollow(self, feed: Feed, reader: Reader) -> None:
        """The reader is not served from this feed any more."""
        feed.readers.pop(reader, None)
        if reader in self._readers:
            self._readers[reader] = None

    def await_turn(self, session_id: SessionId, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` when a turn may have begun in the session; call the result to stop waiting."""
        return _wait(self._between_turns, session_id, wake)

    def watch_session(self, session_id: SessionId, wake: Callable[[], None]) -> Callable[[], None]:
        """Call `wake` when the session may have another owner or handoff; call the result to stop watching."""
        return _wait(self._owners, session_id, wake)

    def interject(self, reader: Reader, block: bytes) -> None:
        """Send a block that is not of the log, beside what the reader is sent anyway."""
        if block:
            reader.interject(block, self._resume)

    def _advance(self, feed: Feed, reader: Reader) -> None:
        while not reader.parked and not reader.closed and reader in feed.readers:
            if reader.seq == feed.head:
                if feed.terminal:
                    self._end(feed, reader)
                return
            found = feed.bytes_after(reader.seq)
            if found is None:
                self.reconnect(reader, "slow")
                return
            body, seq = found
            if seq <= reader.seq:
                return
            reader.seq = seq
            last = feed.terminal and seq == feed.head and reader.successor is None
            if body or last:
                reader.push(body, last=last, then=self._resume)

    def _resume(self, reader: Reader) -> None:
        """Its socket is free again, whatever blocked it: what came meanwhile is waiting."""
        feed = self._readers.get(reader)
        if feed is not None:
            self._advance(feed, reader)

    def _end(self, feed: Feed, reader: Reader) -> None:
        if reader.successor is None:
            reader.finish(b"")
        else:
            self.unfollow(feed, reader)
            reader.successor(reader)

    def reconnect(self, reader: Reader, reason: str) -> None:
        """End this connection, and say that only the connection ends."""
        reader.finish(self.reconnect_block(reason))

    def reconnect_block(self, reason: str) -> bytes:
        """The typed, non-terminal end of a connection."""
        fields = sse.event("stream.reconnect", {"reason": reason, "retry_ms": self.times.retry_ms})
        return sse.retry(self.times.retry_ms) + fields

    # Silence, and the end.

    async def _keep_alive(self) -> None:
        while True:
            await asyncio.sleep(self.times.keepalive_s / 2)
            for count, reader in enumerate(list(self._readers), 1):
                self._tick(reader)
                if count % SLICE_READERS == 0:
                    await asyncio.sleep(0)

    def _tick(self, reader: Reader) -> None:
        if reader.closed:
            return
        if reader.parked:
            reader.stalled_ticks += 1
            if reader.stalled_ticks >= STALLED_TICKS_MAX:
                reader.abort()
        elif reader.idle:
            reader.push(sse.KEEPALIVE, then=self._resume)
        reader.idle = True

    def drain(self) -> None:
        """The process is about to end: ask every reader to reconnect, and take no new ones."""
        self.draining = True
        for reader in list(self._readers):
            self.reconnect(reader, "draining")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))


def _wait(wakers: Wakers, session_id: SessionId, wake: Callable[[], None]) -> Callable[[], None]:
    waiting = wakers.setdefault(session_id, {})
    waiting[wake] = None

    def forget() -> None:
        waiting.pop(wake, None)
        if not waiting and wakers.get(session_id) is waiting:
            del wakers[session_id]

    return forget
