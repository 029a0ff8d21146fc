"""The statements, written in SQLAlchemy Core and compiled once to each database's text with named parameters.

They run on the driver's connection: the ORM-less execution of SQLAlchemy would still cost more than these tiny
transactions themselves. What locks rows does so on PostgreSQL; SQLite, with one writer at a time, has no words for it.
"""

from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa

from .compiling import VARIANTS, Sql, compiled, locking, update, upsert
from .compiling import p as _p
from .schema import (
    DELETED,
    NOT_QUEUED,
    PENDING,
    RUNNING,
    WAITING,
    checkpoints,
    events,
    folds,
    idempotency,
    jobs,
    messages,
    meta,
    parts,
    runs,
    sessions,
)

_stream = events.c.stream_id == _p("stream_id")
_facts = events.c.feed_id.is_not(None)
_row = (events.c.version, events.c.frames, events.c.epoch, events.c.topic, events.c.state, events.c.checksum)
_other = events.alias("other")
_last_version = sa.select(sa.func.max(_other.c.version)).where(_other.c.stream_id == _p("stream_id")).scalar_subquery()
_holder = (
    sa.select(sa.func.max(_other.c.version))
    .where(_other.c.stream_id == _p("stream_id"), _other.c.version <= _p("seq"))
    .scalar_subquery()
)

# Events.


_last = events.alias("last")
_output = ("stream_id", "version", "frames", "epoch", "topic", "state", "outline", "checksum")
APPEND_OUTPUT: Final = compiled(
    sa.insert(events).from_select(
        _output,
        sa.select(*(_p(name) for name in _output))
        .select_from(_last.join(runs, runs.c.run_id == _last.c.stream_id))
        .where(
            _last.c.stream_id == _p("stream_id"),
            _last.c.version == _last_version,
            _last.c.version + _last.c.frames == _p("version"),
            _last.c.epoch == _p("epoch"),
            runs.c.status == RUNNING,
        ),
    )
)
"""The fence: it lands only at the log's end, under the run's epoch, while the run is running. All in one statement."""

SELECT_HEAD: Final = compiled(
    sa.select(events.c.version, events.c.frames, events.c.epoch, events.c.outline).where(
        _stream, events.c.version == _last_version
    )
)
SELECT_EVENT: Final = compiled(sa.select(*_row).where(_stream, events.c.version == _p("version")))
SELECT_FACTS: Final = compiled(sa.select(*_row).where(_stream, _facts).order_by(events.c.version))
_from_seq = sa.and_(_stream, events.c.version >= sa.func.coalesce(_holder, _p("seq")))
_within = sa.and_(_other.c.stream_id == _p("stream_id"), _other.c.version.between(_p("seq"), _p("upto")))
_beyond = sa.and_(_other.c.stream_id == _p("stream_id"), _other.c.version > _p("upto"))
_page_end = sa.func.coalesce(
    sa.select(sa.func.max(_other.c.version)).where(_within).scalar_subquery(),
    sa.select(sa.func.min(_other.c.version)).where(_beyond).scalar_subquery(),
    _p("upto"),
)
SELECT_RECORDS: Final = compiled(
    sa.select(*_row).where(_from_seq, events.c.version <= _page_end).order_by(events.c.version)
)
"""From the record that holds :seq to the last that begins by :upto; if none does (a gap), to the first after it."""
SELECT_RECORDS_TO: Final = compiled(
    sa.select(*_row).where(_from_seq, events.c.version <= _p("last_seq")).order_by(events.c.version)
)
SELECT_HOLDER: Final = compiled(
    sa.select(events.c.version, events.c.frames, events.c.epoch).where(_stream, events.c.version == _holder)
)
SELECT_NEXT_VERSION: Final = compiled(
    sa.select(sa.func.min(events.c.version)).where(_stream, events.c.version > _p("version"))
)


@lru_cache(VARIANTS)
def select_events(*, bounds: tuple[str, ...], desc: bool, facts: bool) -> Sql:
    """A stream's events for the library: `bounds` among gt and lte; up to :limit."""
    conditions = {"gt": events.c.version > _p("gt"), "lte": events.c.version <= _p("lte")}
    where = [_stream, *(conditions[bound] for bound in bounds), *([_facts] if facts else [])]
    order = events.c.version.desc() if desc else events.c.version
    return compiled(sa.select(*_row).where(*where).order_by(order).limit(_p("limit")))


SELECT_META: Final = compiled(sa.select(meta.c.value).where(meta.c.key == _p("key")))

# Sessions, jobs, runs.

