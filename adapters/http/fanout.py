"""The fan-out: serves the readers of what was committed, in slices of the loop's time.

A crowd that the writers overtake is served a few at a time, so that an append does not feel how many read.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from ...domain.ports import Clock
from .feed import Feed
from .reader import Reader

SLICE_S: Final = 0.0005
"""Seconds the fan-out keeps the loop before others get their turn."""

SLICE_READERS: Final = 8
"""Readers served between two looks at the clock."""

OVERTAKEN_COMMITS: Final = 2
"""Commits during one round of the fan-out that show that the writers do not wait for it."""

CROWD_READERS: Final = 64
"""Readers of one run from which on serving them all takes longer than an append: they step aside for writers."""

ASIDE_S: Final = 0.001
"""Seconds a crowd leaves the loop to the writers after each few readers (uvloop's timers know no less)."""

QUIET_S: Final = 0.005
"""Seconds without a commit after which the writers have stopped, and a crowd need not step aside any more."""

ASIDE_READERS: Final = 4
"""Readers of a crowd served at once meanwhile."""

ASIDE_ROUND_S: Final = 0.125
"""Seconds within which the whole crowd is served all the same: the larger it is, the more are served at once."""

ASIDE_FRAMES_MAX: Final = 256
"""Frames a crowd may be behind and still step aside; with more it would fall out of the window."""


class Fanout:
    """Which feeds have readers to serve, and whose turn it is. `advance` sends a reader what it has not had."""

    def __init__(self, clock: Clock, advance: Callable[[Feed, Reader], None]) -> None:
        self._clock = clock
        self._advance = advance
        self._feeds: deque[Feed] = deque()
        self._pumping = False
        self._groups = 0
        self._committed_at = 0.0

    def committed(self) -> None:
        """Another group of commits has landed."""
        self._groups += 1
        self._committed_at = self._clock.monotonic()

    def serve(self, feed: Feed) -> None:
        """Bring all readers of the feed to its head, soon."""
        if feed.queue:
            feed.again = True
        elif feed.readers:
            self._begin_round(feed, self._groups)
        self._wake()

    def _begin_round(self, feed: Feed, groups: int) -> None:
        feed.queue = list(feed.readers)
        feed.round_began = groups
        self._feeds.append(feed)

    def _wake(self) -> None:
        if self._feeds and not self._pumping:
            self._pumping = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        """Serve readers for one slice of time; come back for the rest."""
        began = self._clock.monotonic()
        served = 0
        while self._feeds:
            feed = self._feeds[0]
            if self._is_overtaken(feed, began):
                self._feeds.popleft()
                self._step_aside(feed)
                continue
            while feed.queue:
                self._advance(feed, feed.queue.pop())
                served += 1
                if served % SLICE_READERS == 0 and self._clock.monotonic() - began >= SLICE_S:
                    asyncio.get_running_loop().call_soon(self._pump)
                    return
            self._feeds.popleft()
            if feed.again:
                feed.again = False
                overtaken = self._groups - feed.round_began >= OVERTAKEN_COMMITS
                self._begin_round(feed, self._groups - OVERTAKEN_COMMITS if overtaken else self._groups)
        self._pumping = False

    def _is_overtaken(self, feed: Feed, now: float) -> bool:
        """Whether writers go on while this crowd is being served: they do not wait for it, and must not have to."""
        if len(feed.readers) < CROWD_READERS or self._groups - feed.round_began < OVERTAKEN_COMMITS:
            return False
        if len(feed.queue) < 2 or now - self._committed_at >= QUIET_S:
            return False
        return feed.head - feed.queue[-1].seq <= ASIDE_FRAMES_MAX

    def _step_aside(self, feed: Feed) -> None:
        """Serve a few, and the rest of the crowd a little later. One is always left: `queue` says that it goes on."""
        share = max(ASIDE_READERS, int(len(feed.readers) * ASIDE_S / ASIDE_ROUND_S))
        for _ in range(min(share, len(feed.queue) - 1)):
            self._advance(feed, feed.queue.pop())
        asyncio.get_running_loop().call_later(ASIDE_S, self._come_back, feed)

    def _come_back(self, feed: Feed) -> None:
        self._feeds.append(feed)
        self._wake()
