from __future__ import annotations

import pytest

from otel_runs.store.engine import Database
from tests.query.rows import Rows


@pytest.fixture
def rows(database: Database) -> Rows:
    """Puts rows into the test's database."""
    return Rows(database)
