"""What the world's own agents say is known beforehand: it has to stand in the history, once and in order."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ...domain.agent import Agent
from ...domain.identifiers import RunId
from ...domain.messages import Fields
from ...domain.ports import Span
from ...domain.run import Run
from ...domain.run_facts import WORKER_LOST
from ...domain.transitions import Status
from ..violation import Violation
from .rows import Readable
from .safety import TAKEOVERS_MAX
from .state import RunState

MESSAGES_MAX: Final = 10_000
"""Messages of a session that are read."""


def check_outputs(
    core: Readable, runs: Mapping[RunId, RunState], spoken: Mapping[str, Sequence[str]], users: Mapping[str, Agent]
) -> None:
    """Every run that has ended. `spoken` are the texts of agents that always say the same, `{turn}` filled in; `users`
    are agents of which it is not known how they fail.

    Raises output-wrong for a complete run that shows another text, failed-without-cause for one that nobody failed.
    """
    for run_id, known in runs.items():
        view = core.run_view(run_id)
        job = core.job(view.run.job_id) if view is not None else None
        if view is None or job is None:
            continue
        run = view.run
        if run.status is Status.FAILED:
            _check_failure(run, job.input, known.takeovers, users.get(run.agent))
        elif run.status is Status.COMPLETED and (expected := _expected(run, job.input, spoken)) is not None:
            found = _text(core, run)
            if found != expected:
                detail = f"{run_id} ({run.agent}) shows {found[:200]!r}; it was to say {expected[:200]!r}."
                raise Violation("output-wrong", detail, run_id=run_id)


def _check_failure(run: Run, given: Any, takeovers: int, user: Agent | None) -> None:
    """`takeovers` are those that its log shows: what the service counts itself excuses nothing."""
    kind = run.error.type if run.error is not None else None
    if run.agent == "script":
        kinds = {name for step in given["steps"] for name in step}
        meant = ("crash" in kinds and kind == "internal_error") or ("fail" in kinds and kind == "llm_timeout")
    elif user is not None:
        meant = kind != WORKER_LOST.type or user.on_take_over == "fail"
    else:
        meant = (run.agent, kind) in (("fragile", WORKER_LOST.type), ("remote", "gave_up"))
    if not meant and not (kind == WORKER_LOST.type and takeovers == TAKEOVERS_MAX):
        message = run.error.message if run.error is not None else ""
        detail = f"{run.run_id} ({run.agent}) failed after {takeovers} take-overs with {kind}: {message}"
        raise Violation("failed-without-cause", detail, run_id=run.run_id)


def _expected(run: Run, given: Any, spoken: Mapping[str, Sequence[str]]) -> str | None:
    if run.agent == "script":
        return "".join(_texts(given["steps"]))
    pieces = spoken.get(run.agent)
    return None if pieces is None else "".join(piece.format(turn=run.turn) for piece in pieces)


def _texts(steps: Sequence[Mapping[str, Any]]) -> list[str]:
    texts: list[str] = []
    for step in steps:
        if "text" in step:
            texts.append(step["text"])
        elif "repeat" in step:
            texts += _texts(step["repeat"]["steps"]) * step["repeat"]["times"]
    return texts


def _text(core: Readable, run: Run) -> str:
    stored = core.projected(run.session_id, Span(), MESSAGES_MAX)
    messages = [fields for place, fields, _ in stored if place[:2] == (run.turn, run.attempt)]
    return "".join(_shown(message) for message in messages)


def _shown(message: Fields) -> str:
    if message["role"] != "assistant" or message["status"] == "abandoned":
        return ""
    return "".join(part["text"] for part in message["parts"] if part["kind"] == "text")
