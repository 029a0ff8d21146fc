"""Deadlines are kept: once all is well, an approval that nobody decides is denied soon after its deadline."""

from datetime import datetime, timedelta
from typing import Final

from pydantic_core import from_json

from ..violation import Violation
from .log import Log

LATE_S: Final = 5.0
"""Seconds after its deadline within which an approval is denied: two sweeps and some air."""

DECIDED: Final = b'{"type":"approval.decided"'
"""How the line of a decision begins, an expiry's too."""

_REQUESTED: Final = b'{"type":"approval.requested"'


def check_expiries(log: Log, well_since: datetime) -> None:
    """Raise expiry-late for an approval that was left open beyond its deadline while all was well."""
    for run_id in log.all():
        run = log.run(run_id)
        if run is None:
            continue
        due: dict[str, datetime] = {}
        for line, at in zip(run.lines, run.times, strict=True):
            if line.startswith(_REQUESTED):
                frame = from_json(line)
                due[frame["approval_id"]] = datetime.fromisoformat(frame["expires_at"])
            elif line.startswith(DECIDED):
                frame = from_json(line)
                approval_id = frame["approval_id"]
                if at > max(due[approval_id], well_since) + timedelta(seconds=LATE_S):
                    detail = f"{approval_id} of {run_id} was closed at {at}; its deadline was {due[approval_id]}."
                    raise Violation("expiry-late", detail, run_id=run_id, approval_id=approval_id)
