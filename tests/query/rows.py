"""Rows put into a run database as they are, for tests of what reads them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from otel_runs.ids import model_id_from_path, row_id_from_span, run_id_from_trace
from otel_runs.store import tables
from otel_runs.store.engine import Database

START = datetime(2026, 1, 9, 14, 23, 15, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """A time some seconds after the start of all tests' runs."""
    return START + timedelta(seconds=seconds)


def trace(number: int) -> str:
    """A trace id that begins with the number, as 8 digits."""
    return f"{number:08x}" + "9c0b4ef8bb6d6bb9bd380a11"


def span(number: int) -> str:
    """A span id that begins with the number, as 8 digits."""
    return f"{number:08x}00f067aa"


class Rows:
    """Inserts rows; what is not given is what a short, successful step or run would have."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def run(self, number: int, *, seconds: float | None = 12.45, **values: Any) -> str:
        """A run of its own trace; ``seconds`` None: it still runs. Returns its id."""
        return self._run(run_id_from_trace(trace(number)), trace(number), number, seconds, values)

    def nested_run(self, parent: str, number: int, *, seconds: float | None = 1.0, **values: Any) -> str:
        """A run in the trace of another. Returns its id."""
        trace_id = parent.replace("-", "")[:16] + "bb6d6bb9bd380a11"
        row_id = row_id_from_span(trace_id, span(number))
        return self._run(row_id, trace_id, number, seconds, {"parent_run_id": parent, **values})

    def _run(self, row_id: str, trace_id: str, number: int, seconds: float | None, values: dict[str, Any]) -> str:
        started = values.get("started_at", at(number % 1000))
        row = {
            "id": row_id,
            "trace_id": trace_id,
            "root_span_id": span(number),
            "name": "daily_sales",
            "environment": "default",
            "status": "running" if seconds is None else "completed",
            "started_at": started,
            **values,
        }
        if seconds is not None:
            row |= {
                "completed_at": started + timedelta(seconds=seconds),
                "duration_seconds": seconds,
                "duration_ns": round(seconds * 1_000_000_000),
            }
        with self.database.write() as connection:
            connection.execute(tables.runs.insert(), row)
        return str(row["id"])

    def model(self, path: str, kind: str = "step") -> str:
        """A model, unless it is there. Returns its id."""
        row_id = model_id_from_path(path)
        with self.database.write() as connection:
            if connection.execute(tables.models.select().where(tables.models.c.id == row_id)).first() is None:
                row = {"id": row_id, "path": path, "name": path, "kind": kind, "created_at": START, "updated_at": START}
                connection.execute(tables.models.insert(), row)
        return row_id

    def model_run(
        self,
        run: str,
        number: int,
        name: str = "load",
        *,
        starts: float = 0,
        seconds: float | None = 0.5,
        **values: Any,
    ) -> str:
        """A model run of a run, ``starts`` seconds after the start of all tests' runs. Returns its id."""
        trace_id = values.pop("trace_id", run.replace("-", ""))
        row_id = row_id_from_span(trace_id, span(number))
        row = {
            "id": row_id,
            "run_id": run,
            "model_id": self.model(name, values.get("kind", "step")),
            "parent_id": run,
            "trace_id": trace_id,
            "span_id": span(number),
            "kind": "step",
            "name": name,
            "attempt": 1,
            "status": "running" if seconds is None else "success",
            "started_at": at(starts),
            **values,
        }
        if seconds is not None:
            row |= {
                "completed_at": at(starts + seconds),
                "duration_ns": round(seconds * 1_000_000_000),
                "execution_ms": round(seconds * 1000),
            }
        with self.database.write() as connection:
            connection.execute(tables.model_runs.insert(), row)
        return row_id
