"""Planted bugs that a reviewer made by hand, and nobody noticed then."""

from typing import Final

from .edit import Edit, Planted

_APPLICATION: Final = "domain.application:Application"
_WORKER: Final = "adapters.worker:Worker"
_MISQUOTED: Final = ("decision-misquoted", "decision-altered")

WORK: Final = (
    Planted(
        "takeovers-counted-thrice",
        "One take-over counts as three: a run is given up as lost after the first worker that dies.",
        ("failed-without-cause",),
        (Edit("domain.run:Run.changes", "+ isinstance(fact, TakenOver)", "+ 3 * isinstance(fact, TakenOver)"),),
    ),
    Planted(
        "decisions-of-all-waits",
        "An agent that goes on after its second wait is told the decisions of the first as well.",
        ("decisions-of-another-wait",),
        (Edit("domain.run:Run.decisions", "a.approval_id in self.asked and ", ""),),
    ),
    Planted(
        "reason-dropped",
        "Why somebody decided as they did is not recorded.",
        _MISQUOTED,
        (Edit("adapters.http.runs:_decision", "reason=verdict.reason", "reason=None"),),
    ),
    Planted(
        "decided-by-nobody",
        "Who decided is not recorded.",
        _MISQUOTED,
        (Edit("adapters.http.runs:_decision", "by=by", 'by=""'),),
    ),
    Planted(
        "reason-not-handed-over",
        "The agent that goes on is not told why it was decided so.",
        _MISQUOTED,
        (Edit("domain.run:Run._decided", '"reason": decision.reason', '"reason": None'),),
    ),
    Planted(
        "no-time-is-the-usual-time",
        "An approval that is to expire at once stays open for as long as others do.",
        ("approval-deadline",),
        (
            Edit(
                f"{_APPLICATION}._approval",
                "if request.timeout_s is None else",
                "if not request.timeout_s else",
            ),
        ),
    ),
)

STORE: Final = (
    Planted(
        "failed-work-not-undone",
        "In a group, what a work had written before it failed is kept.",
        ("session-news-missing", "half-kept"),
        (Edit("infrastructure.eventstore.writer:Writer._one", 'connection.execute("ROLLBACK TO work")\n', "pass\n"),),
        "sqlite",
    ),
    Planted(
        "news-of-a-failed-commit",
        "What could not be committed is told to readers.",
        ("loser-landed", "stream-gap"),
        (
            Edit(
                "infrastructure.eventstore.writer:Writer.write",
                "return Written([Result(error=domain_error(error)) for _ in group])",
                "return Written([Result(error=domain_error(error)) for _ in group], written.news)",
            ),
        ),
        "sqlite",
    ),
    Planted(
        "failed-commit-acknowledged",
        "What could not be committed is acknowledged.",
        ("acknowledged-loser", "stream-gap", "not-durable"),
        (
            Edit(
                "infrastructure.eventstore.writer:Writer.write",
                "return Written([Result(error=domain_error(error)) for _ in group])",
                "return Written(written.results)",
            ),
        ),
        "sqlite",
    ),
    Planted(
        "gone-authors-wait-for-ever",
        "Writes whose authors have gone count as waiting for ever.",
        ("leak", "node-down"),
        (
            Edit(
                "infrastructure.eventstore.committer:Committer._deliver",
                "self._waiting -= len(group)",
                "self._waiting -= sum(1 for entry in group if not entry.future.done())",
            ),
        ),
    ),
)

READERS: Final = (
    Planted(
        "snapshot-beside-a-cursor",
        "A reader that comes back with its cursor and ?snapshot=true is sent a snapshot.",
        ("snapshot-unasked",),
        (Edit("adapters.http.place:Wish.of", "snapshot = header is None and _flag(", "snapshot = _flag("),),
    ),
    Planted(
        "client-starts-without-a-key",
        "The client sends a start again after a lost answer, without an Idempotency-Key.",
        ("turn-refused",),
        (Edit("adapters.client.client:Client.start_run", "body, key=key, epoch", "body, epoch"),),
    ),
    Planted(
        "client-never-forgets-failures",
        "The client waits as long after a frame has come as it did before.",
        ("came-back-too-late",),
        (Edit("adapters.client.follow:Follower._is_next", "self._failures = 0", "pass"),),
    ),
    Planted(
        "client-deaf-to-retry-after",
        "The client does not wait as long as a 503 asks it to.",
        ("came-back-too-soon",),
        (Edit("adapters.client.follow:Follower._accept", "float(after) if after.isdecimal() else None", "None"),),
    ),
)

WORKERS: Final = (
    Planted(
        "drain-keeps-its-runs",
        "A worker that stops does not hand back what it works on: others wait until its leases are over.",
        ("drain-kept",),
        (Edit(f"{_WORKER}.drain", "await self._release(run_id, epoch)", "pass"),),
    ),
    Planted(
        "older-segment-forgets-the-newer",
        "The end of a segment makes its worker forget the newer one of the same run, whose lease nobody renews.",
        ("lease-lost-at-rest",),
        (Edit(f"{_WORKER}._done", "if segment is not None and segment[1] == epoch:", "if segment is not None:"),),
    ),
    Planted(
        "free-place-not-used",
        "A worker that was busy with as much as it may does not look for more as soon as something ends.",
        ("claim-late",),
        (Edit(f"{_WORKER}._done", "self._wake.set()", "pass"),),
    ),
    Planted(
        "turn-begun-not-heard-of",
        "A worker does not look for work when the turn of an input comes that had to wait.",
        ("claim-late",),
        (Edit(f"{_WORKER}.committed", "if commit.begun:", "if commit.begun is None:"),),
    ),
)

ELSEWHERE: Final = (
    Planted(
        "refill-not-repeated",
        "A server that can't read what was committed elsewhere does not try again.",
        ("not-served", "frame-late"),
        (
            Edit(
                "adapters.http.broadcaster:Broadcaster._refill",
                "asyncio.get_running_loop().call_later(self.times.retry_s, self._mark, feed)",
                "pass",
            ),
        ),
    ),
    Planted(
        "owners-elsewhere-not-told",
        "An owner whose stream is on another server is not told what becomes of its ownership.",
        ("superseded-untold", "notice-missing", "handoff-stuck"),
        (
            Edit(
                "adapters.http.broadcaster:Broadcaster.changed",
                "for session_id in list(self._owners):",
                "for session_id in ():",
            ),
        ),
    ),
)

REVIEWED: Final = (*WORK, *STORE, *READERS, *WORKERS, *ELSEWHERE)
