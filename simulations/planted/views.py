"""Planted bugs of what readers are shown: a run's request_config forgotten, changed, or not compared."""

from typing import Final

from .edit import Edit, Planted

_BLOCKS: Final = "adapters.http.sse:Encoder.blocks"

VIEWS: Final = (
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
                "snapshot.state(feed.view.run.request_config)",
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
                "adapters.http.sessions:_as_shown",
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
