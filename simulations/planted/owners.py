"""Planted bugs of sessions: who owns them, what is remembered, and what is made of it."""

from typing import Final

from .edit import Edit, Planted

_SESSIONS: Final = "domain.sessions:Sessions"
_SESSION: Final = "domain.session:Session"

OWNERS: Final = (
    Planted(
        "resume-without-epoch",
        "Who resumes a session owns it under the epoch that it had.",
        ("session-epoch-step",),
        (
            Edit(f"{_SESSIONS}._owned", "epoch=session.epoch + 1", "epoch=max(1, session.epoch)"),
            Edit(f"{_SESSION}._allow_ownership", "fact.epoch != self.epoch + 1", "fact.epoch < self.epoch"),
        ),
    ),
    Planted(
        "lease-good-at-its-end",
        "At the very instant of its end a lease still holds for those who resume, and not for those who write.",
        ("lease-boundary",),
        (
            Edit(
                f"{_SESSIONS}._attach",
                "owned_at(until, tx.now)",
                "until is not None and tx.now <= until",
            ),
        ),
    ),
    Planted(
        "takeover-without-asking",
        "Whoever resumes a session takes it over, asked or not.",
        ("owner-ousted",),
        (Edit(f"{_SESSIONS}._attach", "if not takeover:", "if takeover is None:"),),
    ),
    Planted(
        "live-owner-lapses",
        "A write without any epoch ends the ownership of an owner that lives.",
        ("owner-ousted",),
        (Edit("domain.steps:writable", "if owned_at(until, tx.now):", "if until is None:"),),
    ),
    Planted(
        "takeover-names-nobody",
        "A takeover does not say whom it replaced.",
        ("superseded-wrong",),
        (Edit(f"{_SESSIONS}._owned", "session.owner if session.owner != client else None", "None"),),
    ),
    Planted(
        "stale-session-epoch-accepted",
        "Whoever has owned a session before may still write to it while it has an owner.",
        ("session-zombie",),
        (
            Edit(
                "domain.steps:writable",
                "if session.owner is None or epoch != session.epoch:",
                "if session.owner is None or epoch > session.epoch:",
            ),
        ),
    ),
    Planted(
        "superseded-never-told",
        "Nobody is told that a session has moved: the old owner's stream goes on as if it were still the owner's.",
        ("superseded-untold", "notice-missing"),
        (Edit("adapters.http.broadcaster:Broadcaster._move", "wake()", "pass"),),
    ),
    Planted(
        "stand-in-without-a-warning",
        "The stream of a session that stands in for another does not say so.",
        ("warning-missing",),
        (
            Edit(
                "adapters.http.stream:SessionEvents._begin_session",
                "if wish.fresh and session.warning is not None:",
                "if not wish.fresh and session.warning is not None:",
            ),
        ),
    ),
    Planted(
        "deleted-told-as-finalized",
        "Who asks for a deleted session learns that there was one.",
        ("stand-in-wrong",),
        (Edit("domain.sessions:_found", "session.status is SessionStatus.DELETED", "session.status is None"),),
    ),
    Planted(
        "resume-forgets-its-key",
        "A resume that comes again with its Idempotency-Key is another one.",
        ("not-idempotent",),
        (Edit(f"{_SESSIONS}.resume", "once(tenant, idempotency, Resumed, work)", "work"),),
    ),
)

MEMORIES: Final = (
    Planted(
        "memory-forgets-its-key",
        "A memory that comes again with its Idempotency-Key is appended again.",
        ("memory-doubled",),
        (
            Edit(
                f"{_SESSIONS}.append_memory",
                "once(tenant, idempotency, Memory, as_writer(tenant, session_id, epoch, work))",
                "as_writer(tenant, session_id, epoch, work)",
            ),
        ),
    ),
    Planted(
        "finalized-takes-memories",
        "A finalized session takes memories.",
        ("ended-session-written",),
        (
            Edit(
                f"{_SESSION}.allow",
                "fact, TurnStarted | TurnQueued | MemoryAppended | Attached\n",
                "fact, TurnStarted | TurnQueued | Attached\n",
            ),
            Edit(f"{_SESSION}.allow", "super().allow(fact)", "if fact.command != 'append_memory': super().allow(fact)"),
        ),
    ),
)


SUMMARIES: Final = (
    Planted(
        "summary-ignores-the-grace",
        "A session may be summarized as soon as its owner's lease has ended.",
        ("summary-early",),
        (
            Edit(
                "domain.summaries:Summaries._check_due",
                "left_at + timedelta(seconds=self._limits.session_grace_s)",
                "left_at",
            ),
        ),
    ),
    Planted(
        "claim-not-exclusive",
        "A summary that somebody is making may be claimed once more.",
        ("summary-claimed-twice",),
        (
            Edit(
                "domain.summaries:Summaries._check_due",
                "session.claim is not None and session.claim.live(tx.now)",
                "session.tenant == ''",
            ),
            Edit(
                f"{_SESSION}._allow_summary",
                "self.claim is not None and self.claim.live(fact.at)",
                "self.tenant == ''",
            ),
        ),
    ),
    Planted(
        "summary-omits-a-memory",
        "A memory that was accepted after a claim does not void it.",
        ("summary-omits",),
        (Edit(f"{_SESSION}._allow_summary", "if self.claim.through != self.memory_count:", "if self.tenant == '':"),),
    ),
    Planted(
        "staged-result-dropped",
        "What was staged under a claim that is over is forgotten with it.",
        ("staged-dropped",),
        (
            Edit(
                f"{_SESSION}._summarized",
                "if claim is not None and claim.is_staged and claim.through == fact.through:",
                "if claim is not None and claim.through < 0:",
            ),
        ),
    ),
)

OWNED: Final = (*OWNERS, *MEMORIES, *SUMMARIES)
