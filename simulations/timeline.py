"""The timeline: one self-contained HTML page that explains a world, and the broken promise in it, without the code."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Final

from . import words
from .picture import Picture, draw
from .trace import Recording

CLEAN: Final = "No promise was broken"
"""The page's title if there is nothing to explain."""

LAST_EVENTS: Final = 25
"""Events before the violation that are told as text."""


def page(recording: Recording, decisions: Mapping[str, Sequence[int]], command: str, takes: str | None = None) -> str:
    """The page. `command` is what replays the world, `takes` what to say of it. It loads nothing from anywhere."""
    picture = draw(recording)
    spoken = words.decisions(decisions)
    violation = picture.violation
    name, sentence = (violation["name"], violation["detail"]) if violation else ("clean", CLEAN)
    data = {
        "picture": asdict(picture),
        "decisions": spoken,
        "takes": takes or _takes(len(spoken)),
        "command": command,
        "facts": _facts(recording, picture),
    }
    fields = {
        "title": escape(f"{name}: {sentence}"),
        "name": escape(str(name)),
        "sentence": escape(str(sentence)),
        "command": escape(command),
        "data": json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"),
    }
    html = _template()
    for field, value in fields.items():
        html = html.replace(f"${field}$", value)
    return html


def told(recording: Recording, decisions: Mapping[str, Sequence[int]], last: int = LAST_EVENTS) -> list[str]:
    """The same as lines of text: the decisions, and the last events before the end."""
    spoken = words.decisions(decisions)
    picture = draw(recording)
    events = [event for event in picture.events if not event["minor"]][-last:]
    return [
        _takes(len(spoken)),
        *(f"  {number}. {said}  [{raw}]" for number, (said, raw) in enumerate(spoken, start=1)),
        "What happened last:",
        *(f"  {event['t']:>10.6f} s  {event['text']}" for event in events),
        *(f"{short} is {long}" for short, long in picture.names.items()),
    ]


def _takes(decisions: int) -> str:
    if not decisions:
        return "Nothing but the plainest world: it happens without any fault, delay or odd order."
    return f"{decisions} decision{'s' * (decisions > 1)} that differ{'s' * (decisions == 1)} from the plainest world:"


def _facts(recording: Recording, picture: Picture) -> list[tuple[str, str]]:
    header = recording.header
    end = recording.records[-1]["t"] if recording.records else 0.0
    facts = [
        ("planted bug", header.get("planted")),
        ("seed", header.get("seed")),
        ("virtual time", f"{end:.3f} s"),
        ("processes", sum(1 for lane in picture.lanes if lane.kind == "process")),
        ("clients", sum(1 for lane in picture.lanes if lane.kind == "client")),
        ("runs", sum(1 for lane in picture.lanes if lane.kind == "log" and not lane.id.startswith("log session"))),
        ("events", len(recording.records)),
        ("Reattach", header.get("version")),
        ("Python", header.get("python")),
    ]
    return [(name, _plain(value)) for name, value in facts if value is not None]


def _plain(value: Any) -> str:
    return str(value)


@cache
def _template() -> str:
    return Path(__file__).with_name("timeline.html").read_text(encoding="utf-8")
