"""Server-sent events, read as the WHATWG standard says: however the bytes are cut, the same events come out.

A block without data is no event, and its id is not taken: only what is delivered moves a cursor.
"""

import codecs
from dataclasses import dataclass
from typing import Final

EVENT_CHARS_MAX: Final = 67_108_864
"""Characters of one event that is still arriving. A snapshot of a long run is the largest there is."""

_RETRY_DIGITS_MAX: Final = 9


class EventTooLarge(Exception):
    """A single event is longer than EVENT_CHARS_MAX; nothing sensible sends that."""


@dataclass(frozen=True, slots=True)
class Event:
    """One message. `id` is the block's own id line, None if it had none."""

    type: str
    data: str
    id: str | None


class Parser:
    """One connection's bytes, piece by piece. `retry_ms` is the last `retry:` line, None before the first."""

    def __init__(self) -> None:
        self.retry_ms: int | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._at_start = True
        self._after_cr = False
        self._line: list[str] = []
        self._line_chars = 0
        self._type = ""
        self._data: list[str] = []
        self._data_chars = 0
        self._id: str | None = None

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes complete. Raises EventTooLarge."""
        text = self._decoder.decode(data)
        if not text:
            return []
        if self._at_start:
            self._at_start = False
            text = text.removeprefix("\ufeff")
        *ended, rest = self._lines(text)
        events: list[Event] = []
        for end in ended:
            line = "".join((*self._line, end)) if self._line else end
            self._line = []
            self._line_chars = 0
            event = self._take(line)
            if event is not None:
                events.append(event)
        if rest:
            self._line.append(rest)
            self._line_chars += len(rest)
        if self._line_chars + self._data_chars > EVENT_CHARS_MAX:
            raise EventTooLarge
        return events

    def _lines(self, text: str) -> list[str]:
        """Split at CR, LF and CRLF, also where the CR was the last character of an earlier piece."""
        if self._after_cr and text.startswith("\n"):
            text = text[1:]
            self._after_cr = False
            if not text:
                return [""]
        self._after_cr = text.endswith("\r")
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        return text.split("\n")

    def _take(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._data_chars += len(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit() and len(value) <= _RETRY_DIGITS_MAX:
            self.retry_ms = int(value)
        return None

    def _dispatch(self) -> Event | None:
        event = Event(self._type or "message", "\n".join(self._data), self._id) if self._data else None
        self._type = ""
        self._data = []
        self._data_chars = 0
        self._id = None
        return event
