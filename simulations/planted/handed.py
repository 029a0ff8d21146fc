"""Planted bugs of what agents are handed and what is kept of how runs came out."""

from typing import Final

from .edit import Edit, Planted

HANDED: Final = (
    Planted(
        "history-without-the-last-turn",
        "An agent is not told what was said in the turn before.",
        ("context-wrong",),
        (Edit("adapters.worker:Worker._context", "(run.turn, 0, 0)", "(run.turn - 1, 0, 0)"),),
    ),
    Planted(
        "usage-lost",
        "What a completed run has used is not kept.",
        ("outcome-wrong",),
        (Edit("domain.run:Run.changes", '"usage": fact.usage', '"usage": None'),),
    ),
    Planted(
        "started-at-each-claim",
        "A run that is taken over has started anew.",
        ("outcome-wrong",),
        (Edit("domain.run:Run.changes", "self.started_at or fact.at", "fact.at"),),
    ),
    Planted(
        "long-text-loses-characters",
        "Where a long text is split into frames, a character is lost.",
        ("output-wrong",),
        (Edit("domain.scribe:Scribe._delta", "begin + TEXT_CHARS_MAX]", "begin + TEXT_CHARS_MAX - 1]"),),
    ),
    Planted(
        "snapshot-pages-nowhere",
        "A session's snapshot does not say where the messages before it are.",
        ("history-wrong",),
        (Edit("adapters.http.walk:Walk._earlier", "if more else None", "if more and False else None"),),
    ),
)
