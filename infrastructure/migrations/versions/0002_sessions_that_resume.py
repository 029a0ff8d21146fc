"""Owners' leases, handoffs and memories of sessions; runs that wait for their turn."""

from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"

ID = sa.Uuid().with_variant(sa.LargeBinary(16), "sqlite")
INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Forward only: a downgrade would lose records."""
    op.add_column("sessions", sa.Column("lease_until", INTEGER))
    op.add_column("sessions", sa.Column("handoff_due", INTEGER))
    _partial("sessions_handoffs", "sessions", ["handoff_due"], "handoff_due IS NOT NULL")
    op.add_column("runs", sa.Column("queued", INTEGER, nullable=False, server_default="0"))
    op.drop_index("runs_pending", "runs")
    _partial("runs_pending", "runs", ["agent", "run_id"], "status = 'pending' AND queued = 0")
    op.create_table(
        "memories",
        sa.Column("session_id", ID, nullable=False),
        sa.Column("sequence", INTEGER, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("session_id", "sequence"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "handoffs",
        sa.Column("session_id", ID, nullable=False),
        sa.Column("handoff_id", sa.Text, nullable=False),
        sa.Column("state", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("session_id", "handoff_id"),
        sqlite_with_rowid=False,
    )


def _partial(name: str, table: str, columns: list[str], where: str) -> None:
    condition = sa.text(where)
    op.create_index(name, table, columns, sqlite_where=condition, postgresql_where=condition)
