"""Statements only PostgreSQL has: many rows in one, from arrays; and in one trip what SQLite answers in several.

Their plans are made once, perhaps while the tables are empty. So each is written to be answered row by row from the
array, by keys: for an empty table the server would as soon walk through all of it.
"""

from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from .compiling import Sql, upsert
from .compiling import p as _p
from .schema import NOT_QUEUED, PENDING, RUNNING, WAITING, Id, Integer, events, messages, meta, parts, runs, sessions
from .statements import MESSAGE, VIEW

ROWS_MAX: Final = 1_000_000
"""More than any page has. A limit also keeps the server from looking for the pages in another way than one by one."""


def _only(statement: sa.ClauseElement) -> Sql:
    """Of a statement that SQLite can't say: no text for it."""
    return Sql.of("", statement)


def _unnested(name: str, **types: "sa.types.TypeEngine[Any]") -> sa.TableValuedAlias:
    arrays = [sa.cast(_p(column), postgresql.ARRAY(kind)) for column, kind in types.items()]
    columns = [sa.column(column, kind) for column, kind in types.items()]
    return sa.func.unnest(*arrays).table_valued(*columns, name=name).render_derived()


_new = _unnested(
    "new",
    stream_id=Id,
    version=Integer,
    frames=Integer,
    epoch=Integer,
    topic=sa.Text(),
    state=sa.LargeBinary(),
    outline=sa.LargeBinary(),
    checksum=Integer,
)


