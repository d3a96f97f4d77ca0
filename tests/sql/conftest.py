"""The history that the tests ask: on every database, and once in a file for the sqlite3 shell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_runs.store.engine import Database, open_database
from tests.sql.history import History, driver_of, fill, shell_of


@pytest.fixture
def history(database: Database) -> History:
    """The history on every database at hand."""
    if database.engine.dialect.name == "sqlite":
        return fill(database, shell_of(str(database.engine.url.database)))
    return fill(database, driver_of(database))


@pytest.fixture
def history_in_a_file(tmp_path: Path) -> Iterator[History]:
    """The history on SQLite only."""
    path = tmp_path / "runs.db"
    database = open_database(path)
    yield fill(database, shell_of(str(path)))
    database.close()
