"""The log, the rows that follow from it, checkpoints, leases and remembered answers."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0001"
down_revision: Final = None

ID = sa.Uuid().with_variant(sa.LargeBinary(16), "sqlite")
INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Forward only: a downgrade would lose records."""
    _events()
    _aggregates()
    _runs()
    _messages()
    _rows()


def _events() -> None:
    op.create_table(
        "events",
        sa.Column("stream_id", ID, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("frames", INTEGER, nullable=False),
        sa.Column("epoch", INTEGER, nullable=False),
        sa.Column("topic", sa.Text, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.Column("outline", sa.LargeBinary),
        sa.Column("checksum", INTEGER, nullable=False),
        sa.Column("feed_id", INTEGER),
        sa.PrimaryKeyConstraint("stream_id", "version"),
    )
    op.create_index(
        "events_feed",
        "events",
        ["feed_id"],
        unique=True,
        sqlite_where=sa.text("feed_id IS NOT NULL"),
        postgresql_where=sa.text("feed_id > 0"),
    )
    _partial("events_facts", "events", ["stream_id", "version"], "feed_id IS NOT NULL")


def _aggregates() -> None:
    op.create_table(
        "sessions",
        sa.Column("session_id", ID, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
    )
    op.create_index("sessions_tenant", "sessions", ["tenant", "session_id"])
    op.create_table(
        "jobs",
        sa.Column("job_id", ID, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("session_id", ID, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
    )
    op.create_index("jobs_tenant", "jobs", ["tenant", "job_id"])


def _runs() -> None:
    op.create_table(
        "runs",
        sa.Column("run_id", ID, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("session_id", ID, nullable=False),
        sa.Column("turn", INTEGER, nullable=False),
        sa.Column("attempt", INTEGER, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("epoch", INTEGER, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("lease_until", INTEGER),
        sa.Column("approvals_due", INTEGER),
        sa.Column("first_seq", INTEGER, nullable=False),
        sa.Column("version", INTEGER, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
    )
    op.create_index("runs_tenant", "runs", ["tenant", "run_id"])
    op.create_index("runs_turns", "runs", ["session_id", "turn", "attempt"], unique=True)
    _partial("runs_pending", "runs", ["agent", "run_id"], "status = 'pending'")
    _partial("runs_leases", "runs", ["lease_until"], "status = 'running'")
    _partial("runs_approvals", "runs", ["approvals_due"], "status = 'waiting_for_approval'")


def _messages() -> None:
    op.create_table(
        "messages",
        sa.Column("session_id", ID, nullable=False),
        sa.Column("turn", INTEGER, nullable=False),
        sa.Column("attempt", INTEGER, nullable=False),
        sa.Column("ordinal", INTEGER, nullable=False),
        sa.Column("run_id", ID, nullable=False),
        sa.Column("message_id", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("first_seq", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("session_id", "turn", "attempt", "ordinal"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "parts",
        sa.Column("run_id", ID, nullable=False),
        sa.Column("ordinal", INTEGER, nullable=False),
        sa.Column("part_index", INTEGER, nullable=False),
        sa.Column("chunk", INTEGER, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "ordinal", "part_index", "chunk"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "folds",
        sa.Column("run_id", ID, primary_key=True),
        sa.Column("carry", sa.LargeBinary, nullable=False),
        sqlite_with_rowid=False,
    )


def _rows() -> None:
    op.create_table(
        "checkpoints",
        sa.Column("run_id", ID, primary_key=True),
        sa.Column("step", INTEGER, nullable=False),
        sa.Column("seq", INTEGER, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "idempotency",
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("created_at", INTEGER, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "key"),
    )
    op.create_index("idempotency_age", "idempotency", ["created_at"])
    meta = op.create_table(
        "meta",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("value", INTEGER, nullable=False),
    )
    op.bulk_insert(meta, [{"key": "generation", "value": 1}, {"key": "feed", "value": 0}])


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)
