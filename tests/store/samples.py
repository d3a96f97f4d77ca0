"""Rows for tests of the store alone, without traces."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert

from otel_runs.store import tables

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def insert_run(connection: Connection, id_: str, **values: Any) -> None:
    """Insert a run; what is not given is the least that a run has."""
    row = {
        "id": id_,
        "trace_id": "0" * 32,
        "name": "daily",
        "environment": "default",
        "status": "running",
        "started_at": NOON,
    }
    connection.execute(insert(tables.runs).values({**row, **values}))


def insert_model(connection: Connection, id_: str, **values: Any) -> None:
    """Insert a model."""
    row = {"id": id_, "path": id_, "name": id_, "kind": "model", "created_at": NOON, "updated_at": NOON}
    connection.execute(insert(tables.models).values({**row, **values}))


def insert_model_run(connection: Connection, id_: str, run_id: str, model_id: str, **values: Any) -> None:
    """Insert a model run that has ended well, a second after noon."""
    row = {
        "id": id_,
        "run_id": run_id,
        "model_id": model_id,
        "parent_id": run_id,
        "trace_id": "0" * 32,
        "span_id": "0" * 16,
        "kind": "model",
        "name": model_id,
        "attempt": 1,
        "status": "success",
        "started_at": NOON,
        "completed_at": NOON + timedelta(seconds=1),
        "execution_ms": 1000,
    }
    connection.execute(insert(tables.model_runs).values({**row, **values}))
