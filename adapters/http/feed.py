"""A feed: the hot end of one watched run, in memory, as the blocks that readers are sent.

A window, not a source: it accepts only the next seq, so a reader is never sent a frame the store does not have, and
whoever needs older frames reads them from the store.
"""

from bisect import bisect_right
from collections import deque
from itertools import islice
from typing import Final, NamedTuple

from ...domain.frames import TERMINAL_TYPES
from ...domain.ports import Damaged, Record, RunView
from ...domain.wire import type_of
from .reader import SEND_BYTES_MAX, Reader
from .sse import Encoder

WINDOW_FRAMES_MAX: Final = 8192
"""Frames kept per watched run; a live reader further behind than this is asked to reconnect."""

WINDOW_BYTES_MAX: Final = 2_097_152
"""Bytes of blocks kept per watched run."""


class Chunk(NamedTuple):
    """The blocks of one record."""

    first_seq: int
    last_seq: int
    epoch: int
    blocks: list[bytes]
    size: int


class Feed:
    """The window over one run's log and the readers who live at its end.

    `head` is the last seq the process knows to be durable, `start` the first one in the window. `queue` are the
    readers still to be served in this round, which began after so many groups of commits (`round_began`), `again` says
    that more arrived meanwhile; `watchers` counts who holds the feed, readers that are still catching up included.
    """

    __slots__ = (
        "_joined",
        "_size",
        "again",
        "chunks",
        "encoder",
        "head",
        "queue",
        "readers",
        "round_began",
        "stale",
        "start",
        "terminal",
        "view",
        "watchers",
    )

    def __init__(self, view: RunView, encoder: Encoder) -> None:
        self.view = view
        self.encoder = encoder
        self.head = view.head_seq
        self.start = view.head_seq + 1
        self.terminal = view.run.final
        self.stale = False
        self.readers: dict[Reader, None] = {}
        self.queue: list[Reader] = []
        self.round_began = 0
        self.watchers = 0
        self.again = False
        self.chunks: deque[Chunk] = deque()
        self._size = 0
        self._joined: dict[int, tuple[bytes, int]] = {}

    def accept(self, record: Record | Damaged) -> None:
        """Take the next record. One that is not next is ignored and leaves the feed stale: it must be re-read."""
        if record.first_seq != self.head + 1:
            self.stale = self.stale or record.last_seq > self.head
            return
        blocks = self.encoder.blocks(record)
        chunk = Chunk(record.first_seq, record.last_seq, record.epoch, blocks, sum(map(len, blocks)))
        self.chunks.append(chunk)
        self.head = chunk.last_seq
        self._size += chunk.size
        self._joined.clear()
        if isinstance(record, Record) and type_of(record.data[-1]) in TERMINAL_TYPES:
            self.terminal = True
        while self.head - self.start >= WINDOW_FRAMES_MAX or (self._size > WINDOW_BYTES_MAX and len(self.chunks) > 1):
            oldest = self.chunks.popleft()
            self.start = oldest.last_seq + 1
            self._size -= oldest.size

    def bytes_after(self, seq: int) -> tuple[bytes, int] | None:
        """What follows `seq`, at most about SEND_BYTES_MAX bytes, and the last seq in it; None if it left the window.

        One piece of bytes, shared by all readers at that place.
        """
        joined = self._joined.get(seq)
        if joined is None:
            if seq + 1 < self.start:
                return None
            joined = self._joined[seq] = self._join(seq)
        return joined

    def epoch_at(self, seq: int) -> int | None:
        """The epoch of the record that holds `seq`, if it is in the window."""
        for chunk in reversed(self.chunks):
            if chunk.first_seq <= seq <= chunk.last_seq:
                return chunk.epoch
        return None

    def _join(self, seq: int) -> tuple[bytes, int]:
        behind = bisect_right(self.chunks, seq, key=lambda chunk: chunk.last_seq)
        pieces: list[bytes] = []
        size = 0
        for chunk in islice(self.chunks, behind, None):
            pieces += chunk.blocks[max(0, seq + 1 - chunk.first_seq) :]
            seq = chunk.last_seq
            size += chunk.size
            if size >= SEND_BYTES_MAX:
                break
        return b"".join(pieces), seq
