"""A tail is one range of a session's messages, which know how they are shown, and one of their parts."""

import json
from typing import Final

import sqlalchemy as sa
from alembic import op

revision: Final = "0003"
down_revision: Final = "0002"

ID = sa.Uuid().with_variant(sa.LargeBinary(16), "sqlite")
INTEGER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

PAGE_ROWS: Final = 1_000
"""Runs that are held in memory at a time."""


def upgrade() -> None:
    """Forward only, as all of them. Writes every part once more, and needs as much space again while it does."""
    op.add_column("messages", sa.Column("config", sa.LargeBinary))
    _say_how_messages_are_shown()
    op.rename_table("parts", "parts_by_run")
    op.create_table(
        "parts",
        sa.Column("session_id", ID, nullable=False),
        sa.Column("turn", INTEGER, nullable=False),
        sa.Column("attempt", INTEGER, nullable=False),
        sa.Column("ordinal", INTEGER, nullable=False),
        sa.Column("part_index", INTEGER, nullable=False),
        sa.Column("chunk", INTEGER, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("session_id", "turn", "attempt", "ordinal", "part_index", "chunk"),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO parts (session_id, turn, attempt, ordinal, part_index, chunk, body) "
        "SELECT r.session_id, r.turn, r.attempt, p.ordinal, p.part_index, p.chunk, p.body "
        "FROM parts_by_run p JOIN runs r ON r.run_id = p.run_id "
        "ORDER BY r.session_id, r.turn, r.attempt, p.ordinal, p.part_index, p.chunk"
    )
    op.drop_table("parts_by_run")


def _say_how_messages_are_shown() -> None:
    """Of the runs whose request_config hides something, as versions before this one wrote their state."""
    connection = op.get_bind()
    runs = sa.table("runs", *map(sa.column, ("session_id", "turn", "attempt", "state")))
    messages = sa.table("messages", *map(sa.column, ("session_id", "turn", "attempt", "config")))
    found = connection.execute(sa.select(runs.c.session_id, runs.c.turn, runs.c.attempt, runs.c.state))
    for partition in found.yield_per(PAGE_ROWS).partitions():
        for session_id, turn, attempt, state in partition:
            config = json.loads(state).get("request_config", {})
            if config.get("kinds") is not None or config.get("tool_output", "full") != "full":
                its_own = sa.and_(
                    messages.c.session_id == session_id, messages.c.turn == turn, messages.c.attempt == attempt
                )
                told = json.dumps(config, separators=(",", ":")).encode()
                connection.execute(sa.update(messages).where(its_own).values(config=told))
