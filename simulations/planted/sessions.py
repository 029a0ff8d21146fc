"""Planted bugs of sessions: what a tail shows, what waits for its turn, and how they are handed over."""

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
                'part.get("tool_call_id") == one["tool_call_id"] for _, message, _ in tail.messages '
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
                "domain.steps:end_handoff",
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
        "expired-handoff-behind-a-session-that-moved",
        "Whoever writes after a handoff's deadline is told of a conflict instead of its end (was real).",
        ("answer-wrong", "session-answer-wrong"),
        (
            Edit(
                "domain.steps:in_session",
                "work(tx, expire_handoff(tx, owned(",
                "work(tx, (lambda tx, session: expire_handoff(tx, session) and session)(tx, owned(",
            ),
        ),
    ),
)

SESSIONS: Final = (*TAILS, *TURNS, *HANDOFFS)
