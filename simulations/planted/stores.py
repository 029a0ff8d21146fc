"""Planted bugs of the SQLite store: its projections, and what is read from it."""

from typing import Final

from .edit import Edit, Planted

_TRANSACTION: Final = "infrastructure.eventstore.transaction:StoreTransaction"
_RECORD_RUN: Final = f"{_TRANSACTION}._record_run"
_PROJECTIONS: Final = "infrastructure.eventstore.projections"
_READS: Final = "infrastructure.eventstore.reads:Reads"
_ITEMS: Final = f"{_READS}._items"

STORES: Final = (
    Planted(
        "terminal-before-its-history",
        "A run is completed before its last message is in the history.",
        ("messages-differ",),
        (
            Edit(
                _RECORD_RUN,
                "if isinstance(fact, _FOLDED):",
                "if isinstance(fact, _FOLDED) and not isinstance(fact, Completed):",
            ),
        ),
        "sqlite",
    ),
    Planted(
        "history-folded-twice",
        "A fold begins with frames that were folded before.",
        ("messages-differ", "snapshot-differs"),
        (Edit(f"{_PROJECTIONS}:_apply", "lines[max(0, messages.seq + 1 - first_seq) :]", "lines"),),
        "sqlite",
    ),
    Planted(
        "history-skips-what-was-not-folded",
        "A fold begins with the record at hand, and passes over those since the last one.",
        ("messages-differ", "snapshot-differs"),
        (Edit(f"{_PROJECTIONS}:fold", "carry.seq, first_seq - 1)", "first_seq - 1, first_seq - 1)"),),
        "sqlite",
    ),
    Planted(
        "voided-output-kept",
        "What a take-over voids stays in the history.",
        ("messages-differ", "snapshot-differs"),
        (Edit(f"{_PROJECTIONS}:fold", "if messages.reset_to is not None:", "if False:"),),
        "sqlite",
    ),
    Planted(
        "snapshot-stale",
        "A snapshot shows what was folded last, and leaves out what came since.",
        ("snapshot-seq", "snapshot-differs"),
        (Edit(f"{_READS}._messages_at", "place.run_id, carry.seq, seq)", "place.run_id, seq, seq)"),),
        "sqlite",
    ),
    Planted(
        "outline-left-open",
        "After a cut the log's head still says what was open before.",
        ("closes-wrong", "failed-without-cause", "answer-wrong"),
        (Edit(_RECORD_RUN, "head.outline.closed() if isinstance(fact, _CLOSING) else head.outline", "head.outline"),),
        "sqlite",
    ),
    Planted(
        "fact-under-the-old-epoch",
        "A fact that changes hands is stored under the epoch before it.",
        ("log-rewritten", "refused-without-cause", "frame-altered"),
        (Edit(_RECORD_RUN, "epoch=after.epoch,\n", "epoch=run.epoch,\n"),),
        "sqlite",
    ),
    Planted(
        "row-left-behind",
        "A fact is recorded although the row it belongs to was not written.",
        ("run-row",),
        (
            Edit(f"{_TRANSACTION}._project", "if changed != 1:", "if changed > 1:"),
            Edit(f"{_TRANSACTION}._project", '"was": was}', '"was": was - (after.status == "running")}'),
        ),
        "sqlite",
    ),
    Planted(
        "lease-outlives-its-claim",
        "A run that is not running any more keeps its lease.",
        ("lease-left-behind",),
        (
            Edit(
                f"{_TRANSACTION}._project",
                "update if was else insert",
                'update.replace(" END", " ELSE lease_until END") if was else insert',
            ),
        ),
        "sqlite",
    ),
    Planted(
        "approvals-due-with-the-last",
        "A wait is looked at when the last of its deadlines has passed, not the first.",
        ("expiry-late",),
        (Edit("infrastructure.eventstore.transaction:_run_columns", "due = min(", "due = max("),),
        "sqlite",
    ),
    Planted(
        "records-read-from-the-middle",
        "A read that begins within a record passes over the rest of it.",
        ("frame-altered", "delivery-gap", "log-rewritten", "clean-end"),
        (
            Edit(
                f"{_READS}._items", "if row.last < expected and not items:", "if row.version < expected and not items:"
            ),
        ),
        "sqlite",
    ),
    Planted(
        "epoch-of-the-last-record",
        "The epoch at a place of the log is that of its last record.",
        ("forged-cursor-honoured", "cursor-refused"),
        (
            Edit(
                f"{_READS}.epoch_at",
                'row = self._one(sql.SELECT_HOLDER, {"stream_id": stream_id(run_id), "seq": seq})',
                'row = self._one(sql.SELECT_HOLDER, {"stream_id": stream_id(run_id), "seq": 10**9})',
            ),
            Edit(f"{_READS}.epoch_at", "if seq < version + frames else", "if seq else"),
        ),
        "sqlite",
    ),
    Planted(
        "commit-not-durable",
        "A group is told to be durable and is not written.",
        (
            "session-news-unfounded",
            "row-missing",
            "not-durable",
            "key-answered-twice",
            "lease-missing",
            "lease-left-behind",
            "checkpoint-stale",
            "run-row",
            "head-row",
        ),
        (
            Edit(
                "infrastructure.eventstore.writer:Writer.write",
                'connection.execute("COMMIT")',
                'connection.execute("ROLLBACK" if len(group) > 1 else "COMMIT")',
            ),
        ),
        "sqlite",
    ),
)
