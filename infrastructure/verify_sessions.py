"""Verify, of sessions: what is served of them stands in rows; each must say what the session's facts amount to."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple, Protocol

from pydantic import BaseModel, ValidationError

from ..domain.identifiers import SESSION_PREFIX, SessionId, identifier
from ..domain.memory import Memory, first_break
from ..domain.session import Session
from ..domain.session_facts import SESSION_FACTS, Handoff, MemoryAppended, SessionFact
from .codec import uuid_in

_FACTS: Final[Mapping[str, type[SessionFact]]] = {fact.topic: fact for fact in SESSION_FACTS}
_SESSIONS: Final = "SELECT session_id, state FROM sessions ORDER BY session_id"
_MEMORIES: Final = "SELECT session_id, sequence, body FROM memories ORDER BY session_id, sequence"
_HANDOFFS: Final = "SELECT session_id, handoff_id, state FROM handoffs ORDER BY session_id, handoff_id"


class Break(NamedTuple):
    """What is wrong in a stream, and at which seq. Of a memory `seq` is its sequence number."""

    stream: str
    seq: int
    what: str


class Reading(Protocol):
    """What a verification asks of a connection."""

    def execute(self, statement: str, /) -> Iterable[Any]: ...


class Recorded(NamedTuple):
    """What a session's facts amount to, small enough to keep for every session: states as digests.

    `handoffs` by id: the seq of the last fact, and the digest. `whole`: no fact is missing or damaged.
    """

    version: int
    memories: int
    head_hash: str | None
    state: bytes
    handoffs: Mapping[str, tuple[int, bytes]]
    whole: bool


class Facts:
    """One session's facts, taken in one after the other."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.memories: list[Memory] = []
        self._session = Session()
        self._handoffs: dict[str, tuple[int, bytes]] = {}

    def take(self, topic: str, version: int, line: bytes) -> None:
        """Raises KeyError or ValidationError for what is no fact of a session."""
        fact = _FACTS[topic].model_validate_json(line)
        before, self._session = self._session, self._session.evolve(fact, version)
        if isinstance(fact, MemoryAppended):
            self.memories.append(Memory.of(fact))
        handoff = self._session.handoff
        if handoff is not None and handoff is not before.handoff:
            self._handoffs[handoff.handoff_id] = version, _digest(handoff)

    def broken_memory(self) -> Iterator[Break]:
        """Where the chain of its memories breaks, if it does."""
        yield from _in_chain(self.name, self.memories)

    def recorded(self, *, whole: bool) -> Recorded:
        """What they amount to."""
        session = self._session
        memories = len(self.memories)
        return Recorded(session.version, memories, session.memory_hash, _digest(session), self._handoffs, whole)


def in_rows(connection: Reading, recorded: Mapping[bytes, Recorded]) -> Iterator[Break]:
    """Every row of a session that says something else than its facts."""
    for stream, state in connection.execute(_SESSIONS):
        facts = recorded.get(stream)
        if facts is not None and facts.whole and _digest_of(Session, state) != facts.state:
            yield Break(_name(stream), facts.version, "is not what the session's row says")
    yield from _in_memories(connection, recorded)
    yield from _in_handoffs(connection, recorded)


def _in_memories(connection: Reading, recorded: Mapping[bytes, Recorded]) -> Iterator[Break]:
    """The memories as they are served: the same chain, and as many as were recorded."""
    missing = {stream: facts.memories for stream, facts in recorded.items() if facts.memories}
    for stream, group in groupby(connection.execute(_MEMORIES), key=itemgetter(0)):
        missing.pop(stream, None)
        facts = recorded.get(stream)
        if facts is None:
            yield Break(_name(stream), next(group)[1], "is a memory of no session")
        else:
            yield from _in_memory(_name(stream), group, facts)
    yield from (Break(_name(stream), 1, "is a memory that is missing") for stream in missing)


def _in_memory(name: str, rows: Iterator[Any], facts: Recorded) -> Iterator[Break]:
    entries: list[Memory] = []
    moved: Memory | None = None
    for _, sequence, body in rows:
        try:
            entry = Memory.model_validate_json(body)
        except ValidationError:
            yield Break(name, sequence, "is a memory that can't be read")
            continue
        entries.append(entry)
        if moved is None and entry.sequence != sequence:
            moved = entry
    broken = list(_in_chain(name, entries))
    yield from broken
    if len(entries) < facts.memories:
        yield Break(name, len(entries) + 1, "is a memory that is missing")
    elif broken or not facts.whole:
        return
    elif len(entries) > facts.memories:
        yield Break(name, facts.memories + 1, "is a memory that was never recorded")
    elif moved is not None:
        yield Break(name, moved.sequence, "is a memory that stands elsewhere")
    elif entries[-1].hash != facts.head_hash:
        yield Break(name, entries[-1].sequence, "ends another memory than was recorded")


def _in_handoffs(connection: Reading, recorded: Mapping[bytes, Recorded]) -> Iterator[Break]:
    whole = {stream: dict(facts.handoffs) for stream, facts in recorded.items() if facts.whole}
    for stream, handoff_id, state in connection.execute(_HANDOFFS):
        name, told = _name(stream), f"the handoff {handoff_id!r:.90}"
        if stream not in recorded:
            yield Break(name, 0, f"{told} belongs to no session")
        elif stream in whole:
            seq, digest = whole[stream].pop(handoff_id, (0, b""))
            if not seq:
                yield Break(name, 0, f"{told} was never recorded")
            elif _digest_of(Handoff, state) != digest:
                yield Break(name, seq, f"is not what the row of {told} says")
    for stream, left in whole.items():
        for handoff_id, (seq, _) in left.items():
            yield Break(_name(stream), seq, f"is of the handoff {handoff_id!r:.90}, whose row is missing")


def _in_chain(name: str, entries: list[Memory]) -> Iterator[Break]:
    sequence = first_break(SessionId(name), entries) if entries else None
    if sequence is not None:
        yield Break(name, sequence, "breaks the chain of its memory")


def _name(stream: bytes) -> str:
    return identifier(SESSION_PREFIX, uuid_in(stream))


def _digest(state: BaseModel) -> bytes:
    return hashlib.sha256(state.model_dump_json().encode()).digest()


def _digest_of(kind: type[BaseModel], stored: bytes) -> bytes:
    """Of a stored state as this version reads it; of none if it can't be read."""
    try:
        return _digest(kind.model_validate_json(stored))
    except ValidationError:
        return b""
