"""Planted bugs of sessions: who owns them, what waits for its turn, what is remembered, and what a tail shows."""

from typing import Final

from .edit import Edit, Planted

_SESSIONS: Final = "domain.sessions:Sessions"
_SESSION: Final = "domain.session:Session"
_READS: Final = "infrastructure.eventstore.reads:Reads"

TAILS: Final = (
    Planted(
        "tail-hides-approvals",
        "A tail takes pending approvals from the messages that it shows, which are never those of the active run.",
        ("approvals-differ",),
        (
            Edit(
                "adapters.http.tail:tail_resource",
                'active["pending_approvals"] if active is not None else []',
                '[one for one in (active or {"pending_approvals": []})["pending_approvals"] if any('
                'part.get("tool_call_id") == one["tool_call_id"] for _, message in tail.messages '
                'for part in message["parts"])]',
            ),
        ),
    ),
    Planted(
        "tail-cursor-at-the-head",
        "A tail goes on from the head of the active run, whose output it does not show.",
        ("tail-cursor",),
        (
            Edit(
                f"{_READS}._cursor",
                "Cursor(active.run.run_id, generation, 0, 0)",
                "Cursor(active.run.run_id, generation, active.run.epoch, active.head_seq)",
            ),
        ),
        "sqlite",
    ),
    Planted(
        "tail-shows-the-active-run",
        "What the active run has said stands in the tail, and comes by the stream once more.",
        ("tail-messages",),
        (Edit(f"{_READS}._settled_end", "return place.turn, place.attempt, 1", "return place.turn + 1, 0, 0"),),
        "sqlite",
    ),
    Planted(
        "tail-empty-without-a-store",
        "A tail whose store can't be read says that nothing is there.",
        ("tail-wrong", "tail-cursor", "tail-messages", "approvals-differ"),
        (
            Edit(
                "adapters.http.tail:tail_resource",
                "tail = await store.tail(session_id, limit)",
                "try:\n        tail = await store.tail(session_id, limit)\n"
                "    except Exception as error:\n"
                '        if type(error).__name__ != "StoreUnavailable":\n            raise\n'
                '        return {"session": None, "messages": [], "pending_approvals": [], "status": IDLE, '
                '"active_run": None, "cursor": f"{session_id}.1.0.0"}',
            ),
        ),
    ),
)

TURNS: Final = (
    Planted(
        "queued-run-claimable",
        "A run that waits for its turn is given to a worker.",
        ("queued-run-claimed",),
        (
            Edit(
                "infrastructure.eventstore.session_rows:follow_session",
                '{"id": stream_id(fact.run_id), "queued": 1}',
                '{"id": stream_id(fact.run_id), "queued": 0}',
            ),
        ),
        "sqlite",
    ),
    Planted(
        "queue-last-in-first-out",
        "The input that came last has its turn next.",
        ("queue-order",),
        (
            Edit(f"{_SESSION}.next_run_id", "return self.queue[0] if", "return self.queue[-1] if"),
            Edit(f"{_SESSION}._allow_turn", "if fact.turn != following:", "if fact.turn < following:"),
        ),
    ),
    Planted(
        "cancelled-input-blocks-the-queue",
        "An input that was cancelled while it waited has its turn, which never ends.",
        ("turn-left-open",),
        (Edit("domain.steps:next_turn", "if run.final:", "if run.final and session.owner == '':"),),
    ),
    Planted(
        "queue-not-emptied",
        "An input whose turn has come still waits for it.",
        ("session-state", "turn-twice"),
        (
            Edit(
                f"{_SESSION}.changes",
                "tuple(run_id for run_id in self.queue if run_id != fact.run_id)",
                "self.queue[1:] + self.queue[:1] if len(self.queue) > 1 else ()",
            ),
        ),
    ),
)

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

HANDOFFS: Final = (
    Planted(
        "handoff-barrier-ignored",
        "What was accepted after a handoff was asked for begins before it ends.",
        ("handoff-barrier",),
        (
            Edit(
                f"{_SESSION}.next_run_id",
                "held = self.handing_off is not None and self.turns >= self.handing_off.barrier",
                "held = False",
            ),
        ),
    ),
    Planted(
        "expired-handoff-keeps-its-inputs",
        "What waited for the end of a handoff waits on when it has expired.",
        ("queue-stuck",),
        (
            Edit(
                "domain.handoffs:end_handoff",
                "next_turn(tx, tx.record(session, ended))",
                "tx.record(session, ended)",
            ),
        ),
    ),
    Planted(
        "handoff-never-expires",
        "Nobody looks for handoffs past their deadline.",
        ("probe-late", "handoff-stuck", "run-stuck"),
        (Edit("domain.application:Application.sweep", "expire_handoff(tx, session)", "session.handing_off"),),
    ),
    Planted(
        "ready-before-it-is-drained",
        "An owner may let go while what it had accepted is not done.",
        ("handoff-not-drained",),
        (Edit(f"{_SESSION}._allow_handoff", 'handoff.status != "requested" or not self.drained', "False"),),
    ),
    Planted(
        "target-comes-too-early",
        "The target of a handoff may come before its owner is ready.",
        ("handoff-not-ready",),
        (
            Edit(
                f"{_SESSIONS}._attach",
                'if known.status != "ready":',
                'if known.status not in ("ready", "requested"):',
            ),
        ),
    ),
    Planted(
        "ready-on-a-session-that-moved",
        "An owner that is ready too late is told of a conflict in the log instead of the handoff's end (was real).",
        ("answer-wrong",),
        (
            Edit(
                "domain.handoffs:Handoffs.ready", "session = expire_handoff(tx, session)", "expire_handoff(tx, session)"
            ),
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

SESSIONS: Final = (*TAILS, *TURNS, *OWNERS, *MEMORIES, *HANDOFFS, *SUMMARIES)