def _is_running(status: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """So said that the index of all running runs can't answer it."""
    return sa.func.coalesce(status, sa.literal_column("''")) == RUNNING


_last = events.alias("last")
_end = (
    sa.select(_last.c.version, _last.c.frames, _last.c.epoch)
    .where(_last.c.stream_id == _new.c.stream_id)
    .order_by(_last.c.version.desc())
    .limit(1)
    .lateral("ending")
)
_owner = (
    sa.select(runs.c.status, runs.c.epoch)
    .where(runs.c.run_id == _new.c.stream_id)
    .with_for_update(key_share=True, skip_locked=True)
    .lateral("owner")
)
_landing = (
    sa.select(*_new.c)
    .select_from(_new.join(_owner, sa.true()).join(_end, sa.true()))
    .where(
        _end.c.version + _end.c.frames == _new.c.version,
        _end.c.epoch == _new.c.epoch,
        _owner.c.epoch == _new.c.epoch,
        _is_running(_owner.c.status),
    )
)
APPEND_OUTPUTS: Final = _only(
    postgresql.insert(events)
    .from_select([column.name for column in _new.c], _landing)
    .on_conflict_do_nothing()
    .returning(events.c.stream_id)
)
"""The fence for one batch of each of many runs; what landed. A run that somebody else has in hand is passed over.

The row of the run is asked under its lock, so that a fact recorded meanwhile refuses the append; the key settles what
is left. Nothing is waited for.
"""

_wanted = _unnested("wanted", place=Integer, stream_id=Id, seq=Integer, upto=Integer)
_other = events.alias("other")


def _version(which: "sa.Function[int]", *conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    """Of the run that is wanted: the lateral select around it does not have it, so that it must be said."""
    selected = sa.select(which).where(_other.c.stream_id == _wanted.c.stream_id, *conditions)
    return selected.scalar_subquery().correlate(_wanted)


_holder = _version(sa.func.max(_other.c.version), _other.c.version <= _wanted.c.seq)
_page_end = sa.func.coalesce(
    _version(sa.func.max(_other.c.version), _other.c.version.between(_wanted.c.seq, _wanted.c.upto)),
    _version(sa.func.min(_other.c.version), _other.c.version > _wanted.c.upto),
    _wanted.c.upto,
)
_page = (
    sa.select(events.c.version, events.c.frames, events.c.epoch, events.c.topic, events.c.state, events.c.checksum)
    .where(
        events.c.stream_id == _wanted.c.stream_id,
        events.c.version >= sa.func.coalesce(_holder, _wanted.c.seq),
        events.c.version <= _page_end,
    )
    .order_by(events.c.version)
    .limit(ROWS_MAX)
    .lateral("page")
)
SELECT_PAGES: Final = _only(
    sa.select(_wanted.c.place, *_page.c)
    .select_from(_wanted.join(_page, sa.true()))
    .order_by(_wanted.c.place, _page.c.version)
)
"""What `statements.SELECT_RECORDS` gives, for many runs at once."""

_PROMPT, _ALL = (sa.literal_column(ordinals, sa.BigInteger) for ordinals in ("1", "9223372036854775807"))
_ends = sa.case((runs.c.status.in_((PENDING, RUNNING, WAITING)), _PROMPT), else_=_ALL)
_newest_run = (
    sa.select(*VIEW, runs.c.turn, runs.c.attempt, _ends.label("ends"))
    .where(runs.c.session_id == _p("id"), NOT_QUEUED)
    .order_by(runs.c.turn.desc(), runs.c.attempt.desc())
    .limit(1)
    .cte("newest_run")
)
"""The run of the latest turn that has come. Of an active one the prompt is settled, its first message, and no more."""
_key = (messages.c.turn, messages.c.attempt, messages.c.ordinal)
_settled = (
    sa.select(*MESSAGE)
    .where(
        messages.c.session_id == _p("id"),
        sa.tuple_(*_key) < sa.tuple_(_newest_run.c.turn, _newest_run.c.attempt, _newest_run.c.ends),
    )
    .order_by(*(column.desc() for column in _key))
    .limit(_p("limit"))
    .lateral("settled")
)
_of_message = (parts.c[column.name] == _settled.c[column.name] for column in _key)
_pieces = (
    sa.select(parts.c.part_index, parts.c.chunk, parts.c.body)
    .where(parts.c.session_id == _p("id"), *_of_message)
    .order_by(parts.c.part_index, parts.c.chunk)
    .limit(ROWS_MAX)
    .lateral("pieces")
)
_said = (*_settled.c, *_pieces.c)
_views = (sessions.c.state, sessions.c.lease_until, *(_newest_run.c[column.name] for column in VIEW))
SELECT_TAIL: Final = _only(
    sa.select(*_said, *(sa.null() for _ in _views))
    .select_from(_newest_run.join(_settled, sa.true()).outerjoin(_pieces, sa.true()))
    .union_all(
        sa.select(*(sa.null() for _ in _said), *_views)
        .select_from(sessions.outerjoin(_newest_run, sa.true()))
        .where(sessions.c.session_id == _p("id"))
    )
    .order_by(*(sa.column(column.name) for column in (*_key, parts.c.part_index, parts.c.chunk)))
)
"""All of a session's tail: the pieces of its newest settled messages, in order; then the session and its newest run.

One statement sees one state, without a transaction around it.
"""
SAID_COLUMNS: Final = len(_said)

_ids = sa.cast(_p("run_id"), postgresql.ARRAY(Id))
_held = _unnested("held", run_id=Id, epoch=Integer)
RENEW_LEASES: Final = _only(
    sa.update(runs)
    .where(
        runs.c.run_id == sa.any_(_ids),
        sa.exists().where(_held.c.run_id == runs.c.run_id, _held.c.epoch == runs.c.epoch),
        runs.c.worker == _p("holder"),
        _is_running(runs.c.status),
    )
    .values(lease_until=_p("until"))
    .returning(runs.c.run_id)
)
AWAIT_RUN: Final = _only(
    sa.select(runs.c.version).where(runs.c.run_id == _p("id")).with_for_update(key_share=True, of=[runs])
)
"""Wait until nobody else has the run in hand."""

# The history we are in.

_generation = meta.c.key == "generation"
LOCK_GENERATION: Final = _only(sa.select(meta.c.value).where(_generation).with_for_update())
RAISE_GENERATION: Final = _only(sa.update(meta).where(_generation).values(value=meta.c.value + 1))
WRITE_META: Final = upsert(meta, "value")