INSERT_SESSION: Final = compiled(sa.insert(sessions))
UPDATE_SESSION: Final = update(sessions, sessions.c.session_id, "status", "handoff_due", "version", "state")
_session = sa.select(sessions.c.state).where(sessions.c.session_id == _p("id"))
SELECT_SESSION: Final = compiled(_session)
LOCK_SESSION: Final = compiled(_session, locking(_session.with_for_update(key_share=True)))
"""The session, which stays as it is until the transaction ends. All facts of its runs and jobs are under this lock."""
INSERT_JOB: Final = compiled(sa.insert(jobs))
UPDATE_JOB: Final = update(jobs, jobs.c.job_id, "status", "version", "state")
SELECT_JOB: Final = compiled(sa.select(jobs.c.state).where(jobs.c.job_id == _p("id")))
INSERT_RUN: Final = compiled(sa.insert(runs))
_lease = sa.func.coalesce(runs.c.lease_until, _p("now"))  # who claims and takes no lease has one that is over
UPDATE_RUN: Final = compiled(
    sa.update(runs)
    .where(runs.c.run_id == _p("id"), runs.c.version == _p("was"))
    .values(
        {name: _p(name) for name in ("status", "epoch", "worker", "approvals_due", "version", "state")}
        | {"lease_until": sa.case((_p("status") == RUNNING, _lease), else_=None)}
    )
)
_run_head = (
    sa.select(_other.c.version + _other.c.frames - 1)
    .where(_other.c.stream_id == runs.c.run_id)
    .order_by(_other.c.version.desc())
    .limit(1)
    .scalar_subquery()
)
VIEW: Final = (runs.c.run_id, runs.c.state, _run_head.label("head"), runs.c.first_seq)
SELECT_RUN: Final = compiled(sa.select(runs.c.state).where(runs.c.run_id == _p("id")))
_in_its_session = runs.join(sessions, sessions.c.session_id == runs.c.session_id)
_run = sa.select(runs.c.state).where(runs.c.run_id == _p("id"))
LOCK_RUN: Final = compiled(
    _run, locking(_run.select_from(_in_its_session).with_for_update(key_share=True, of=[sessions, runs]))
)
"""The run, to which nothing is appended until the transaction ends. Its session is locked first, everywhere."""
_gone = sa.exists().where(
    sessions.c.session_id == runs.c.session_id, sessions.c.status == sa.literal_column("'deleted'")
)
SELECT_VIEW: Final = compiled(sa.select(*VIEW).where(runs.c.run_id == _p("id"), ~_gone))
SELECT_PLACE: Final = compiled(
    sa.select(runs.c.session_id, runs.c.turn, runs.c.attempt, runs.c.state).where(runs.c.run_id == _p("id"))
)
SELECT_NEXT_RUN: Final = compiled(
    sa.select(runs.c.run_id)
    .where(
        runs.c.session_id == _p("id"),
        sa.tuple_(runs.c.turn, runs.c.attempt) > sa.tuple_(_p("turn"), _p("attempt")),
        NOT_QUEUED,
    )
    .order_by(runs.c.turn, runs.c.attempt)
    .limit(1)
)
SELECT_LAST_RUN: Final = compiled(
    sa.select(*VIEW)
    .where(runs.c.session_id == _p("id"), runs.c.turn == _p("turn"))
    .order_by(runs.c.attempt.desc())
    .limit(1)
)
QUEUE_RUN: Final = compiled(sa.update(runs).where(runs.c.run_id == _p("id")).values(queued=_p("queued")))


@lru_cache(VARIANTS)
def select_runs(filters: tuple[str, ...], *, after: bool) -> Sql:
    """A tenant's runs, newest first: `filters` among session_id, agent and status; those older than :after."""
    where = [runs.c.tenant == _p("tenant"), ~_gone, *(runs.c[name] == _p(name) for name in filters)]
    where += [runs.c.run_id < _p("after")] if after else []
    return compiled(sa.select(*VIEW).where(*where).order_by(runs.c.run_id.desc()).limit(_p("limit")))


@lru_cache(VARIANTS)
def select_sessions(filters: tuple[str, ...], *, after: bool) -> Sql:
    """A tenant's sessions that are not deleted, newest first: `filters` among status; those older than :after."""
    where = [sessions.c.tenant == _p("tenant"), sessions.c.status != DELETED]
    where += [sessions.c[name] == _p(name) for name in filters]
    where += [sessions.c.session_id < _p("after")] if after else []
    selected = sa.select(sessions.c.session_id, sessions.c.state, sessions.c.lease_until)
    return compiled(selected.where(*where).order_by(sessions.c.session_id.desc()).limit(_p("limit")))


# Leases and what waits.

GRANT_LEASE: Final = compiled(sa.update(runs).where(runs.c.run_id == _p("id")).values(lease_until=_p("until")))
RENEW_LEASE: Final = compiled(
    sa.update(runs)
    .where(
        runs.c.run_id == _p("id"),
        runs.c.worker == _p("holder"),
        runs.c.epoch == _p("held"),
        runs.c.status == RUNNING,
    )
    .values(lease_until=_p("until"))
)
_waiting_for_a_worker = (
    sa.select(runs.c.run_id)
    .where(runs.c.status == PENDING, NOT_QUEUED, runs.c.agent == _p("agent"))
    .order_by(runs.c.run_id)
    .limit(_p("limit"))
)
SELECT_PENDING: Final = compiled(_waiting_for_a_worker)


