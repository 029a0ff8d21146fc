"""Races between people, and with the system: was every answer right in some order of what happened?"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Final

from pydantic_core import from_json

from ...domain.identifiers import RunId
from ..process import EPOCH
from ..violation import Violation
from .approvals import SYSTEM, Asked
from .histories import FirstDecisionWins, FirstEndWins, Operation, Said, require_linearizable
from .log import RunLog
from .safety import Safety
from .state import FINAL

Decisions = Mapping[tuple[RunId, str], Sequence[Operation]]
Endings = Mapping[RunId, Sequence[Operation]]

TENANT: Final = "default"
"""Whose requests they all are: nobody in a world has a token."""

_SYSTEM: Final = b'"by":"reattach"'
_EXPIRED: Final = b'"reason":"expired"'


def check_races(decisions: Decisions, endings: Endings, safety: Safety) -> None:
    """Raise decision-not-linearizable, decision-misquoted or ending-not-linearizable.

    What the system did is taken from the log.
    """
    decided: dict[str, list[Operation]] = {}
    for (run_id, approval_id), history in decisions.items():
        run = safety.log.run(run_id)
        asked = safety.runs[run_id].approvals.known.get(approval_id)
        if asked is not None and asked.by not in (None, SYSTEM):
            _quoted(run_id, approval_id, asked, history)
        decided[f"{run_id} {approval_id}"] = [*history, *(_by_system(run, approval_id) if run else ())]
    require_linearizable("decision-not-linearizable", FirstDecisionWins(), decided)
    ended = {str(run_id): [*history, *_by_worker(safety, run_id)] for run_id, history in endings.items()}
    require_linearizable("ending-not-linearizable", FirstEndWins(), ended)


def _quoted(run_id: RunId, approval_id: str, asked: Asked, history: Sequence[Operation]) -> None:
    """The log says who decided and why as somebody did. Raises decision-misquoted."""
    said = [op.asked.reason for op in history if op.asked.outcome == asked.outcome]
    if asked.by != TENANT or asked.reason not in said:
        detail = f"{approval_id} of {run_id} is decided by {asked.by} ({asked.reason}); {TENANT} said {said}."
        raise Violation("decision-misquoted", detail, run_id=run_id, approval_id=approval_id)


def _by_system(run: RunLog, approval_id: str) -> Iterator[Operation]:
    name = f'"{approval_id}"'.encode()
    deadline = 0.0
    for line, at in zip(run.lines, run.times, strict=True):
        if line.startswith(b'{"type":"approval.requested"') and name in line:
            deadline = _seconds(datetime.fromisoformat(from_json(line)["expires_at"]))
        elif line.startswith(b'{"type":"approval.decided"') and name in line and _SYSTEM in line:
            # Past its deadline it counts as denied, whether or not that is recorded yet.
            called = deadline if _EXPIRED in line else _seconds(at)
            yield Operation("reattach", Said("deny"), "success", called, _seconds(at))


def _by_worker(safety: Safety, run_id: RunId) -> Iterator[Operation]:
    seq, status = safety.log.terminal(run_id), safety.runs[run_id].now.status
    at = safety.log.committed_at(run_id, seq) if seq is not None else None
    if at is not None and status in FINAL and status != "cancelled":
        yield Operation("worker", status, status, _seconds(at), _seconds(at))


def _seconds(at: datetime) -> float:
    return (at - EPOCH).total_seconds()
