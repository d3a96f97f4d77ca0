"""What a run database holds after a fault, read as a person would: by plain SQL."""

from __future__ import annotations

from collections import Counter
from typing import Any

from otel_runs.store.engine import open_database
from tests.stored_names import names_in


def query(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Ask a run database of any kind."""
    with open_database(url, create=False) as database, database.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


def names(url: str) -> Counter[str]:
    """How many runs and model runs there are of each name."""
    return Counter(names_in(url))
