"""Events and decisions in words, for people who have not read the code."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from .sites import MEANINGS
from .trace import Record

Fields = Mapping[str, Any]

MINOR: Final = frozenset({"send", "deliver", "arrive", "end", "mark", "phase", "wake", "knobs"})
"""Events that a reader can do without at first."""

TROUBLE: Final = frozenset(
    {"pause", "cut", "clog", "lost", "unknown", "crash", "unread", "reset", "stall", "skew", "fault"}
)
"""Events that are always the world's own doing."""

WORKS_SHOWN: Final = 4
"""Works of a commit that are named; the others are counted."""

_IDENTIFIER: Final = re.compile(r"\b(ses|job|run)_[0-9a-z]{26}")
_WORDS: Final = {"ses": "session", "job": "job", "run": "run"}

_DOWN: Final = {"kill": "is killed (kill -9: no clean-up runs)", "term": "is told to stop (SIGTERM)", "end": "ends"}
_WAKE: Final = {
    "ok": "is woken: there is news in the log",
    "dropped": "is not woken: the wake-up is dropped",
    "late": "is woken late",
    "twice": "is woken twice",
}


class Nicknames:
    """Short names for long identifiers, in the order they come in: `run 1` for `run_01h455vb4pex5vsknk084sn02q`."""

    def __init__(self) -> None:
        self.given: dict[str, str] = {}
        """The short name of each identifier."""
        self._counts: Counter[str] = Counter()

    def spoken(self, text: str) -> str:
        """The text with short names."""
        return _IDENTIFIER.sub(self._name, text)

    def _name(self, found: re.Match[str]) -> str:
        name = self.given.get(found[0])
        if name is None:
            word = _WORDS[found[1]]
            self._counts[word] += 1
            name = self.given[found[0]] = f"{word} {self._counts[word]}"
        return name


def event(record: Record) -> str:
    """One event as a sentence, without its time."""
    say = _SENTENCES.get(record["kind"])
    who = record.get("proc") or "the world"
    return say(who, record) if say else f"{who}: {record['kind']}{_rest(record)}"


def is_fault(record: Record) -> bool:
    """Whether the world did this on purpose, to make trouble."""
    match record["kind"]:
        case "down":
            return record.get("how") != "end"
        case "wake":
            return record.get("how") != "ok"
        case "leave":
            return record.get("how") == "vanish"
        case kind:
            return kind in TROUBLE


def is_minor(record: Record) -> bool:
    """Whether a reader can do without it at first."""
    expected = record["kind"] == "down" and record.get("how") == "end"
    return expected or (record["kind"] in MINOR and not is_fault(record))


