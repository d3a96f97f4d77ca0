"""How a database comes from one revision of the schema to the next. Data is never lost on the way.

A new revision is a new file in ``versions/`` and a new entry in `REVISIONS`. Released revisions are never edited.
Alembic is imported only where there is something to migrate: opening a database that is up to date must stay cheap.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection

REVISIONS: Final = ("0001",)
"""All revisions, oldest first."""
HEAD: Final = REVISIONS[-1]
VERSION_TABLE: Final = "otel_runs_version"
"""Not Alembic's default name: the schema may be the user's own, with Alembic migrations of its own."""


def migrate(connection: Connection, schema: str | None) -> None:
    """Bring the database to `HEAD`, inside the transaction that the connection is in.

    Args:
        connection: no other process may migrate while its transaction lasts.
        schema: where the version table is; None on databases without schemas.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes.update(connection=connection, schema=schema)
    command.upgrade(config, HEAD)
