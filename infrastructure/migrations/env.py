"""What Alembic runs: the migrations on the connection it is handed, inside the caller's transaction."""

from alembic import context

from reattach.infrastructure.eventstore.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    compare_type=True,
)
context.run_migrations()
