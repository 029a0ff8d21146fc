"""Memory: a session's append-only sequence of entries, each chained by hash to the one before it.

The chain makes a gap, a fork or an altered entry visible to anybody who holds the last hash: `continuity` is that
evidence, and every resume carries it.
"""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue
from pydantic_core import from_json, to_json

from .identifiers import SessionId
from .session_facts import MemoryAppended

MEMORY_BYTES_MAX: Final = 65_536
"""Bytes of one entry's content as JSON."""


class Entry(Protocol):
    """What the chain is made of."""

    @property
    def sequence(self) -> int: ...
    @property
    def content(self) -> JsonValue: ...
    @property
    def by(self) -> str | None: ...
    @property
    def epoch(self) -> int: ...
    @property
    def at(self) -> datetime: ...


class Memory(BaseModel):
    """One entry. `sequence` counts from 1 without gaps; `epoch` is the session's when it was accepted."""

    model_config = ConfigDict(frozen=True)
    sequence: int
    content: JsonValue
    by: str | None
    epoch: int
    at: AwareDatetime
    hash: str

    @classmethod
    def of(cls, fact: MemoryAppended) -> "Memory":
        """The entry that this fact appended."""
        names = ("sequence", "content", "by", "epoch", "at", "hash")
        return cls(**{name: getattr(fact, name) for name in names})


class Continuity(BaseModel):
    """The evidence that a memory is one sequence: how many entries, the first and last number, the last hash."""

    model_config = ConfigDict(frozen=True)
    count: int = 0
    first: int | None = None
    last: int | None = None
    head_hash: str | None = None


def chain_hash(previous: str | None, session_id: SessionId, entry: Entry) -> str:
    """SHA-256 over the previous hash and the entry as JSON with sorted keys: the same for everybody who holds both."""
    moment = from_json(to_json(entry.at.astimezone(UTC)))  # as every answer has it
    fields = [previous, session_id, entry.sequence, moment, entry.epoch, entry.by, entry.content]
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def first_break(session_id: SessionId, entries: Iterable[Memory], before: Memory | None = None) -> int | None:
    """The sequence number at which the chain that goes on from `before` breaks; None: it holds."""
    previous, last = (before.hash, before.sequence) if before is not None else (None, 0)
    for entry in entries:
        if entry.sequence != last + 1 or entry.hash != chain_hash(previous, session_id, entry):
            return last + 1
        previous, last = entry.hash, entry.sequence
    return None
