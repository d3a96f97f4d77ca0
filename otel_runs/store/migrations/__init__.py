"""How a database comes from one revision of the schema to the next. Data is never lost on the way.

A new revision is a new file in ``versions/`` and a new entry in `REVISIONS`. Released revisions are never edited.
Alembic is imported only where there is something to migrate: opening a database that is up to date must stay cheap.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from otel_runs.children import call_in_child

REVISIONS: Final = ("0001",)
"""All revisions, oldest first."""
HEAD: Final = REVISIONS[-1]
VERSION_TABLE: Final = "otel_runs_version"
"""Not Alembic's default name: the schema may be the user's own, with Alembic migrations of its own."""


class _OneByOne:
    """Alembic keeps what it migrates in globals, so a process migrates one database at a time."""

    def __init__(self) -> None:
        self._start_free()
        call_in_child(self, _OneByOne._start_free)

    def _start_free(self) -> None:
        """The state of a new one, or of one in a forked child: whoever was migrating is the parent's."""
        self.lock = threading.Lock()


_one_by_one: Final = _OneByOne()


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
    with _one_by_one.lock:
        command.upgrade(config, HEAD)
