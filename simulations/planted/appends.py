"""Planted bugs of output on its way into the log: the fence, group commit, retries, checkpoints."""

from typing import Final

from .edit import Edit, Planted

_FENCE: Final = "infrastructure.eventstore.appends:append_output"
_FOLLOW: Final = "infrastructure.eventstore.appends:follow_output"
_APPEND_ALL: Final = "adapters.appender:Appender._append_all"
_OUTPUT: Final = ("output-wrong", "failed-without-cause")


_SENT: Final = "await patiently(lambda: self._application.append(append))"
_REBASED: Final = """try:
        await self._application.append(append)
    except Exception as error:
        if error.code != {code!r}:
            raise
        head, old = (await self._application.store.run_view(self._run_id)).head_seq, batch.first_seq
        data = tuple(
            line.replace(b',"seq":%d' % seq, b',"seq":%d' % (head + 1 + seq - old), 1)
            for seq, line in enumerate(batch.data, old)
        )
        self.scribe._seq += head + 1 - old
        self.scribe._first_seq += head + 1 - old
        again = Batch(head + 1, data, batch.outline, None)
        await patiently(lambda: self._application.append(Append(self._run_id, self._epoch, again)))"""
"""An append that is written anew at the log's end, whatever that has become, after an error with this code."""


def _rebased(code: str) -> Edit:
    return Edit("adapters.appender:Appender._append", _SENT, _REBASED.format(code=code))


def _fence(condition: str, instead: str = "") -> Edit:
    """The fence without one of its conditions."""
    return Edit(_FENCE, "sql.APPEND_OUTPUT,", f"sql.APPEND_OUTPUT.replace({condition!r}, {instead!r}),")


_FORGOTTEN: Final = Edit(
    "adapters.appender:Appender._append",
    _SENT,
    "try:\n        await self._application.append(append)\n    except StoreUnavailable:\n        pass",
)

APPENDS: Final = (
    Planted(
        "append-epoch-unchecked",
        "Output of an epoch that is over lands (its place fences, too: the worker writes it anew at the log's end).",
        ("zombie-write",),
        (_fence(" AND last.epoch = :epoch"), _rebased("stale_epoch")),
        "sqlite",
    ),
    Planted(
        "append-status-unchecked",
        "Output lands in a run that is not running any more (written anew at the log's end, as above).",
        ("output-while-not-running", "after-terminal"),
        (_fence(" AND runs.status = 'running'"), _rebased("run_closed")),
        "sqlite",
    ),
    Planted(
        "append-place-unchecked",
        "After an append that was lost and forgotten, the next one lands beyond the end of the log.",
        ("stream-gap",),
        (_fence("last.frames = :version", "last.frames <= :version"), _FORGOTTEN),
        "sqlite",
    ),
    Planted(
        "append-twice-after-unknown-outcome",
        "An append whose outcome is unknown is written anew at the log's end instead of being sent again.",
        ("part-reused", "message-order", "step-order", "part-closed", "message-id", *_OUTPUT),
        (_rebased("store_unavailable"),),
    ),
    Planted(
        "repeat-refused",
        "An append that comes again, because its acknowledgement was lost, is refused.",
        ("landed-but-refused",),
        (
            Edit(
                "infrastructure.eventstore.appends:refuse",
                "if _stands(connection, codec, append):\n        return",
                "pass",
            ),
        ),
        "sqlite",
    ),
    Planted(
        "loser-acknowledged",
        "In a group, an append that was refused is acknowledged.",
        ("acknowledged-loser",),
        (
            Edit(
                "infrastructure.eventstore.writer:Writer._one",
                "except ReattachError as error:\n                return Result(error=error)",
                "except ReattachError:\n                return Result()",
            ),
        ),
        "sqlite",
    ),
    Planted(
        "two-appends-in-flight",
        "The appender does not wait for one append before it sends the next.",
        ("left-open", "checkpoint-stale", *_OUTPUT),
        (
            Edit(
                _APPEND_ALL,
                "await self._append(batch)",
                "asyncio.gather(self._append(batch), return_exceptions=True)",
            ),
        ),
    ),
    Planted(
        "append-not-repeated",
        "An append that the store did not take is forgotten.",
        ("left-open", "checkpoint-stale", *_OUTPUT),
        (_FORGOTTEN,),
    ),
    Planted(
        "completed-before-durable",
        "A worker says that a run is complete without waiting for its output to be durable.",
        ("checkpoint-stale", *_OUTPUT),
        (
            Edit(
                "adapters.worker:Worker._segment",
                "appender.scribe.finish()\n        await appender.flush()",
                "appender.scribe.finish()",
            ),
        ),
    ),
    Planted(
        "checkpoint-not-sent",
        "A checkpoint's state does not travel with the frame that names it.",
        ("checkpoint-stale",),
        (Edit("domain.scribe:Scribe.take", "self.outline(), self._checkpoint)", "self.outline(), None)"),),
    ),
    Planted(
        "checkpoint-not-saved",
        "The store drops a checkpoint that comes with output which is folded.",
        ("checkpoint-stale",),
        (Edit(_FOLLOW, "if batch.checkpoint is not None:", "if batch.checkpoint is not None and not folds:"),),
        "sqlite",
    ),
    Planted(
        "checkpoint-names-another-frame",
        "A checkpoint is kept under the seq before its step's end.",
        ("checkpoint-stale",),
        (
            Edit(
                "domain.scribe:Scribe.end_step",
                "Checkpointed(self._step, self._seq,",
                "Checkpointed(self._step, self._seq - 1,",
            ),
        ),
    ),
    Planted(
        "message-ids-begin-again",
        "After a change of hands the messages are counted from 1 again.",
        ("message-id", "store-divergence"),
        (Edit("domain.scribe:Scribe.__init__", "self._messages = outline.messages", "self._messages = 0"),),
    ),
    Planted(
        "part-ids-begin-again",
        "After a change of hands the parts are counted from 1 again.",
        ("part-reused",),
        (Edit("domain.scribe:Scribe.__init__", "self._part_count = outline.part_count", "self._part_count = 0"),),
    ),
    Planted(
        "message-id-by-hand",
        "A message's id depends on which worker writes it.",
        ("message-id",),
        (
            Edit(
                "domain.scribe:Scribe._start_message",
                "self._run.run_id, self._messages)",
                "self._run.run_id, self._messages + (self._run.epoch > 1))",
            ),
        ),
    ),
)
