"""The messages projection: what is stored of a run's messages, and how it is folded on.

It stops at its carry and goes on from there, so that each fold costs what is new: at part ends, at every
FOLD_FRAMES-th frame, and with the facts that cut a run short or end it.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from pydantic_core import from_json, to_json

from ...domain.errors import NotFound, RecordDamaged
from ...domain.frames import PART_END_TYPES
from ...domain.identifiers import RUN_PREFIX, SESSION_PREFIX, RunId, SessionId, identifier
from ...domain.messages import Carry, Fields, Message, Messages, Part
from ...domain.ports import MessagePlace, StoredMessage
from ...domain.request_config import EVERYTHING, RequestConfig
from ...domain.wire import decode_fields
from ..codec import Codec, Row, damaged, stream_id, uuid_in
from ..driver import Connection
from . import statements as sql

FOLD_FRAMES: Final = 1_000
"""Frames that may wait to be folded: the append that crosses a multiple of it folds. Bounds every ending's cost."""

_PART_ENDS: Final = tuple(b'{"type":"%b"' % kind.encode() for kind in PART_END_TYPES)


class Place(NamedTuple):
    """Where a run's messages stand in its session. Never changes."""

    run_id: RunId
    session_id: SessionId
    turn: int
    attempt: int
    config: RequestConfig

    @property
    def key(self) -> dict[str, Any]:
        """The first columns of the messages' key, by parameter."""
        return {"session_id": stream_id(self.session_id), "turn": self.turn, "attempt": self.attempt}

    @classmethod
    def load(cls, connection: Connection, run_id: RunId) -> "Place":
        """Raises NotFound."""
        row = connection.execute(sql.SELECT_PLACE, {"id": stream_id(run_id)}).fetchone()
        if row is None:
            raise NotFound(f"There is no run {run_id!r:.80}.", run_id=run_id)
        session_id = SessionId(identifier(SESSION_PREFIX, uuid_in(row[0])))
        try:
            config = RequestConfig.model_validate(from_json(row[3]).get("request_config", {}))
        except ValueError as error:
            raise damaged(run_id, 0) from error
        return cls(run_id, session_id, row[1], row[2], config)


def folds_at(first_seq: int, data: Sequence[bytes]) -> bool:
    """Whether an append of these frames folds: it ends a part, or crosses a multiple of FOLD_FRAMES."""
    if first_seq // FOLD_FRAMES != (first_seq + len(data)) // FOLD_FRAMES:
        return True
    return any(line.startswith(_PART_ENDS) for line in data)


def fold(connection: Connection, codec: Codec, place: Place, first_seq: int, data: Sequence[bytes]) -> None:
    """Fold on up to the end of `data`, the frames from `first_seq` on. Everything before them is read back.

    A damaged record is passed over: its frames are lost, and the run must still be able to end.
    """
    carry = load_carry(connection, place)
    messages = Messages.resume(carry)
    for record_seq, lines in records(connection, codec, place.run_id, carry.seq, first_seq - 1):
        if not isinstance(lines, RecordDamaged):
            _apply(messages, lines, record_seq)
    _apply(messages, data, first_seq)
    if messages.reset_to is not None:
        voided = place.key | {"to_seq": messages.reset_to}
        connection.execute(sql.DELETE_VOIDED_PARTS, voided)
        connection.execute(sql.ABANDON, voided)
    for message in messages.items:
        _save(connection, place, message)
    kept = messages.carry().model_dump_json().encode()
    connection.execute(sql.SAVE_CARRY, {"run_id": stream_id(place.run_id), "carry": kept})


def _apply(messages: Messages, lines: Sequence[bytes], first_seq: int) -> None:
    for frame in decode_fields(lines[max(0, messages.seq + 1 - first_seq) :]):
        messages.apply(frame)


def decoded(stream: str, seq: int, lines: Sequence[bytes]) -> list[Fields]:
    """Stored frames as plain objects. Raises RecordDamaged."""
    try:
        return decode_fields(lines)
    except ValueError as error:
        raise damaged(stream, seq) from error


