"""How runs came out, once all is at rest: what is kept of each says what its frames say."""

from typing import Any

from pydantic_core import from_json

from ...domain.run import Run
from ..violation import Violation
from .log import Log, RunLog, type_at
from .rows import Readable


def check_outcomes(log: Log, core: Readable) -> None:
    """Raises outcome-wrong for a run whose times, usage, stop reason or error are not those of its log."""
    for run_id in log.all():
        run, view = log.run(run_id), core.run_view(run_id)
        if run is None or view is None:
            continue
        expected = _expected(run)
        kept = _kept(view.run)
        for name, value in expected.items():
            if kept[name] != value:
                detail = f"{run_id} is kept with {name} {kept[name]!r:.150}; its log says {value!r:.150}."
                raise Violation("outcome-wrong", detail, run_id=run_id)


def _kept(run: Run) -> dict[str, Any]:
    error = run.error.model_dump(mode="json") if run.error is not None else None
    return {
        "started_at": run.started_at,
        "ended_at": run.ended_at,
        "stop_reason": run.stop_reason,
        "usage": run.usage,
        "error": error,
    }


def _expected(run: RunLog) -> dict[str, Any]:
    claims = (
        time for seq, (line, time) in enumerate(zip(run.lines, run.times, strict=True), 1) if _is_claim(line, seq)
    )
    expected: dict[str, Any] = dict.fromkeys(("ended_at", "stop_reason", "usage", "error"))
    expected["started_at"] = next(claims, None)
    if run.terminal is not None:
        last = from_json(run.lines[-1])
        expected["ended_at"] = run.times[-1]
        expected |= {name: last[name] for name in ("stop_reason", "usage", "error") if name in last}
    return expected


def _is_claim(line: bytes, seq: int) -> bool:
    return type_at(line, seq) == "run.claimed"
