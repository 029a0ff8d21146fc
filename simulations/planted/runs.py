"""Planted bugs of runs, sessions and jobs: the tables, the ends, Idempotency-Keys."""

from typing import Final

from .edit import Edit, Planted

_APPLICATION: Final = "domain.application:Application"

RUNS: Final = (
    Planted(
        "cancel-after-the-end",
        "A run that has completed can still be cancelled.",
        ("after-terminal",),
        (
            Edit(f"{_APPLICATION}.cancel", "if run.final else", "if run.status is Status.CANCELLED else"),
            Edit("domain.transitions:check", "if target not in", 'if command != "cancel" and target not in'),
        ),
    ),
    Planted(
        "cancel-refused-after-the-end",
        "A cancel that comes too late is refused instead of being answered with how the run ended.",
        ("ending-not-linearizable",),
        (Edit(f"{_APPLICATION}.cancel", "if run.final else", "if False else"),),
    ),
    Planted(
        "cancel-answered-blindly",
        "A cancel that comes too late is answered as if it had succeeded.",
        ("answer-not-in-log", "ending-not-linearizable"),
        (
            Edit(
                f"{_APPLICATION}.cancel",
                "run if run.final else",
                "run.model_copy(update={'status': Status.CANCELLED}) if run.final else",
            ),
        ),
    ),
    Planted(
        "cancel-leaves-parts-open",
        "A cancel does not say which parts it closes.",
        ("closes-wrong",),
        (Edit(f"{_APPLICATION}._cancel", "tuple(tx.head(run.run_id).outline.parts)", "()"),),
    ),
    Planted(
        "completed-with-open-parts",
        "A worker may complete a run while a message is still open.",
        ("left-open",),
        (
            Edit(f"{_APPLICATION}.complete", "if outline != outline.closed():", "if False:"),
            Edit("adapters.worker:Worker._segment", "appender.scribe.finish()", "pass"),
        ),
    ),
    Planted(
        "session-stays-busy",
        "A run that is cancelled does not end its session's turn.",
        ("session-row",),
        (
            Edit(
                "domain.steps:settle",
                "if session.active_run_id ==",
                'if step != "cancel" and session.active_run_id ==',
            ),
        ),
    ),
    Planted(
        "job-left-behind",
        "A job does not follow its run when it is handed back.",
        ("job-row",),
        (Edit("domain.steps:advance", "if job is not None and", 'if step != "release" and job is not None and'),),
    ),
    Planted(
        "projection-in-a-second-transaction",
        "A run is completed in one transaction; its job and its session learn of it in the next.",
        ("session-row", "job-row"),
        (
            Edit(
                f"{_APPLICATION}.complete",
                'settle(tx, tx.record(run, fact), "complete", fact.at)\n\n    await self.store.transact(work)',
                "tx.record(run, fact)\n\n    await self.store.transact(work)\n"
                '    await self.store.transact(lambda tx: settle(tx, tx.run(run_id), "complete", tx.now))',
            ),
        ),
    ),
    Planted(
        "busy-unchecked",
        "A session takes a turn while another one is active.",
        ("session-busy-twice",),
        (
            Edit(f"{_APPLICATION}.start_run", "free = active is None", "free = True or active is None"),
            Edit("domain.session:Session._allow_turn", "if self.active_run_id is not None:", "if False:"),
        ),
    ),
    Planted(
        "turn-skipped",
        "A turn's number is one more than the next.",
        ("turn-order",),
        (
            Edit("domain.steps:begin_turn", "len(session.queue) + 1", "len(session.queue) + 2"),
            Edit("domain.session:Session._allow_turn", "fact.turn != following", "fact.turn < following"),
        ),
    ),
    Planted(
        "key-not-remembered",
        "What an Idempotency-Key was answered with is not kept: a request that comes again is done again.",
        ("key-answered-twice", "key-forgotten", "not-idempotent"),
        (
            Edit(
                "domain.steps:once",
                "tx.remember(tenant, idempotency.key, Answer(",
                "(tenant, Answer(",
            ),
        ),
    ),
    Planted(
        "keys-forgotten-early",
        "Idempotency-Keys are forgotten at the next sweep.",
        ("key-answered-twice", "key-forgotten", "not-idempotent"),
        (
            Edit(
                f"{_APPLICATION}.sweep",
                "tx.now - timedelta(seconds=self._limits.idempotency_retention_s)",
                "tx.now",
            ),
        ),
    ),
    Planted(
        "key-for-any-request",
        "An Idempotency-Key answers a request that is not the one it was given with.",
        ("key-reused",),
        (Edit("domain.steps:once", "if answer.fingerprint != idempotency.fingerprint:", "if False:"),),
    ),
    Planted(
        "prompt-of-another-id",
        "The message of a prompt is called after its turn, not after its run.",
        ("message-id",),
        (
            Edit(
                "domain.steps:begin_turn",
                "message_id(session_id, run_id, 0)",
                "message_id(session_id, run_id, turn - 1)",
            ),
        ),
    ),
)
