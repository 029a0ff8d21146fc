"""The statements of the feed over all streams: facts in the order in which they were committed.

On SQLite a counter gives the places, which one writer at a time advances. On PostgreSQL transactions end in another
order than they begin, so a place is the transaction's id and the fact's number in it, and readers stop before the
oldest transaction that is still open: no lock, nothing skipped.
"""

from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa

from .compiling import VARIANTS, Sql, compiled
from .compiling import p as _p
from .schema import FED, events, meta

FACT_BITS: Final = 20
"""Bits of a place that number the facts of one transaction on PostgreSQL."""

_facts = events.c.feed_id.is_not(None)
_row = (events.c.version, events.c.frames, events.c.epoch, events.c.topic, events.c.state, events.c.checksum)
_feed = events.c.feed_id

_offset = sa.select(meta.c.value).where(meta.c.key == "feed").scalar_subquery()
_bits: sa.ColumnElement[Any] = sa.literal_column(f"{FACT_BITS}")


def _number(xid: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return sa.cast(sa.cast(xid, sa.Text), sa.BigInteger)


def _place(xid: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return (_number(xid) + _offset).op("<<")(_bits)


_settled = sa.and_(FED, _feed < _place(sa.func.pg_snapshot_xmin(sa.func.pg_current_snapshot())))
"""PostgreSQL: before every transaction that is still open, in any database of the cluster."""

INSERT_EVENT: Final = compiled(sa.insert(events))
INSERT_FACT: Final = compiled(
    sa.insert(events),
    sa.insert(events)
    .values(
        {column.name: _p(column.name) for column in events.columns}
        | {"feed_id": _place(sa.func.pg_current_xact_id()).op("|")(_p("number"))}
    )
    .returning(_feed),
)
ADVANCE_FEED: Final = compiled(sa.update(meta).where(meta.c.key == "feed").values(value=meta.c.value + _p("count")))
_end = sa.select(sa.func.max(_feed)).where(_facts)
SELECT_FEED_END: Final = compiled(_end, _end.where(_settled))

_reached = sa.func.coalesce(_end.where(FED).scalar_subquery(), 0).op(">>")(_bits)
_behind = _reached + 1 - _number(sa.func.pg_current_xact_id())
RAISE_FEED: Final = Sql.of(
    "", sa.update(meta).where(meta.c.key == "feed").values(value=sa.func.greatest(meta.c.value, _behind))
)
"""PostgreSQL, where transaction ids begin anew (another cluster): those to come stand behind the last place."""


@lru_cache(VARIANTS)
def select_feed(*, bounds: tuple[str, ...], topics: int) -> Sql:
    """The feed in its order: `bounds` among gt, gte and lte; only :topic0.. if `topics` of them are given."""
    conditions = {"gt": _feed > _p("gt"), "gte": _feed >= _p("gte"), "lte": _feed <= _p("lte")}
    where = [_facts, *(conditions[bound] for bound in bounds)]
    if topics:
        where.append(events.c.topic.in_([_p(f"topic{n}") for n in range(topics)]))
    found = sa.select(_feed, events.c.stream_id, *_row).where(*where).order_by(_feed).limit(_p("limit"))
    return compiled(found, found.where(_settled))