def _taken(found: sa.Select[Any]) -> Sql:
    """The runs found, and with them their sessions, if nobody else has them in hand."""
    locked = found.join(sessions, sessions.c.session_id == runs.c.session_id)
    return compiled(found, locked.with_for_update(key_share=True, of=[sessions, runs], skip_locked=True))


TAKE_PENDING: Final = _taken(_waiting_for_a_worker)
TAKE_EXPIRED_LEASES: Final = _taken(
    sa.select(runs.c.run_id)
    .where(runs.c.status == RUNNING, runs.c.lease_until <= _p("before"))
    .order_by(runs.c.lease_until, runs.c.run_id)
    .limit(_p("limit"))
)
TAKE_EXPIRED_APPROVALS: Final = _taken(
    sa.select(runs.c.run_id)
    .where(runs.c.status == WAITING, runs.c.approvals_due <= _p("before"))
    .order_by(runs.c.approvals_due, runs.c.run_id)
    .limit(_p("limit"))
)

# Checkpoints, idempotency.

SAVE_CHECKPOINT: Final = upsert(checkpoints, "step", "seq", "state")
SELECT_CHECKPOINT: Final = compiled(
    sa.select(checkpoints.c.step, checkpoints.c.seq, checkpoints.c.state).where(checkpoints.c.run_id == _p("id"))
)
INSERT_ANSWER: Final = compiled(sa.insert(idempotency))
SELECT_ANSWER: Final = compiled(
    sa.select(idempotency.c.fingerprint, idempotency.c.payload).where(
        idempotency.c.tenant == _p("tenant"), idempotency.c.key == _p("key")
    )
)
_old = (
    sa.select(idempotency.c.tenant, idempotency.c.key)
    .where(idempotency.c.created_at < _p("before"))
    .order_by(idempotency.c.created_at)
    .limit(_p("limit"))
    .with_for_update(skip_locked=True)
)
FORGET_ANSWERS: Final = compiled(
    sa.delete(idempotency).where(sa.tuple_(idempotency.c.tenant, idempotency.c.key).in_(_old))
)

# Messages.


def _of_run(table: sa.Table) -> sa.ColumnElement[bool]:
    return sa.and_(*(table.c[name] == _p(name) for name in ("session_id", "turn", "attempt")))


_in_run = _of_run(messages)
_voided = sa.and_(_in_run, messages.c.role != "user", messages.c.first_seq > _p("to_seq"))
_place = (messages.c.turn, messages.c.attempt, messages.c.ordinal)
MESSAGE: Final = (*_place, *(messages.c[name] for name in ("message_id", "role", "status", "first_seq", "config")))

SAVE_MESSAGE: Final = upsert(messages, "status")
INSERT_PART: Final = compiled(sa.insert(parts))
SAVE_CARRY: Final = upsert(folds, "carry")
SELECT_CARRY: Final = compiled(sa.select(folds.c.carry).where(folds.c.run_id == _p("id")))
ABANDON: Final = compiled(sa.update(messages).where(_voided).values(status="abandoned"))
DELETE_VOIDED_PARTS: Final = compiled(
    sa.delete(parts).where(_of_run(parts), parts.c.ordinal.in_(sa.select(messages.c.ordinal).where(_voided)))
)
SELECT_RUN_MESSAGES: Final = compiled(
    sa.select(*MESSAGE).where(_in_run, messages.c.first_seq <= _p("seq")).order_by(messages.c.ordinal)
)
_part_of = (parts.c.turn, parts.c.attempt, parts.c.ordinal)
_from, _to = (sa.tuple_(*(_p(f"{end}_{column.name}") for column in _part_of)) for end in ("first", "last"))
SELECT_PARTS: Final = compiled(
    sa.select(*_part_of, parts.c.part_index, parts.c.body)
    .where(parts.c.session_id == _p("session_id"), sa.tuple_(*_part_of) >= _from, sa.tuple_(*_part_of) <= _to)
    .order_by(*_part_of, parts.c.part_index, parts.c.chunk)
)
_in_session = messages.c.session_id == _p("session_id")


@lru_cache(VARIANTS)
def select_messages(bounds: tuple[str, ...], *, oldest: bool) -> Sql:
    """A session's messages between two places, `bounds` among after and before: from the newest on, or the oldest."""
    conditions = {
        "after": sa.tuple_(*_place) > sa.tuple_(*(_p(f"after_{column.name}") for column in _place)),
        "before": sa.tuple_(*_place) < sa.tuple_(*(_p(f"before_{column.name}") for column in _place)),
    }
    order = [column if oldest else column.desc() for column in _place]
    where = [_in_session, *(conditions[bound] for bound in bounds)]
    return compiled(sa.select(*MESSAGE).where(*where).order_by(*order).limit(_p("limit")))
