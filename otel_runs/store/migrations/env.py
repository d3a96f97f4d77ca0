"""What Alembic runs for every command: the connection is ours, and so is its transaction."""

from alembic import context

from otel_runs.store import tables
from otel_runs.store.migrations import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=tables.metadata,
    version_table=VERSION_TABLE,
    # Named, because without a schema Alembic would find the version table of another schema in the search path.
    version_table_schema=context.config.attributes["schema"],
)
context.run_migrations()
