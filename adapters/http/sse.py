"""Server-sent events: one block per frame, composed once per process and shared by all readers.

Source: WHATWG HTML, section 9.2. LF line ends, one `data:` line, ids in visible ASCII, never empty; `retry` in digits.
"""

from collections.abc import Sequence
from typing import Final

from pydantic import JsonValue
from pydantic_core import to_json

from ...domain.identifiers import Cursor, RunId
from ...domain.ports import Damaged, Record
from ...domain.request_config import RequestConfig

KEEPALIVE: Final = b": keepalive\n\n"
"""A comment: keeps proxies and watchdogs content, has no id and moves no cursor."""

HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]

_TYPE_AT: Final = len(b'{"type":"')


class Encoder:
    """Turns one run's records into blocks, as the run's request_config shows them."""

    __slots__ = ("_config", "_epoch", "_everything", "_generation", "_prefix", "_run_id")

    def __init__(self, run_id: RunId, generation: int, config: RequestConfig) -> None:
        self._run_id = run_id
        self._generation = generation
        self._config = config
        self._everything = config.shows_everything
        self._epoch = -1
        self._prefix = b""

    def blocks(self, record: Record | Damaged) -> list[bytes]:
        """A block per frame, in order; empty for a frame that is not shown."""
        if record.epoch != self._epoch:
            self._epoch = record.epoch
            self._prefix = f"\nid: {self._run_id}.{self._generation}.{self._epoch}.".encode()
        if isinstance(record, Damaged):
            return self._damaged(record)
        lines: Sequence[bytes | None] = record.data
        if not self._everything:
            lines = [self._config.shown(line) for line in record.data]
        prefix = self._prefix
        return [
            b"event: %b%b%d\ndata: %b\n\n" % (line[_TYPE_AT : line.index(b'"', _TYPE_AT)], prefix, seq, line)
            if line is not None
            else b""
            for seq, line in enumerate(lines, record.first_seq)
        ]

    def _damaged(self, record: Damaged) -> list[bytes]:
        """The frames are lost, the reader goes on: their one block carries the id of the last of them."""
        fields: dict[str, JsonValue] = {
            "first_seq": record.first_seq,
            "last_seq": record.last_seq,
            "code": "record_damaged",
        }
        cursor = Cursor(self._run_id, self._generation, record.epoch, record.last_seq)
        block = event("stream.error", fields, cursor=str(cursor))
        return [b""] * (record.last_seq - record.first_seq) + [block]


def event(kind: str, fields: dict[str, JsonValue], cursor: str | None = None) -> bytes:
    """A block for what the log does not contain. Only a stream.error carries an id."""
    line = to_json({"type": kind, **fields})
    name = b"event: " + kind.encode()
    if cursor is not None:
        name += b"\nid: " + cursor.encode()
    return name + b"\ndata: " + line + b"\n\n"


def retry(milliseconds: int) -> bytes:
    """The line that tells a client how long to wait before it reconnects; goes in front of the first block."""
    return b"retry: %d\n" % milliseconds
