"""How a record's bytes are composed, sealed and checked: frames joined by newlines, a checksum over all of a row.

The state of output is its frames' lines; that of a fact is the fact's JSON and, below it, its frames' lines. JSON
never holds a raw newline, so splitting is all that a reader pays.
"""

import zlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple, Protocol
from uuid import UUID

from ..domain.errors import RecordDamaged
from ..domain.identifiers import uuid_of

OUTPUT_TOPIC: Final = "run.output"
"""The topic of batches of frames; every other topic names a fact."""

_IDS_CACHED: Final = 16_384
"""Identifiers whose stream id is remembered; a live run's is asked for with every append."""


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Compressor(Protocol):
    """The library's hook: makes bytes smaller."""

    def compress(self, data: bytes) -> bytes: ...
    def decompress(self, data: bytes) -> bytes: ...


class Cipher(Protocol):
    """The library's hook: makes bytes unreadable."""

    def encrypt(self, plaintext: bytes) -> bytes: ...
    def decrypt(self, ciphertext: bytes) -> bytes: ...


class Row(NamedTuple):
    """One stored event, as the statements select it."""

    version: int
    frames: int
    epoch: int
    topic: str
    state: bytes
    checksum: int = 0

    @property
    def last(self) -> int:
        """The version of its last frame, as far as the row can be trusted."""
        try:
            return self.version + self.frames - 1
        except TypeError:  # an altered row may hold anything
            return self.version


class Codec:
    """Seals what is stored and opens what is read. Without hooks the stored bytes are the lines themselves."""

    def __init__(self, compressor: Compressor | None = None, cipher: Cipher | None = None) -> None:
        self.compressor = compressor
        self.cipher = cipher

    def seal(self, lines: Sequence[bytes]) -> bytes:
        """The stored form of these lines: joined, compressed, encrypted."""
        state = b"\n".join(lines)
        if self.compressor is not None:
            state = self.compressor.compress(state)
        return state if self.cipher is None else self.cipher.encrypt(state)

    def open(self, state: bytes) -> list[bytes]:
        """The lines of a stored state. Raises whatever the hooks raise for bytes they did not make."""
        if self.cipher is not None:
            state = self.cipher.decrypt(state)
        if self.compressor is not None:
            state = self.compressor.decompress(state)
        return state.split(b"\n")

    def lines(self, stream: str, row: Row) -> list[bytes]:
        """All lines of a record, checked. Raises RecordDamaged naming the stream and the seq."""
        try:
            if checksum(stream_id(stream), row) == row.checksum:
                return self.open(row.state)
        except Exception as error:
            raise damaged(stream, row.version) from error
        raise damaged(stream, row.version)

    def frames(self, stream: str, row: Row) -> tuple[bytes, ...]:
        """The frames of a run's record, checked. Raises RecordDamaged naming the stream and the seq."""
        lines = self.lines(stream, row)
        if row.topic != OUTPUT_TOPIC:
            del lines[0]
        if len(lines) != row.frames:
            raise damaged(stream, row.version)
        return tuple(lines)


def checksum(stream: bytes, row: Row) -> int:
    """CRC-32 over everything that makes the record what it is, as it is stored."""
    return zlib.crc32(row.state, zlib.crc32(b"%b %d %d %d %b " % (stream, *row[:3], row.topic.encode())))


def damaged(stream: str, seq: int) -> RecordDamaged:
    """The error for a record that can't be trusted."""
    return RecordDamaged(f"The record at seq {seq} of {stream} is torn or altered.", stream=stream, seq=seq)


@lru_cache(_IDS_CACHED)
def stream_id(text: str) -> bytes:
    """The stored form of an identifier: the sixteen bytes of its UUID."""
    return uuid_of(text).bytes


def uuid_in(stream: bytes) -> UUID:
    """The UUID in a stored stream id."""
    return UUID(bytes=stream)


def microseconds(at: datetime) -> int:
    """The stored form of a time."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def moment(stored: int | None) -> datetime | None:
    """The time of a stored form."""
    return None if stored is None else _EPOCH + timedelta(microseconds=stored)
