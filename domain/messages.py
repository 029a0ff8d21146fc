"""Messages: a run's frames folded to what people read. One fold serves history, snapshot and client.

The fold works on plain objects (frames as `decode_fields` gives them). It can begin from nothing, from a snapshot's
messages, or from a carry: what is open, without the content that was stored before. That is how the projection
stays incremental: it folds on from its carry, writes what is new as chunks, and keeps the next carry.
"""

from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict

MessageStatus = Literal["open", "complete", "interrupted", "abandoned"]
Fields = dict[str, Any]

_DELTAS: Final = ("text.delta", "reasoning.delta", "tool.call.delta")
_CUTS: Final = ("run.suspended", "run.completed", "run.failed", "run.cancelled", "step.reset")
_WHOLE_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "data": ("name", "value"),
    "source": ("url", "title"),
    "file": ("name", "media_type", "url"),
}


class Part:
    """One part of a message. `fields` is its JSON form; `index` its place; `chunk` counts the pieces stored before."""

    __slots__ = ("_fields", "_pieces", "chunk", "index")

    def __init__(self, index: int, fields: Fields, chunk: int = 0) -> None:
        self.index = index
        self.chunk = chunk
        self._fields = fields
        self._pieces: list[str] = []

    @property
    def fields(self) -> Fields:
        """Its JSON form. The text is joined here, once for many pieces: joining it at each would be quadratic."""
        if self._pieces:
            self._fields["text"] = "".join((self._fields.get("text", ""), *self._pieces))
            self._pieces.clear()
        return self._fields

    def extend(self, text: str) -> None:
        """Add to its text."""
        self._pieces.append(text)

    def merge(self, fields: Mapping[str, Any]) -> None:
        """Add a later piece: `text` continues, everything else replaces."""
        self._fields |= {name: value for name, value in fields.items() if name != "text"}
        if "text" in fields:
            self.extend(fields["text"])


class Message:
    """One message, growing. Ordinal 0 of a run is its prompt."""

    __slots__ = ("first_seq", "message_id", "next_index", "parts", "role", "status")

    def __init__(self, message_id: str, role: str, first_seq: int, status: MessageStatus = "open") -> None:
        self.message_id = message_id
        self.role = role
        self.first_seq = first_seq
        self.status: MessageStatus = status
        self.parts: list[Part] = []
        self.next_index = 0

    @property
    def ordinal(self) -> int:
        """Its place among the run's messages."""
        return int(self.message_id.rpartition(":")[2])

    def add(self, fields: Fields) -> Part:
        """A new part at the end."""
        part = Part(self.next_index, fields)
        self.next_index += 1
        self.parts.append(part)
        return part

    def as_json(self) -> Fields:
        """The form that clients see."""
        parts = [dict(part.fields) for part in self.parts]
        fields = {"message_id": self.message_id, "role": self.role, "status": self.status, "parts": parts}
        return fields | {"first_seq": self.first_seq}


class OpenPart(BaseModel):
    """A part that was open when the projection stopped."""

    model_config = ConfigDict(frozen=True)
    part: str
    kind: str
    index: int
    chunk: int


class Carry(BaseModel):
    """Where the projection of a run's messages stands: everything up to `seq` is stored, this much is still open."""

    model_config = ConfigDict(frozen=True)
    prefix: str
    seq: int = 0
    messages: int = 0
    message_id: str | None = None
    role: str = "assistant"
    first_seq: int = 0
    next_index: int = 0
    parts: tuple[OpenPart, ...] = ()


