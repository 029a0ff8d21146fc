"""Identifiers and cursors: the only names a client ever holds.

An identifier is a typed prefix and a UUID in Crockford base32 (the TypeID form: `run_01h455vb4pex5vsknk084sn02q`):
visible ASCII, no dots, sorts by time of creation. A cursor is `run_id.generation.epoch.seq`, opaque outside.
"""

import re
from typing import Final, NamedTuple, NewType
from uuid import UUID

from .errors import InvalidCursor

SessionId = NewType("SessionId", str)
JobId = NewType("JobId", str)
RunId = NewType("RunId", str)

SESSION_PREFIX: Final = "ses"
JOB_PREFIX: Final = "job"
RUN_PREFIX: Final = "run"

CURSOR_LENGTH_MAX: Final = 64
"""Bytes. A cursor travels in a header of every reconnect; longer ones are refused."""

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUES: Final = {character: value for value, character in enumerate(_ALPHABET)}
_SUFFIX_LENGTH: Final = 26
_IDENTIFIER: Final = re.compile(rf"(ses|job|run)_([0-7][{_ALPHABET}]{{{_SUFFIX_LENGTH - 1}}})")
_CURSOR: Final = re.compile(  # one spelling each: no leading zeros
    rf"((?:run|ses)_[0-7][{_ALPHABET}]{{{_SUFFIX_LENGTH - 1}}})"
    r"\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,5})\.(0|[1-9][0-9]{0,14})"
)
_SEQ: Final = re.compile(r"[0-9]{1,15}", re.ASCII)


def identifier(prefix: str, uuid: UUID) -> str:
    """The public form of `uuid`, e.g. `run_01h455vb4pex5vsknk084sn02q`."""
    number = uuid.int
    characters = [_ALPHABET[(number >> (5 * place)) & 31] for place in reversed(range(_SUFFIX_LENGTH))]
    return f"{prefix}_{''.join(characters)}"


def is_identifier(prefix: str, text: str) -> bool:
    """Whether `text` has the form of an identifier with this prefix. Says nothing about its existence."""
    match = _IDENTIFIER.fullmatch(text)
    return match is not None and match[1] == prefix


def uuid_of(text: str) -> UUID:
    """The UUID inside an identifier. The text must satisfy `is_identifier` (ValueError otherwise)."""
    match = _IDENTIFIER.fullmatch(text)
    if match is None:
        message = f"{text!r} is not an identifier"
        raise ValueError(message)
    number = 0
    for character in match[2]:
        number = number << 5 | _VALUES[character]
    return UUID(int=number)


class Cursor(NamedTuple):
    """A reader's place: it has seen everything of this run up to and including `seq`.

    An empty session has a place too, before its first run: its own id stands for the run's, with epoch and seq 0.

    `generation` counts restores and fail-overs of the store, `epoch` is that of the row at `seq`: with both, a log
    that was restored or that regrew is told from the one the reader knew.
    """

    run_id: RunId
    generation: int
    epoch: int
    seq: int

    def __str__(self) -> str:
        """The wire form."""
        return f"{self.run_id}.{self.generation}.{self.epoch}.{self.seq}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read the wire form. Raises InvalidCursor."""
        match = _CURSOR.fullmatch(text) if len(text) <= CURSOR_LENGTH_MAX else None
        if match is None or (text.startswith(SESSION_PREFIX) and (match[3], match[4]) != ("0", "0")):
            raise InvalidCursor(cursor=text[:CURSOR_LENGTH_MAX])
        return cls(RunId(match[1]), int(match[2]), int(match[3]), int(match[4]))


def parse_seq(text: str) -> int | None:
    """A bare sequence number (the short form `?after=` takes on a run's stream), or None if it is not one."""
    return int(text) if _SEQ.fullmatch(text) else None


def message_id(session_id: SessionId, run_id: RunId, ordinal: int) -> str:
    """`session:run:ordinal`, stable for ever. Ordinal 0 is the run's prompt."""
    return f"{session_id}:{run_id}:{ordinal}"