def frames(first: object, last: object) -> str:
    """A range of frames, as short as can be: 3, or 3-5."""
    return f"{first}" if first == last or last is None else f"{first}–{last}"  # noqa: RUF001  - typography


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th."""
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"


def decision(site: str, position: int, value: int) -> str:
    """One decision of a tape that is not the benign one."""
    name, _, who = site.partition(":")
    if name.startswith("config.fault."):
        return f"faults of the kind “{name.removeprefix('config.fault.')}” may happen in this world"
    template = MEANINGS.get(name)
    words = {"who": who or "the world", "nth": ordinal(position + 1), "value": value, "more": value + 1}
    if template:
        return template.format_map(words)
    spoken = name.replace(".", " ").replace("-", " ")
    at = f" at {who}" if who else ""
    return f"{spoken}{at}, the {words['nth']} time" + (f": choice {value}" if value > 1 else "")


def decisions(tape: Mapping[str, Sequence[int]]) -> list[tuple[str, str]]:
    """Each decision that is not the benign one: in words, and as it stands on the tape."""
    return [
        (decision(site, position, value), f"{site}[{position}] = {value}")
        for site, values in sorted(tape.items())
        for position, value in enumerate(values)
        if value
    ]


def _request(who: str, record: Fields) -> str:
    cursor = f", from the place {record['cursor']}" if record.get("cursor") else ""
    key = f", idempotency key {record['key']}" if record.get("key") else ""
    return (
        f"{who} asks {record.get('to')}: {record.get('method')} {record.get('path')}{cursor}{key} (x{record.get('x')})"
    )


def _send(who: str, record: Fields) -> str:
    what = f"frames {frames(record['first'], record.get('last'))}" if record.get("first") else "part of the answer"
    return f"{who} sends {what} (x{record.get('x')}, {record.get('bytes')} bytes)"


def _deliver(who: str, record: Fields) -> str:
    return f"{record.get('bytes')} bytes of x{record.get('x')} arrive at {who}"


def _commit(who: str, record: Fields) -> str:
    news = "; ".join(map(_piece, record.get("news", ())))
    return f"{who} writes, and it is durable: {news or _works(record)}"


def _piece(news: Fields) -> str:
    what = f"{news['run']} frames {frames(news['first'], news['last'])} ({news.get('type')})"
    return f"{what} under epoch {news['epoch']}" if news.get("epoch") else what


def fact(record: Fields) -> str:
    """What has happened to a session, in a few words."""
    say = _FACTS.get(str(record.get("what")))
    said = {"owner": "nobody", "epoch": "?", "turn": "?", "run": "a run", "sequence": "?", "by": "somebody", **record}
    return say.format_map(said) if say else str(record.get("what")).replace("_", " ")


def _fact(_: str, record: Fields) -> str:
    return f"{record.get('session')}: {fact(record)}{_rest(record, 'session', 'what', *_IN_WORDS)}"


def _act(who: str, record: Fields) -> str:
    return f"{who} decides: {record.get('does')}{_rest(record, 'does')}"


def _works(record: Fields) -> str:
    works = [str(work) for work in record.get("works", ())]
    more = f" and {len(works) - WORKS_SHOWN} more" if len(works) > WORKS_SHOWN else ""
    return ", ".join(works[:WORKS_SHOWN]) + more or "nothing"


def _rest(record: Fields, *said: str) -> str:
    known = {"t", "n", "kind", "proc", *said}
    rest = ", ".join(
        str(value) if name in ("run", "session") else f"{name} {value}"
        for name, value in record.items()
        if name not in known and value is not None
    )
    return f" ({rest})" if rest else ""


_IN_WORDS: Final = ("owner", "epoch", "how", "turn", "run", "sequence", "by", "handoff_id")
_FACTS: Final[Mapping[str, str]] = {
    "created": "it begins",
    "warned": "it stands in for another",
    "attached": "{owner} owns it, under epoch {epoch} ({how})",
    "detached": "{owner} owns it no more",
    "memory_appended": "memory {sequence} by {by}",
    "turn_queued": "{run} waits for turn {turn}",
    "turn_withdrawn": "{run} waits no more: it was cancelled",
    "turn_started": "turn {turn} begins: {run}",
    "turn_ended": "turn {turn} is over: {run}",
    "handoff_requested": "the handoff {handoff_id} is asked for",
    "handoff_ready": "the handoff {handoff_id} is ready: its target may come",
    "handoff_ended": "the handoff {handoff_id} has ended",
    "summary_claimed": "{by} summarizes it",
    "summary_staged": "its summary is safe",
    "summary_completed": "it is summarized",
    "finalized": "it takes nothing any more",
    "deleted": "it is gone",
}

_SENTENCES: Final[Mapping[str, Callable[[str, Fields], str]]] = {
    "up": lambda who, r: f"{who} starts{_rest(r)}",
    "down": lambda who, r: f"{who} {_DOWN.get(str(r.get('how')), 'stops')}",
    "pause": lambda who, r: f"{who} is frozen for {r.get('s')} s (as by SIGSTOP)",
    "crash": lambda who, r: f"{who} is going to die right {r.get('when')} this write: {_works(r)}",
    "resume": lambda who, r: f"{who} goes on",
    "request": _request,
    "answer": lambda who, r: f"{who} answers x{r.get('x')} with {r.get('status')}",
    "send": _send,
    "deliver": _deliver,
    "arrive": lambda who, r: f"x{r.get('x')} arrives at {who}",
    "end": lambda who, r: f"{who} ends the answer x{r.get('x')}",
    "reset": lambda who, r: f"{who} loses the connection x{r.get('x')} ({r.get('why')})",
    "refused": lambda who, r: f"{who} is not let in, x{r.get('x')} ({r.get('why')})",
    "leave": lambda who, r: (
        f"{who} vanishes from x{r.get('x')} without a word"
        if r.get("how") == "vanish"
        else f"{who} closes x{r.get('x')}"
    ),
    "cut": lambda who, r: f"nothing passes between {r.get('a')} and {r.get('b')} for {r.get('s')} s ({r.get('how')})",
    "clog": lambda who, r: f"{r.get('a')} to {r.get('b')} is slow for {r.get('s')} s: {r.get('delay_ms')} ms a packet",
    "mend": lambda who, r: f"the network is whole again{_rest(r)}",
    "commit": _commit,
    "fact": _fact,
    "lost": lambda who, r: f"a write of {who} fails and changes nothing: {_works(r)}",
    "unknown": lambda who, r: f"{who} is not told whether its write was done: {_works(r)}",
    "unread": lambda who, r: f"a read of {who} fails: the store can't be reached",
    "wake": lambda who, r: f"{r.get('to')} {_WAKE.get(str(r.get('how')), 'is woken')}",
    "act": _act,
    "saw": lambda who, r: f"{who} reads frames {frames(r.get('first'), r.get('last'))} of {r.get('run')}",
    "mark": lambda who, r: f"reached: {r.get('name')}",
    "phase": lambda who, r: f"from here on: {r.get('name')}",
    "violation": lambda who, r: f"BROKEN PROMISE {r.get('name')}: {r.get('detail')}",
}
