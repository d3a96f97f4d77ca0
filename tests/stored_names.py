"""What a run database holds, by the names alone."""

from __future__ import annotations

from pathlib import Path

from otel_runs.store.engine import open_database


def names_in(url: str | Path) -> list[str]:
    """Names of all runs and steps, sorted; as often as they are there."""
    with open_database(url, create=False) as database, database.read() as connection:
        rows = connection.exec_driver_sql("SELECT name FROM runs UNION ALL SELECT name FROM model_runs")
        return sorted(name for (name,) in rows)
