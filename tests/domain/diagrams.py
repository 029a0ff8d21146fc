"""docs/states.md, written from the transition tables: `python -m tests.domain.diagrams` writes it anew."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from reattach.domain.run import TAKEOVERS_MAX
from reattach.domain.transitions import FINAL, TABLES, SessionStatus, Transition

PAGE: Final = Path(__file__).parents[2] / "docs" / "states.md"

INTRODUCTION: Final = """\
# States

Generated from the tables in `domain/transitions.py` by `python -m tests.domain.diagrams`; a test compares. The guard
in `domain/aggregate.py` and the property tests in `tests/domain/` read the same tables: a command that stands in no
row for the actual state is refused, and the log stays as it is.
"""

ABOUT: Final = {
    "run": "One attempt of a job. completed, failed and cancelled are final: nothing is ever appended after them.",
    "job": "What was asked for. It follows its run; a failure that may be retried takes it back to pending.",
    "session": "A conversation. At most one of its runs is active; deleted is final.",
}

NOTES: Final = {
    ("run", "create"): "somebody asks for it",
    ("run", "claim"): "a worker begins, or goes on after a wait or a release; epoch + 1",
    ("run", "take_over"): f"the lease expired; from the last checkpoint, epoch + 1, at most {TAKEOVERS_MAX} times",
    ("run", "release"): "the worker hands the run back, because its process drains",
    ("run", "record"): "output, by the worker that holds the current epoch",
    ("run", "suspend"): "the segment ends with approvals and a checkpoint; no worker is held",
    ("run", "decide"): "approve, deny or edit; an expiry is a denial; with the last one the run goes on",
    ("run", "complete"): "stop reason, usage",
    ("run", "fail"): "type, message, retryable; open approvals are denied",
    ("run", "cancel"): "reason, by whom; open approvals are denied",
    ("job", "create"): "input, retry policy",
    ("job", "attempt"): "a run was created for it",
    ("job", "start"): "its run was claimed",
    ("job", "release"): "its run was released",
    ("job", "suspend"): "its run waits for approval",
    ("job", "resume"): "its run goes on",
    ("job", "complete"): "its run completed",
    ("job", "retry"): "its run failed, and another attempt is due",
    ("job", "fail"): "its run failed for good",
    ("job", "cancel"): "its run was cancelled",
    ("session", "create"): "open, without turns",
    ("session", "warn"): "it stands in for a session that was asked for and could not be resumed",
    ("session", "queue_turn"): "an input was accepted and waits for its turn",
    ("session", "withdraw_turn"): "an input that waits was cancelled; its turn comes and passes",
    ("session", "attach"): "a client resumes it and owns it; epoch + 1",
    ("session", "detach"): "the owner leaves, or its lease had ended when somebody wrote",
    ("session", "append_memory"): "one more entry of the chain, by the owner if there is one",
    ("session", "request_handoff"): "somebody asks the owner to hand over; later inputs wait",
    ("session", "ready_handoff"): "the owner lets go: what was accepted before is done",
    ("session", "end_handoff"): "the target has come, or the owner goes on",
    ("session", "claim_summary"): "somebody summarizes what is new, if nobody does already",
    ("session", "stage_summary"): "the result is safe",
    ("session", "complete_summary"): "it is the summary of all memories",
    ("session", "start_turn"): "a run begins, if none is active",
    ("session", "end_turn"): "the active run has ended",
    ("session", "finalize"): "readable, no more turns; an active run may still end",
    ("session", "delete"): "gone for readers too; not while a run is active",
}


def page() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *("\n".join(machine(name, rows)) for name, rows in TABLES.items())])


def machine(name: str, rows: Sequence[Transition]) -> Iterator[str]:
    """One machine: its diagram and its table."""
    yield from (f"## {name.capitalize()}", "", ABOUT[name], "", "```mermaid", "stateDiagram-v2")
    yield from (f"    {edge}" for edge in edges(rows))
    yield from ("```", "", "| command | from | to | |", "|---|---|---|---|")
    for row in rows:
        sources = ", ".join(row.sources) or "-"
        yield f"| {said(row.command)} | {sources} | {', '.join(row.targets)} | {NOTES[name, row.command]} |"
    yield ""


def edges(rows: Sequence[Transition]) -> Iterator[str]:
    """The arrows; commands that share one are named on it together."""
    commands: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        for source in row.sources or ("[*]",):
            for target in row.targets:
                commands.setdefault((source, target), []).append(said(row.command))
    yield from (f"{source} --> {target}: {', '.join(names)}" for (source, target), names in commands.items())
    states = dict.fromkeys(target for row in rows for target in row.targets)
    yield from (f"{state} --> [*]" for state in states if state in (*FINAL, SessionStatus.DELETED))


def said(command: str) -> str:
    return command.replace("_", " ")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