def load_carry(connection: Connection, place: Place) -> Carry:
    """Where the run's projection stands. Raises RecordDamaged."""
    row = connection.execute(sql.SELECT_CARRY, {"id": stream_id(place.run_id)}).fetchone()
    if row is None:
        return Carry(prefix=f"{place.session_id}:{place.run_id}")
    try:
        return Carry.model_validate_json(row[0])
    except ValueError as error:
        raise damaged(place.run_id, 0) from error


def records(
    connection: Connection, codec: Codec, run_id: RunId, after_seq: int, last_seq: int
) -> Iterator[tuple[int, tuple[bytes, ...] | RecordDamaged]]:
    """The records that hold the frames after `after_seq` up to `last_seq`: the first one's seq, and its frames.

    The first record may begin before. A damaged one comes as the error.
    """
    if after_seq >= last_seq:
        return
    bounds = {"stream_id": stream_id(run_id), "seq": after_seq + 1, "last_seq": last_seq}
    # All at once: a cursor left open by whoever stops early would keep the connection at this moment's state.
    for columns in connection.execute(sql.SELECT_RECORDS_TO, bounds).fetchall():
        row = Row._make(columns)
        try:
            yield row.version, codec.frames(run_id, row)
        except RecordDamaged as error:
            yield row.version, error


def _save(connection: Connection, place: Place, message: Message) -> None:
    at = place.key | {"ordinal": message.ordinal}
    connection.execute(
        sql.SAVE_MESSAGE,
        at
        | {
            "run_id": stream_id(place.run_id),
            "message_id": message.message_id,
            "role": message.role,
            "status": message.status,
            "first_seq": message.first_seq,
            "config": None if place.config.shows_everything else to_json(place.config),
        },
    )
    new = [part for part in message.parts if _is_new(part)]
    connection.executemany(
        sql.INSERT_PART, [at | {"part_index": p.index, "chunk": p.chunk, "body": to_json(p.fields)} for p in new]
    )


def _is_new(part: Part) -> bool:
    """Whether there is anything to store: a part carried over may have gained nothing."""
    return part.chunk == 0 or part.fields["state"] != "open" or part.fields["text"] != ""


def assembled(connection: Connection, session_id: SessionId, rows: Sequence[Any]) -> list[StoredMessage]:
    """These rows of messages (one behind the other in their session) with their parts, put together from chunks."""
    if not rows:
        return []
    bounds = {"session_id": stream_id(session_id), **_bound("first", rows[0]), **_bound("last", rows[-1])}
    return joined(session_id, rows, connection.execute(sql.SELECT_PARTS, bounds).fetchall())


def joined(session_id: SessionId, rows: Iterable[Any], pieces: Iterable[Any]) -> list[StoredMessage]:
    """These rows of messages with their parts, which come in pieces, in order."""
    parts: dict[MessagePlace, dict[int, Part]] = {}
    for turn, attempt, ordinal, index, body in pieces:
        found = parts.setdefault((turn, attempt, ordinal), {})
        try:
            piece = Part(index, from_json(body))
        except ValueError as error:
            raise damaged(session_id, 0) from error
        if found.setdefault(index, piece) is not piece:
            found[index].merge(piece.fields)
    return [_message(row, parts.get((row[0], row[1], row[2]), {})) for row in rows]


def _bound(name: str, row: Any) -> dict[str, int]:
    return {f"{name}_turn": row[0], f"{name}_attempt": row[1], f"{name}_ordinal": row[2]}


def _message(row: Any, parts: dict[int, Part]) -> StoredMessage:
    turn, attempt, ordinal, message_id, role, status, first_seq, config = row
    body = [part.fields for part in parts.values()]
    fields = {"message_id": message_id, "role": role, "status": status, "parts": body, "first_seq": first_seq}
    try:
        shown = EVERYTHING if config is None else RequestConfig.model_validate_json(config)
    except ValueError as error:
        raise damaged(message_id, first_seq) from error
    return StoredMessage((turn, attempt, ordinal), fields, shown)


def run_of(stream: bytes) -> RunId:
    """The identifier of a run, from its stored form."""
    return RunId(identifier(RUN_PREFIX, uuid_in(stream)))
