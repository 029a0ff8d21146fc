"""Planted bugs of reading: a run's request_config forgotten, changed or not compared, and readers that write."""

from typing import Final

from .edit import Edit, Planted

_BLOCKS: Final = "adapters.http.sse:Encoder.blocks"

FILTERS: Final = (
    Planted(
        "filter-forgotten-on-resume",
        "Frames that are read from the store after a cursor are sent as they are, whatever the run's request_config.",
        ("hidden-frame-sent", "frame-altered"),
        (
            Edit(
                "adapters.http.walk:Walk._page",
                "pieces += feed.encoder.blocks(wanted)",
                "config = feed.view.run.request_config if reader.seq == 0 else type(feed.view.run.request_config)()\n"
                "        encoder = type(feed.encoder)(feed.view.run.run_id, self._store.generation, config)\n"
                "        pieces += encoder.blocks(wanted)",
            ),
        ),
    ),
    Planted(
        "filter-forgotten-in-snapshots",
        "A snapshot shows everything, whatever the run's request_config.",
        ("snapshot-wrong", "fold-wrong"),
        (
            Edit(
                "adapters.http.walk:Walk._snapshot",
                "snapshot.state(run.request_config)",
                "snapshot.state()",
            ),
        ),
    ),
    Planted(
        "filter-forgotten-in-history",
        "A session's messages show everything, whatever the request_config of their run.",
        ("history-differs",),
        (
            Edit(
                "adapters.http.history:_as_shown",
                "if config.shows_everything:",
                "if True:",
            ),
        ),
    ),
    Planted(
        "frames-numbered-after-filtering",
        "Frames get their ids after those that are not shown were taken out.",
        ("frame-altered", "delivery-repeat", "delivery-gap", "hidden-frame-sent", "not-durable"),
        (
            Edit(
                _BLOCKS,
                "enumerate(lines, record.first_seq)",
                "enumerate([line for line in lines if line is not None], record.first_seq)",
            ),
        ),
    ),
    Planted(
        "hidden-frames-end-the-piece",
        "A record is sent up to its first hidden frame only.",
        ("delivery-gap", "clean-end"),
        (
            Edit(
                _BLOCKS,
                "lines = [self._config.shown(line) for line in record.data]",
                "lines = [self._config.shown(line) for line in record.data]\n"
                "        lines = lines[: lines.index(None)] if None in lines else lines",
            ),
        ),
    ),
    Planted(
        "config-mismatch-accepted",
        "A reader that expects another request_config than the run has is served all the same.",
        ("mismatch-accepted",),
        (Edit("adapters.http.place:check_config", "if wish.config is not None and", "if wish.config == '' and"),),
    ),
)

LOOKS: Final = (
    Planted(
        "get-cleans-up",
        "Whoever looks at a run lets the store forget an Idempotency-Key on the way.",
        ("get-wrote",),
        (
            Edit(
                "adapters.http.runs:Runs.get",
                "scope = request.scope\n",
                "scope = request.scope\n    await self._store.transact(lambda tx: tx.forget_answers(tx.now, 1))\n",
            ),
        ),
    ),
    Planted(
        "session-read-in-a-write-transaction",
        "A session's stream reads its session in a write transaction, for which it waits among the writers.",
        ("get-wrote",),
        (
            Edit(
                "adapters.http.stream:SessionEvents._begin_session",
                "session = await self._application.session(tenant, session_id)",
                "session = await self._application.session(tenant, session_id)\n"
                "    await self._store.transact(lambda tx: tx.session(session.session_id))",
            ),
        ),
    ),
)

VIEWS: Final = (*FILTERS, *LOOKS)
