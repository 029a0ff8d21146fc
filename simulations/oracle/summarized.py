"""A session's summaries: one claim at a time, none too early, and none that leaves an accepted memory out."""

from collections.abc import Callable
from datetime import timedelta

from ...domain.session_facts import SummaryClaimed, SummaryCompleted, SummaryStaged
from ..violation import Violation
from .sessionlog import Claim, SessionLog


def summary(
    log: SessionLog,
    fact: SummaryClaimed | SummaryStaged | SummaryCompleted,
    mark: Callable[[str], None],
    grace_s: float,
) -> None:
    """Raises summary-claimed-twice, summary-early, summary-omits or summary-stale."""
    if isinstance(fact, SummaryClaimed):
        _claimed(log, fact, mark, grace_s)
        return
    claim = log.claim
    if claim is None or claim.token != fact.token:
        detail = f"{fact.topic} happened to {log.session_id} under a token that no claim has."
        raise Violation("summary-stale", detail, session_id=log.session_id)
    if claim.through != len(log.hashes):
        detail = f"{fact.topic}: the claim goes up to memory {claim.through}, and there are {len(log.hashes)}."
        raise Violation("summary-omits", detail, session_id=log.session_id)
    if isinstance(fact, SummaryStaged):
        claim.staged = True
        mark("summary-staged")
        return
    if fact.through != claim.through or not claim.staged:
        detail = f"A summary up to {fact.through} is completed; the claim is {claim}."
        raise Violation("summary-omits", detail, session_id=log.session_id)
    log.watermark, log.claim = fact.through, None
    mark("summary-completed")


def _claimed(log: SessionLog, fact: SummaryClaimed, mark: Callable[[str], None], grace_s: float) -> None:
    before = log.claim
    where = {"session_id": log.session_id}
    if before is not None and fact.at < before.expires_at:
        detail = f"{fact.by} claims the summary of {log.session_id}, whose claim is good until {before.expires_at}."
        raise Violation("summary-claimed-twice", detail, **where)
    if log.active is not None or log.queue or log.handing_off is not None:
        raise Violation("summary-early", f"{fact.by} summarizes {log.session_id}, which is in use.", **where)
    left_at = max((at for at in (log.active_at, log.lease) if at is not None), default=fact.at)
    if fact.at < left_at + timedelta(seconds=grace_s):
        detail = f"{fact.by} claims the summary of {log.session_id} at {fact.at}; it was left at {left_at}."
        raise Violation("summary-early", detail, **where)
    if fact.through != len(log.hashes) or fact.through == log.watermark:
        detail = f"A summary of {log.session_id} is claimed up to {fact.through}; it has {len(log.hashes)} memories."
        raise Violation("summary-omits", detail, **where)
    staged = before is not None and before.staged and before.through == fact.through
    log.claim = Claim(fact.token, fact.through, fact.expires_at, staged)
    mark("summary-claimed-staged" if staged else "summary-claimed" if before is None else "summary-claimed-again")
