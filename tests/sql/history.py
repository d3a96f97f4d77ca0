"""A small history, stored by the product itself, and ways to ask it in plain SQL."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Span, Status, StatusCode, format_trace_id, set_span_in_context

from otel_runs.ids import row_id_from_span, run_id_from_trace
from otel_runs.ingest import Ingest
from otel_runs.spans.from_sdk import SdkSpans
from otel_runs.store.engine import Database
from otel_runs.units import ns_from_time
from tests.servers.missing import sqlite3_shell

Row = tuple[Any, ...]

A_MINUTE_AGO = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
NOON = A_MINUTE_AGO.replace(hour=12, minute=0, second=0)
"""Of the same day, also just after midnight."""


class History(NamedTuple):
    """Five runs and two nested ones; what each of them is, is in `fill`."""

    database: Database
    old: str
    old_window: str
    old_part: str
    failed: str
    prod: str
    latest: str
    running: str
    ask: Callable[[str], list[Row]]
    """The rows of a statement, asked as it is: of the sqlite3 shell, which leaves foreign keys off, or of psycopg."""

    @property
    def dialect(self) -> str:
        """``sqlite`` or ``postgresql``."""
        return self.database.engine.dialect.name


class Spans:
    """Makes spans with times of our own, by the real SDK."""

    def __init__(self) -> None:
        self.finished = InMemorySpanExporter()

    def start(
        self, name: str, start: datetime, *, environment: str = "dev", parent: Span | None = None, **own: Any
    ) -> Span:
        resource = Resource({"service.name": "shop", "deployment.environment.name": environment})
        provider = TracerProvider(resource=resource)
        provider.add_span_processor(SimpleSpanProcessor(self.finished))
        context = None if parent is None else set_span_in_context(parent)
        attributes = {f"otel_runs.{key}": value for key, value in own.items()}
        return provider.get_tracer("tests").start_span(
            name, context, attributes=attributes, start_time=ns_from_time(start)
        )

    def orders(self, parent: Span, start: datetime, ms: int, **own: Any) -> None:
        """The model staging.orders."""
        own = {"kind": "model", "model.path": "staging.orders", **own}
        span = self.start("orders", start, parent=parent, **own)
        span.end(ns_from_time(start + timedelta(milliseconds=ms)))

    def revenue(self, parent: Span, start: datetime, ms: int, error: Exception | None = None, **own: Any) -> None:
        """The model marts.revenue, which reads staging.orders."""
        own = {"kind": "model", "model.path": "marts.revenue", "model.depends_on": ["staging.orders"], **own}
        span = self.start("revenue", start, parent=parent, **own)
        end = ns_from_time(start + timedelta(milliseconds=ms))
        if error is not None:
            fail(span, error, end)
        span.end(end)

    def save(self, database: Database) -> None:
        """Store the spans that have ended since the last time."""
        neutral = SdkSpans()
        Ingest(database).save([neutral.span_from_sdk(span) for span in self.finished.get_finished_spans()])
        self.finished.clear()


def fail(span: Span, error: Exception, time: int) -> None:
    span.record_exception(error, timestamp=time)
    span.set_status(Status(StatusCode.ERROR, str(error)))


def end(span: Span, start: datetime, ms: int) -> str:
    """End a root span; the id of its run."""
    span.end(ns_from_time(start + timedelta(milliseconds=ms)))
    return run_id_from_trace(format_trace_id(span.get_span_context().trace_id))


def nested_id(span: Span) -> str:
    context = span.get_span_context()
    return row_id_from_span(f"{context.trace_id:032x}", f"{context.span_id:016x}")


def fill(database: Database, ask: Callable[[str], list[Row]]) -> History:
    """Store the history: the spans of real tracers through the one way in."""
    spans = Spans()

    day = NOON - timedelta(days=40)
    run = spans.start("nightly", day)
    spans.orders(run, day, 100, rows_affected=10)
    spans.revenue(run, day, 300, rows_affected=20)
    window = spans.start("window_0", day, parent=run, kind="run", rows_in=150)
    spans.orders(window, day, 40, rows_affected=4)
    part = spans.start("part_0", day, parent=window, kind="run")
    spans.orders(part, day, 20, rows_affected=2)
    old_window, old_part = nested_id(window), nested_id(part)
    end(part, day, 30)
    end(window, day, 50)
    old = end(run, day, 1250)

    day = NOON - timedelta(days=3)
    run = spans.start("nightly", day)
    spans.orders(run, day, 200, rows_affected=11)
    error = ValueError("no rate for 2026-01-01")
    spans.revenue(run, day + timedelta(milliseconds=200), 30, error=error)
    fail(run, error, ns_from_time(day))
    failed = end(run, day, 250)

    day = NOON - timedelta(days=2)
    prod: dict[str, Any] = {"tenant_id": "acme-corp", "input_fingerprint": "sha256:0f", "metadata.region": "north"}
    run = spans.start("nightly", day, environment="prod", **prod)
    spans.orders(run, day, 120, rows_affected=12)
    spans.revenue(run, day + timedelta(milliseconds=200), 10, error=TimeoutError("no answer"), attempt=1)
    spans.revenue(run, day + timedelta(milliseconds=220), 500, rows_affected=25, attempt=2)
    prod_run = end(run, day, 750)

    day = NOON - timedelta(days=1)
    run = spans.start("nightly", day)
    spans.orders(run, day, 0, status="skipped", stop_reason="unchanged")
    spans.revenue(run, day, 600, rows_affected=30)
    summary = spans.start(
        "summary", day + timedelta(milliseconds=100), parent=run, kind="llm", **{"model.path": "notes.summary"}
    )
    usage = {"input_tokens": 100, "output_tokens": 50}
    summary.set_attributes({f"gen_ai.usage.{key}": value for key, value in usage.items()})
    summary.set_attribute("gen_ai.request.model", "small-1")
    end(summary, day, 190)
    latest = end(run, day, 620)

    # Its root span has not ended, so nobody has heard of it: the run is known by its child alone.
    run = spans.start("nightly", A_MINUTE_AGO, environment="test")
    spans.orders(run, A_MINUTE_AGO, 90, rows_affected=9, environment="test")
    running = run_id_from_trace(format_trace_id(run.get_span_context().trace_id))

    spans.save(database)
    return History(database, old, old_window, old_part, failed, prod_run, latest, running, ask)


def shell_of(path: str) -> Callable[[str], list[Row]]:
    """Asks a file with the sqlite3 shell, as a person would."""
    shell = sqlite3_shell()

    def ask(sql: str) -> list[Row]:
        command = [shell, "-batch", "-bail", "-json", path]
        done = subprocess.run(command, input=sql, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, f"{done.stderr}\n{sql}"
        return [tuple(row.values()) for row in json.loads(done.stdout or "[]")]

    return ask


def driver_of(database: Database) -> Callable[[str], list[Row]]:
    """Asks PostgreSQL with its driver; the statement goes there as it is."""

    def ask(sql: str) -> list[Row]:
        with database.engine.connect() as connection, connection.begin():
            # The driver's own cursor: SQLAlchemy would hand over parameters, and psycopg then read % in the statement.
            cursor = connection.connection.cursor()
            cursor.execute(sql)
            return [tuple(row) for row in cursor.fetchall()] if cursor.description else []

    return ask