class Messages:
    """The fold. `items` are the messages seen since it began (and those it began with), in order.

    `prefix` is `session:run`, the head of every message id; `count` the last ordinal given; `reset_to` the earliest
    seq that a step.reset went back to since the fold began.
    """

    def __init__(self, prefix: str, items: Iterable[Message] = (), count: int = 0, seq: int = 0) -> None:
        self.prefix = prefix
        self.items: list[Message] = list(items)
        self.count = count
        self.seq = seq
        self.reset_to: int | None = None
        self._open: Message | None = next((m for m in self.items if m.status == "open"), None)
        self._parts: dict[str, Part] = {}
        if self._open is not None:
            self._parts = {p.fields["part"]: p for p in self._open.parts if p.fields.get("state") == "open"}

    @classmethod
    def resume(cls, carry: Carry) -> Self:
        """Go on from what the projection stored; the fold then holds only what is new."""
        if carry.message_id is None:
            return cls(carry.prefix, count=carry.messages, seq=carry.seq)
        message = Message(carry.message_id, carry.role, carry.first_seq)
        message.next_index = carry.next_index
        for part in carry.parts:
            fields: Fields = {"part": part.part, "kind": part.kind, "state": "open", "text": ""}
            message.parts.append(Part(part.index, fields, part.chunk))
        return cls(carry.prefix, [message], carry.messages, carry.seq)

    @classmethod
    def from_json(cls, prefix: str, items: Iterable[Mapping[str, Any]], seq: int) -> Self:
        """Go on from a snapshot's messages."""
        messages: list[Message] = []
        for item in items:
            message = Message(item["message_id"], item["role"], item["first_seq"], item["status"])
            for fields in item["parts"]:
                message.add(dict(fields))
            messages.append(message)
        return cls(prefix, messages, messages[-1].ordinal if messages else 0, seq)

    def carry(self) -> Carry:
        """What the next `resume` needs, once everything held here is stored."""
        message = self._open
        if message is None:
            return Carry(prefix=self.prefix, seq=self.seq, messages=self.count)
        parts = tuple(
            OpenPart(part=name, kind=part.fields["kind"], index=part.index, chunk=part.chunk + 1)
            for name, part in self._parts.items()
        )
        return Carry(
            prefix=self.prefix,
            seq=self.seq,
            messages=self.count,
            message_id=message.message_id,
            role=message.role,
            first_seq=message.first_seq,
            next_index=message.next_index,
            parts=parts,
        )

    def as_json(self) -> list[Fields]:
        """The messages as clients see them."""
        return [message.as_json() for message in self.items]

    def apply(self, frame: Mapping[str, Any]) -> None:
        """Fold one frame. Total: unknown types, and ends of what is closed already, change nothing."""
        kind: str = frame["type"]
        self.seq = frame["seq"]
        if kind in _DELTAS:
            part = self._parts.get(frame["part"])
            if part is not None:
                part.extend(frame["text"])
        elif kind in ("text.start", "reasoning.start", "tool.call.start"):
            self._start_part(kind.partition(".")[0], frame)
        elif kind in ("text.end", "reasoning.end"):
            self._end_part(frame["part"], {})
        elif kind == "tool.call.ready":
            self._end_part(frame["part"], {"arguments": frame["arguments"]})
        elif kind == "tool.result":
            self._add({"kind": "tool_result"} | {k: v for k, v in frame.items() if k not in ("type", "seq")})
        elif kind in _WHOLE_PARTS:
            self._add({"kind": kind} | {name: frame[name] for name in _WHOLE_PARTS[kind]})
        elif kind == "message.start":
            if self._open is not None and self._open.first_seq != self.seq:
                self._interrupt()  # its end was lost with a damaged record
            self._open = self._append(frame["message_id"], frame["role"], "open")
        elif kind == "message.end":
            self._close("complete")
        elif kind == "run.created":
            prompt = self._append(frame["message_id"], "user", "complete")
            if frame["prompt"] is not None and not prompt.parts:
                prompt.add({"kind": "text", "text": frame["prompt"], "state": "done"})
        elif kind in _CUTS:
            self._cut(kind, frame)

    def _append(self, message_id: str, role: str, status: MessageStatus) -> Message:
        later = takewhile(lambda message: message.first_seq >= self.seq, reversed(self.items))
        again = next((message for message in later if message.first_seq == self.seq), None)
        if again is not None:  # a frame the snapshot has seen already: folding it twice changes nothing
            return again
        message = Message(message_id, role, self.seq, status)
        self.count = message.ordinal
        self.items.append(message)
        return message

    def _add(self, fields: Fields) -> None:
        if self._open is not None:
            self._open.add(fields)

    def _start_part(self, kind: str, frame: Mapping[str, Any]) -> None:
        owner = frame.get("message_id")  # another one: its start was lost with a damaged record
        if self._open is not None and owner in (None, self._open.message_id) and frame["part"] not in self._parts:
            call = {name: frame[name] for name in ("tool_call_id", "name") if name in frame}
            fields = {"part": frame["part"], "kind": kind, "state": "open", "text": ""} | call
            self._parts[frame["part"]] = self._open.add(fields)

    def _end_part(self, name: str, fields: Fields) -> None:
        part = self._parts.pop(name, None)
        if part is not None:
            part.merge(fields | {"state": "done"})

    def _close(self, status: MessageStatus) -> None:
        if self._open is not None:
            self._open.status = status
        self._open = None
        self._parts = {}

    def _interrupt(self) -> None:
        for part in self._parts.values():
            part.fields["state"] = "cut"
        self._close("interrupted")

    def _cut(self, kind: str, frame: Mapping[str, Any]) -> None:
        self._interrupt()
        if kind == "step.reset":
            self.reset_to = min(frame["to_seq"], self.reset_to if self.reset_to is not None else frame["to_seq"])
            for message in self.items:
                if message.role != "user" and message.first_seq > frame["to_seq"]:
                    message.status = "abandoned"
                    message.parts = []
        elif kind in ("run.failed", "run.cancelled"):
            outcome = {name: frame[name] for name in ("error", "reason", "by") if name in frame}
            event = self._append(f"{self.prefix}:{self.count + 1}", "event", "complete")
            if not event.parts:
                event.add({"kind": "event", "event": kind} | outcome)
