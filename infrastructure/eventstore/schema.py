"""The tables: one SQLAlchemy Core schema, SQLite first.

`events` is the only truth; every other table follows from it in the same transaction, except `checkpoints` (the
latest one of each run), leases (in `runs` and `sessions`) and `idempotency`, which are not history.
"""

from typing import Final

import sqlalchemy as sa

metadata = sa.MetaData()

Id = sa.Uuid().with_variant(sa.LargeBinary(16), "sqlite")
Integer = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
Json = sa.LargeBinary

events = sa.Table(
    "events",
    metadata,
    sa.Column("stream_id", Id, nullable=False),
    sa.Column("version", Integer, nullable=False),  # of its first frame: the fence's key
    sa.Column("frames", Integer, nullable=False),  # versions it takes
    sa.Column("epoch", Integer, nullable=False),  # the run's epoch after it
    sa.Column("topic", sa.Text, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
    sa.Column("outline", Json),  # what is open after it; runs only
    sa.Column("checksum", Integer, nullable=False),
    sa.Column("feed_id", Integer),  # facts only: their place in the feed over all streams
    sa.PrimaryKeyConstraint("stream_id", "version"),
)
_fact = events.c.feed_id.is_not(None)
FED: Final = events.c.feed_id > sa.literal_column("0")
"""As `_fact`, in words of its own: PostgreSQL might look for a stream's facts in the index of all facts."""
sa.Index("events_feed", events.c.feed_id, unique=True, sqlite_where=_fact, postgresql_where=FED)
sa.Index("events_facts", events.c.stream_id, events.c.version, sqlite_where=_fact, postgresql_where=_fact)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("session_id", Id, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("version", Integer, nullable=False),
    sa.Column("state", Json, nullable=False),
    sa.Column("lease_until", Integer),  # the owner's, in microseconds since 1970; not history
    sa.Column("handoff_due", Integer),  # the deadline of the handoff under way, in microseconds since 1970
)
_handing_off = sessions.c.handoff_due.is_not(None)
sa.Index("sessions_handoffs", sessions.c.handoff_due, sqlite_where=_handing_off, postgresql_where=_handing_off)
sa.Index("sessions_tenant", sessions.c.tenant, sessions.c.session_id)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("job_id", Id, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("session_id", Id, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("version", Integer, nullable=False),
    sa.Column("state", Json, nullable=False),
)
sa.Index("jobs_tenant", jobs.c.tenant, jobs.c.job_id)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("run_id", Id, primary_key=True),
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("session_id", Id, nullable=False),
    sa.Column("turn", Integer, nullable=False),
    sa.Column("attempt", Integer, nullable=False),
    sa.Column("agent", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("epoch", Integer, nullable=False),
    sa.Column("worker", sa.Text),
    sa.Column("lease_until", Integer),  # microseconds since 1970; not history
    sa.Column("approvals_due", Integer),  # the earliest deadline of an open approval, in microseconds since 1970
    sa.Column("first_seq", Integer, nullable=False),
    sa.Column("version", Integer, nullable=False),
    sa.Column("state", Json, nullable=False),
    sa.Column("queued", Integer, nullable=False, server_default="0"),  # 1: its session has not come to it
)
PENDING = sa.literal_column("'pending'", sa.Text)
RUNNING = sa.literal_column("'running'", sa.Text)
WAITING = sa.literal_column("'waiting_for_approval'", sa.Text)
DELETED = sa.literal_column("'deleted'", sa.Text)
"""Literals, because a partial index serves only statements that say its condition in so many words."""

NOT_QUEUED = runs.c.queued == sa.literal_column("0", sa.Integer)

_pending = sa.and_(runs.c.status == PENDING, NOT_QUEUED)
_running, _waiting = runs.c.status == RUNNING, runs.c.status == WAITING
sa.Index("runs_tenant", runs.c.tenant, runs.c.run_id)
sa.Index("runs_turns", runs.c.session_id, runs.c.turn, runs.c.attempt, unique=True)
sa.Index("runs_pending", runs.c.agent, runs.c.run_id, sqlite_where=_pending, postgresql_where=_pending)
sa.Index("runs_leases", runs.c.lease_until, sqlite_where=_running, postgresql_where=_running)
sa.Index("runs_approvals", runs.c.approvals_due, sqlite_where=_waiting, postgresql_where=_waiting)

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("run_id", Id, primary_key=True),
    sa.Column("step", Integer, nullable=False),
    sa.Column("seq", Integer, nullable=False),
    sa.Column("state", sa.LargeBinary, nullable=False),
)

# Both clustered, so that a tail is one range of each and costs the same whatever the size of the history.
messages = sa.Table(
    "messages",
    metadata,
    sa.Column("session_id", Id, nullable=False),
    sa.Column("turn", Integer, nullable=False),
    sa.Column("attempt", Integer, nullable=False),
    sa.Column("ordinal", Integer, nullable=False),
    sa.Column("run_id", Id, nullable=False),
    sa.Column("message_id", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("first_seq", Integer, nullable=False),
    sa.Column("config", Json),  # its run's request_config, if that hides anything
    sa.PrimaryKeyConstraint("session_id", "turn", "attempt", "ordinal"),
    sqlite_with_rowid=False,
)

parts = sa.Table(
    "parts",
    metadata,
    sa.Column("session_id", Id, nullable=False),
    sa.Column("turn", Integer, nullable=False),
    sa.Column("attempt", Integer, nullable=False),
    sa.Column("ordinal", Integer, nullable=False),
    sa.Column("part_index", Integer, nullable=False),
    sa.Column("chunk", Integer, nullable=False),  # a part that grows is stored in pieces
    sa.Column("body", Json, nullable=False),
    sa.PrimaryKeyConstraint("session_id", "turn", "attempt", "ordinal", "part_index", "chunk"),
    sqlite_with_rowid=False,
)

memories = sa.Table(
    "memories",
    metadata,
    sa.Column("session_id", Id, nullable=False),
    sa.Column("sequence", Integer, nullable=False),
    sa.Column("body", Json, nullable=False),
    sa.PrimaryKeyConstraint("session_id", "sequence"),
    sqlite_with_rowid=False,
)

handoffs = sa.Table(
    "handoffs",
    metadata,
    sa.Column("session_id", Id, nullable=False),
    sa.Column("handoff_id", sa.Text, nullable=False),
    sa.Column("state", Json, nullable=False),
    sa.PrimaryKeyConstraint("session_id", "handoff_id"),
    sqlite_with_rowid=False,
)

folds = sa.Table(
    "folds",
    metadata,
    sa.Column("run_id", Id, primary_key=True),
    sa.Column("carry", Json, nullable=False),
    sqlite_with_rowid=False,
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("tenant", sa.Text, nullable=False),
    sa.Column("key", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("payload", Json, nullable=False),
    sa.Column("created_at", Integer, nullable=False),  # microseconds since 1970
    sa.PrimaryKeyConstraint("tenant", "key"),
)
sa.Index("idempotency_age", idempotency.c.created_at)

meta = sa.Table(
    "meta",
    metadata,
    sa.Column("key", sa.Text, primary_key=True),  # generation, feed; on PostgreSQL what `lineage.History` names
    sa.Column("value", Integer, nullable=False),
)
