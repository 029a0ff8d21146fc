"""Hypothesis strategies: JSON, ids, frames of every type, outputs of an agent, and whole runs."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from hypothesis import strategies as st
from pydantic import JsonValue

from reattach.domain import agent as a
from reattach.domain.errors import ReattachError
from reattach.domain.frames import FactFrame, Frame, RunError
from reattach.domain.run_facts import Decision
from reattach.domain.scribe import Scribe
from reattach.domain.transitions import Status

from .log import RunLog

TEXTS: Final = st.text(max_size=20)
WORDS: Final = st.text("abcxyz01-_.", min_size=1, max_size=8)
NUMBERS: Final = st.integers(0, 10**12)
INSTANTS: Final = st.datetimes(datetime(2020, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  - the zone is `timezones`
JSON: Final[st.SearchStrategy[JsonValue]] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)

_FIELDS: Final[dict[str, st.SearchStrategy[Any]]] = {
    "at": INSTANTS,
    "expires_at": INSTANTS,
    "text": TEXTS,
    "message": TEXTS,
    "title": st.none() | TEXTS,
    "prompt": st.none() | TEXTS,
    "turn": NUMBERS,
    "attempt": NUMBERS,
    "epoch": NUMBERS,
    "step": NUMBERS,
    "to_seq": NUMBERS,
    "checkpoint": st.none() | NUMBERS,
    "closes": st.lists(WORDS, max_size=3).map(tuple),
    "approvals": st.lists(WORDS, max_size=3).map(tuple),
    "arguments": JSON,
    "value": JSON,
    "usage": st.none() | st.dictionaries(TEXTS, JSON, max_size=3),
    "outcome": st.sampled_from(["approve", "deny"]),
    "role": st.sampled_from(["assistant", "event"]),
    "error": st.builds(RunError, type=WORDS, message=TEXTS, retryable=st.booleans()),
}


def frame_types() -> list[type[Frame]]:
    """Every frame that has a name of its own, by that name."""
    models = [model for base in (Frame, FactFrame) for model in base.__subclasses__()]
    named = [model for model in models if isinstance(model.model_fields["type"].default, str)]
    ours = [model for model in named if model.__module__ == Frame.__module__]
    return sorted(ours, key=lambda model: str(model.model_fields["type"].default))


def frames_of(model: type[Frame]) -> st.SearchStrategy[Frame]:
    """Any frame of this type, as a writer may make it."""
    name = model.model_fields["type"].default
    if name == "tool.result":
        call = {"tool_call_id": TEXTS}
        either = st.fixed_dictionaries(call | {"output": JSON}) | st.fixed_dictionaries(call | {"error": TEXTS})
        return either.map(model.model_validate)
    fields = {field: _FIELDS.get(field, TEXTS) for field in model.model_fields if field not in ("type", "seq")}
    return st.fixed_dictionaries(fields).map(model.model_validate)


FRAMES: Final = st.sampled_from(frame_types()).flatmap(frames_of)

_CALLS: Final = st.sampled_from(["call1", "call2", "call3"])
OUTPUTS: Final[st.SearchStrategy[a.Output]] = st.one_of(
    st.builds(a.Text, TEXTS),
    st.builds(a.Reasoning, TEXTS),
    st.just(a.EndPart()),
    st.builds(a.ToolCallStart, _CALLS, WORDS),
    st.builds(a.ToolCallDelta, _CALLS, TEXTS),
    st.builds(a.ToolCall, _CALLS, WORDS, JSON),
    st.builds(a.ToolResult, _CALLS, JSON),
    st.builds(a.ToolResult, _CALLS, st.none(), TEXTS),
    st.builds(a.Data, WORDS, JSON),
    st.builds(a.Source, WORDS, st.none() | TEXTS),
    st.builds(a.File, WORDS, WORDS, WORDS),
    st.builds(a.Checkpoint, JSON),
)
"""Whatever an agent may yield, in any order: also what the scribe refuses."""

Deed = Callable[[RunLog, Scribe], Scribe | None]
"""Something that happens to a run; with a new scribe if it began a segment."""


def _outputs(*outputs: a.Output) -> Deed:
    """More output; a run that waits for a worker gets one first."""

    def deed(log: RunLog, scribe: Scribe) -> Scribe:
        if log.run.status is Status.PENDING:
            scribe = _claim(log, scribe)
        with suppress(ReattachError):
            log.write(*outputs, scribe=scribe)
        return scribe

    return deed


def _decide(outcome: str, arguments: JsonValue, many: int) -> Deed:
    def deed(log: RunLog, _: Scribe) -> None:
        pending = [approval.approval_id for approval in log.run.pending_approvals[:many]]
        fields = {"outcome": outcome, "arguments": arguments, "by": "ada"}
        log.decide(*(Decision.model_validate({"approval_id": approval_id} | fields) for approval_id in pending))

    return deed


def _claim(log: RunLog, _: Scribe) -> Scribe:
    log.claim()
    return log.scribe()


def _take_over(log: RunLog, _: Scribe) -> Scribe:
    log.take_over()
    return log.scribe()


def _plain(deed: Callable[[RunLog], object]) -> st.SearchStrategy[Deed]:
    def done(log: RunLog, _: Scribe) -> None:
        deed(log)

    return st.just(done)


_WORK: Final[st.SearchStrategy[Deed]] = OUTPUTS.map(_outputs)
_SPEECH: Final[st.SearchStrategy[Deed]] = st.one_of(
    st.lists(st.builds(a.Text, TEXTS), min_size=1, max_size=5).map(lambda pieces: _outputs(*pieces)),
    st.lists(st.builds(a.Reasoning, TEXTS), min_size=1, max_size=5).map(lambda pieces: _outputs(*pieces)),
)
_TURNS: Final[st.SearchStrategy[Deed]] = st.one_of(
    st.just(_claim),
    st.just(_take_over),
    _plain(lambda log: log.release()),
    _plain(lambda log: log.suspend(("pay", {"sum": 1}), ("mail", None))),
    st.builds(_decide, st.sampled_from(["approve", "deny"]), JSON, st.integers(1, 3)),
    _plain(lambda log: (log.wait(60), log.expire())),
)


def _complete(log: RunLog, scribe: Scribe) -> None:
    log.finish(scribe)
    log.complete()


_ENDS: Final[st.SearchStrategy[Deed]] = st.one_of(
    st.just(_complete),
    _plain(lambda log: log.fail()),
    _plain(lambda log: log.cancel()),
)


def _played(prompt: str | None, work: Iterable[Deed], end: Iterable[Deed]) -> RunLog:
    log = RunLog()
    log.create(prompt)
    log.claim()
    scribe = log.scribe()
    for deed in (*work, *end):
        with suppress(ReattachError):  # refusals have tests of their own
            scribe = deed(log, scribe) or scribe
    return log


RUNS: Final[st.SearchStrategy[RunLog]] = st.builds(
    _played, st.none() | TEXTS, st.lists(_WORK | _SPEECH | _TURNS, min_size=4, max_size=24), st.lists(_ENDS, max_size=1)
)
"""Runs of every kind, ended or not: output, checkpoints, take-overs, waits, cuts in open parts."""
