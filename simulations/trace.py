"""The trace: what happened in a world, in order, as JSON lines that are the same for a seed wherever it runs.

The first line is a header, the last one a footer, all between are records. `emit` only keeps its arguments; they
become text when somebody asks. A trace that is off counts and keeps no records.
"""

import json
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Self

FORMAT: Final = "reattach-trace/1"
"""What the header names; readers refuse others."""

DIGEST_BYTES: Final = 12
"""Bytes of a digest: enough to compare a million traces."""

TIME_DECIMALS: Final = 6
"""Decimals of seconds: a step of the loop is 20 microseconds."""

CONTEXT_LINES: Final = 5
"""Lines shown on either side of a divergence."""

Record = dict[str, Any]
"""One event: `t` (virtual seconds), `n` (its place), `kind`, `proc` (an incarnation's label or nothing), fields."""


class UnreadableTrace(Exception):
    """The file is no trace, or of another format."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A trace as it is read back."""

    header: Mapping[str, Any]
    records: Sequence[Record]
    footer: Mapping[str, Any]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises OSError and UnreadableTrace."""
        try:
            header, *records, footer = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            readable = header["format"] == FORMAT and "digest" in footer
        except (ValueError, KeyError, TypeError) as error:
            raise UnreadableTrace(f"{path} holds no trace") from error
        if not readable:
            raise UnreadableTrace(f"{path} is no {FORMAT}")
        return cls(header, records, footer)


class Trace:
    """What a world emits to. `now` gives virtual seconds, `who` the label of the process that runs."""

    def __init__(
        self,
        now: Callable[[], float],
        who: Callable[[], str | None] = lambda: None,
        *,
        on: bool = True,
        seed: int | None = None,
        planted: str | None = None,
        knobs: Mapping[str, Any] | None = None,
    ) -> None:
        self.on = on
        self.counts: dict[str, int] = {}
        """How often each kind was emitted, also when the trace is off."""
        self._now = now
        self._who = who
        self._raw: list[tuple[float, str, str | None, dict[str, Any]]] = []
        self._header: dict[str, Any] = {"seed": seed, "planted": planted, "knobs": dict(knobs or {})}
        self._schedule = ""
        self._marks: dict[str, int] = {}

    def emit(self, kind: str, /, *, proc: str | None = None, **fields: Any) -> None:
        """Record an event. Fields are ids, numbers, texts, lists and dicts of these; don't change them later."""
        counts = self.counts
        counts[kind] = counts.get(kind, 0) + 1
        if self.on:
            self._raw.append((self._now(), kind, proc or self._who(), fields))

    def finish(self, *, schedule: str, marks: Mapping[str, int]) -> None:
        """The run is over: the loop's digest of its schedule, and the marks that were reached."""
        self._schedule = schedule
        self._marks = dict(sorted(marks.items()))

    def __len__(self) -> int:
        """Events so far, also when the trace is off."""
        return sum(self.counts.values())

    def lines(self) -> Iterator[str]:
        """Header, records, footer, each one JSON object. Raises TypeError for fields that are not plain."""
        yield _json(self._full_header())
        records, digest = list(self._record_lines()), self._new_digest()
        digest.update("\n".join(records).encode())
        yield from records
        yield _json(self._footer(digest.hexdigest()))

    def digest(self) -> str:
        """Of the records (if the trace is off: of their counts) and the schedule. The header is left out."""
        digest = self._new_digest()
        digest.update("\n".join(self._record_lines()).encode())
        return digest.hexdigest()

    def write(self, path: Path) -> None:
        """Save the lines. Raises OSError."""
        path.write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """The lines as a file holds them."""
        return "".join(f"{line}\n" for line in self.lines())

    def recording(self) -> Recording:
        """The same as reading the written file."""
        header, *records, footer = [json.loads(line) for line in self.lines()]
        return Recording(header, records, footer)

    def _full_header(self) -> dict[str, Any]:
        return {"format": FORMAT, "version": _version(), **self._header, "python": platform.python_version()}

    def _footer(self, digest: str) -> dict[str, Any]:
        return {"digest": digest, "counters": dict(sorted(self.counts.items())), "marks": self._marks}

    def _new_digest(self) -> "blake2b":
        start = {"schedule": self._schedule, "marks": self._marks, "counters": dict(sorted(self.counts.items()))}
        return blake2b(_json(start).encode(), digest_size=DIGEST_BYTES)

    def _record_lines(self) -> Iterator[str]:
        for n, (t, kind, proc, fields) in enumerate(self._raw):
            plain = {name: round(v, TIME_DECIMALS) if isinstance(v, float) else v for name, v in fields.items()}
            yield _json({"t": round(t, TIME_DECIMALS), "n": n, "kind": kind, "proc": proc, **plain})


@dataclass(frozen=True, slots=True)
class Divergence:
    """Where two traces part: the first different line (from 1), what both had before it, and what each has there."""

    line: int
    before: tuple[str, ...]
    left: tuple[str, ...]
    right: tuple[str, ...]

    def __str__(self) -> str:
        common = [f"    {line}" for line in self.before]
        own = [
            f"  {sign} {line}" for sign, side in (("<", self.left), (">", self.right)) for line in side or ("(end)",)
        ]
        return "\n".join([f"first difference in line {self.line}", *common, *own])


def first_divergence(left: Iterable[str], right: Iterable[str], context: int = CONTEXT_LINES) -> Divergence | None:
    """Compare two traces line by line; nothing if they are equal. Headers are compared as well."""
    a, b = list(left), list(right)
    if a == b:
        return None
    at = next((n for n, (one, other) in enumerate(zip(a, b, strict=False)) if one != other), min(len(a), len(b)))
    shown = slice(at, at + context)
    return Divergence(at + 1, tuple(a[max(0, at - context) : at]), tuple(a[shown]), tuple(b[shown]))


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _version() -> str:
    """Which Reattach made the trace; a checkout that was never installed can't say."""
    try:
        return metadata.version("reattach")
    except metadata.PackageNotFoundError:
        return "checkout"
