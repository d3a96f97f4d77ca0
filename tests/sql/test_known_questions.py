"""Questions as the manuals of other run histories print them, asked word for word.

PostgreSQL is asked the same words, except where a question needs a date function that only SQLite has.
"""

from __future__ import annotations

import shutil
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from otel_runs.store.engine import Database
from otel_runs.units import ns_from_time
from tests.servers.missing import sqlite3_shell
from tests.sql.history import NOON, History, Row, Spans, driver_of, shell_of

LATEST_RUN = """
SELECT id, environment, status, started_at, completed_at, error
FROM runs
WHERE environment = 'dev'
ORDER BY started_at DESC
LIMIT 1;
"""

RUN_SUMMARY = """
SELECT
    id,
    environment,
    status,
    started_at,
    completed_at,
    ROUND((JULIANDAY(completed_at) - JULIANDAY(started_at)) * 86400, 2) as duration_seconds
FROM runs
ORDER BY started_at DESC
LIMIT 10;
"""

RUN_SUMMARY_ON_POSTGRESQL = """
SELECT
    id,
    environment,
    status,
    started_at,
    completed_at,
    ROUND(EXTRACT(EPOCH FROM completed_at - started_at), 2) as duration_seconds
FROM runs
ORDER BY started_at DESC
LIMIT 10;
"""

FAILED_RUNS = """
SELECT id, environment, started_at, error
FROM runs
WHERE status = 'failed'
ORDER BY started_at DESC;
"""

SLOWEST_MODELS = """
SELECT
    m.path,
    mr.execution_ms,
    mr.rows_affected,
    mr.status
FROM model_runs mr
JOIN models m ON mr.model_id = m.id
WHERE mr.run_id = 'your-run-id'
ORDER BY mr.execution_ms DESC
LIMIT 10;
"""

SUCCESS_RATE = """
SELECT
    m.path,
    COUNT(*) as total_runs,
    SUM(CASE WHEN mr.status = 'success' THEN 1 ELSE 0 END) as successful,
    ROUND(100.0 * SUM(CASE WHEN mr.status = 'success' THEN 1 ELSE 0 END) / COUNT(*), 1) as success_rate
FROM model_runs mr
JOIN models m ON mr.model_id = m.id
GROUP BY m.path
ORDER BY success_rate ASC;
"""

AVERAGE_TIME = """
SELECT
    m.path,
    AVG(mr.execution_ms) as avg_ms,
    MIN(mr.execution_ms) as min_ms,
    MAX(mr.execution_ms) as max_ms
FROM model_runs mr
JOIN models m ON mr.model_id = m.id
WHERE mr.status = 'success'
GROUP BY m.path
ORDER BY avg_ms DESC;
"""

MODELS_OF_THE_LATEST_RUN = """
SELECT m.path, mr.status, mr.execution_ms
FROM model_runs mr
JOIN models m ON mr.model_id = m.id
WHERE mr.run_id = (SELECT id FROM runs ORDER BY started_at DESC LIMIT 1);
"""

RUN_REPORT = """
WITH run_stats AS (
    SELECT
        r.id,
        r.environment,
        r.status,
        r.started_at,
        r.completed_at,
        COUNT(mr.id) as total_models,
        SUM(CASE WHEN mr.status = 'success' THEN 1 ELSE 0 END) as successful,
        SUM(CASE WHEN mr.status = 'failed' THEN 1 ELSE 0 END) as failed,
        SUM(CASE WHEN mr.status = 'skipped' THEN 1 ELSE 0 END) as skipped,
        SUM(mr.execution_ms) as total_execution_ms,
        SUM(mr.rows_affected) as total_rows
    FROM runs r
    LEFT JOIN model_runs mr ON r.id = mr.run_id
    GROUP BY r.id
)
SELECT * FROM run_stats ORDER BY started_at DESC LIMIT 10;
"""

THE_LAST_FAILURE = "SELECT id, error FROM runs WHERE status = 'failed' ORDER BY started_at DESC LIMIT 1;"

WHICH_MODELS_FAILED = """
   SELECT m.path, mr.error
   FROM model_runs mr
   JOIN models m ON mr.model_id = m.id
   WHERE mr.run_id = 'run-id' AND mr.status = 'failed';
"""

TREND = """
SELECT
    DATE(r.started_at) as run_date,
    AVG(mr.execution_ms) as avg_model_ms,
    SUM(mr.execution_ms) as total_ms
FROM runs r
JOIN model_runs mr ON r.id = mr.run_id
WHERE r.status = 'completed'
GROUP BY DATE(r.started_at)
ORDER BY run_date DESC;
"""

AUDIT_TRAIL = """
SELECT
    m.path,
    r.environment,
    mr.status,
    mr.started_at,
    mr.execution_ms
FROM models m
JOIN model_runs mr ON m.id = mr.model_id
JOIN runs r ON mr.run_id = r.id
WHERE mr.id IN (
    SELECT id FROM model_runs mr2
    WHERE mr2.model_id = m.id
    ORDER BY started_at DESC LIMIT 1
);
"""

DELETE_OLD_RUNS = {
    "sqlite": """
-- Delete runs older than 30 days
DELETE FROM runs
WHERE started_at < DATE('now', '-30 days');
""",
    "postgresql": """
-- Delete runs older than 30 days
DELETE FROM runs WHERE started_at < NOW() - INTERVAL '30 days';
""",
}

MODEL_COMPLETES = """
UPDATE model_runs
SET status = 'success',
    rows_affected = 1000,
    completed_at = CURRENT_TIMESTAMP,
    execution_ms = 150
WHERE id = 'model-run-uuid';
"""

RUN_COMPLETES = """
UPDATE runs
SET status = 'completed',
    completed_at = CURRENT_TIMESTAMP
WHERE id = 'run-uuid';
"""


def time(value: str | datetime) -> datetime:
    """A time as SQLite and as PostgreSQL return it; SQLite's text must have the promised form."""
    if isinstance(value, datetime):
        return value
    return datetime.strptime(value + "+0000", "%Y-%m-%d %H:%M:%S.%f%z")


def days_ago(days: int, ms: int = 0) -> datetime:
    return NOON - timedelta(days=days) + timedelta(milliseconds=ms)


def date(days: int) -> str:
    return str(days_ago(days).date())


def plain(rows: list[Row]) -> list[tuple[Any, ...]]:
    """Numbers and dates in a form that both databases share."""
    return [tuple(value if value is None or isinstance(value, str) else float(value) for value in row) for row in rows]


def test_latest_run_of_an_environment(history: History) -> None:
    [(run, environment, status, started, completed, error)] = history.ask(LATEST_RUN)
    assert (run, environment, status, error) == (history.latest, "dev", "completed", None)
    assert (time(started), time(completed)) == (days_ago(1), days_ago(1, ms=620))


def test_latest_run_of_an_unknown_environment_is_no_row(history: History) -> None:
    assert history.ask(LATEST_RUN.replace("'dev'", "'moon'")) == []


def test_run_summary_reckons_durations_from_the_times(history: History) -> None:
    question = RUN_SUMMARY if history.dialect == "sqlite" else RUN_SUMMARY_ON_POSTGRESQL
    durations = {row[0]: row[5] if row[5] is None else float(row[5]) for row in history.ask(question)}
    assert list(durations)[:4] == [history.running, history.latest, history.prod, history.failed]
    assert durations == {
        history.running: None,
        history.latest: 0.62,
        history.prod: 0.75,
        history.failed: 0.25,
        history.old: 1.25,
        history.old_window: 0.05,
        history.old_part: 0.03,
    }


def test_failed_runs_carry_their_error(history: History) -> None:
    [(run, environment, started, error)] = history.ask(FAILED_RUNS)
    assert (run, environment, time(started)) == (history.failed, "dev", days_ago(3))
    assert error.startswith("ValueError: no rate for 2026-01-01\n")


def test_slowest_models_of_a_run(history: History) -> None:
    assert history.ask(SLOWEST_MODELS.replace("your-run-id", history.prod)) == [
        ("marts.revenue", 500, 25, "success"),
        ("staging.orders", 120, 12, "success"),
        ("marts.revenue", 10, None, "failed"),
    ]


def test_success_rate_per_model(history: History) -> None:
    assert plain(history.ask(SUCCESS_RATE)) == [
        ("marts.revenue", 5, 3, 60.0),
        ("staging.orders", 7, 6, 85.7),
        ("notes.summary", 1, 1, 100.0),
    ]


def test_average_time_per_model(history: History) -> None:
    assert plain(history.ask(AVERAGE_TIME)) == [
        ("marts.revenue", pytest.approx(1400 / 3), 300, 600),
        ("staging.orders", 95, 20, 200),
        ("notes.summary", 90, 90, 90),
    ]


def test_models_of_the_latest_run(history: History) -> None:
    assert history.ask(MODELS_OF_THE_LATEST_RUN) == [("staging.orders", "success", 90)]


def test_run_report_counts_models_by_status(history: History) -> None:
    report = {row[0]: plain([row[5:]])[0] for row in history.ask(RUN_REPORT)}
    assert report == {
        history.running: (1, 1, 0, 0, 90, 9),
        history.latest: (3, 2, 0, 1, 690, 30),
        history.prod: (3, 2, 1, 0, 630, 37),
        history.failed: (2, 1, 1, 0, 230, 11),
        history.old: (2, 2, 0, 0, 400, 30),
        history.old_window: (1, 1, 0, 0, 40, 4),
        history.old_part: (1, 1, 0, 0, 20, 2),
    }


def test_debugging_leads_from_the_last_failure_to_the_model_and_its_stack_trace(history: History) -> None:
    [(run, _)] = history.ask(THE_LAST_FAILURE)
    [(path, error)] = history.ask(WHICH_MODELS_FAILED.replace("run-id'", f"{run}'"))
    assert path == "marts.revenue"
    assert error.startswith("ValueError: no rate for 2026-01-01\n")


def test_trend_by_date(history: History) -> None:
    trend = [(str(run_date), float(average), int(total)) for run_date, average, total in history.ask(TREND)]
    assert trend == [(date(1), 230.0, 690), (date(2), 210.0, 630), (date(40), 115.0, 460)]


def test_audit_trail_shows_the_last_time_each_model_was_built(history: History) -> None:
    trail = {row[0]: row[1:3] for row in history.ask(AUDIT_TRAIL)}
    assert trail == {
        "marts.revenue": ("dev", "success"),
        "notes.summary": ("dev", "success"),
        "staging.orders": ("test", "success"),
    }


def test_totals_and_duration_of_a_run_are_filled_in(history: History) -> None:
    totals = "SELECT llm_calls, input_tokens, output_tokens, tokens, steps, duration_seconds FROM runs WHERE id = "
    assert history.ask(f"{totals}'{history.latest}'") == [(1, 100, 50, 150, 3, 0.62)]


def test_trace_id_leads_from_a_run_to_its_trace(history: History) -> None:
    assert history.ask(f"SELECT trace_id FROM runs WHERE id = '{history.prod}'") == [(history.prod.replace("-", ""),)]


def test_window_of_a_pipeline_is_a_run_of_its_own(history: History) -> None:
    nested = "SELECT id, name, parent_run_id, rows_in, trace_id FROM runs WHERE parent_run_id IS NOT NULL ORDER BY name"
    trace = history.old.replace("-", "")
    assert history.ask(nested) == [
        (history.old_part, "part_0", history.old_window, None, trace),
        (history.old_window, "window_0", history.old, 150, trace),
    ]


def test_environments_are_those_that_runs_have_named_themselves(history: History) -> None:
    # Not "test": of that run only a child has arrived.
    assert history.ask("SELECT name FROM environments ORDER BY name") == [("dev",), ("prod",)]


def test_runs_of_a_tenant(history: History) -> None:
    rows = history.ask("SELECT * FROM runs WHERE tenant_id = 'acme-corp'")
    assert [row[0] for row in rows] == [history.prod]


def test_finished_run_is_found_by_its_input_fingerprint(history: History) -> None:
    question = "SELECT * FROM runs\n    WHERE input_fingerprint = 'sha256:0f'\n    AND status = 'completed'"
    assert [row[0] for row in history.ask(question)] == [history.prod]


def test_retention_delete_removes_model_runs_links_and_nested_runs(history: History) -> None:
    history.ask(DELETE_OLD_RUNS[history.dialect])
    kept = {history.failed, history.prod, history.latest, history.running}
    assert {row[0] for row in history.ask("SELECT id FROM runs")} == kept
    assert {row[0] for row in history.ask("SELECT DISTINCT run_id FROM model_runs")} == kept
    assert {row[0] for row in history.ask("SELECT DISTINCT run_id FROM span_links")} <= kept
    assert history.ask("SELECT COUNT(*) FROM model_runs") == [(9,)]


def test_model_completes_and_run_completes_as_plain_updates(history: History) -> None:
    [(model_run,)] = history.ask(f"SELECT id FROM model_runs WHERE run_id = '{history.running}'")
    history.ask(MODEL_COMPLETES.replace("model-run-uuid", model_run))
    history.ask(RUN_COMPLETES.replace("run-uuid", history.running))
    assert history.ask(f"SELECT status, rows_affected, execution_ms FROM model_runs WHERE id = '{model_run}'") == [
        ("success", 1000, 150)
    ]
    assert history.ask(f"SELECT status, completed_at >= started_at FROM runs WHERE id = '{history.running}'") == [
        ("completed", True)
    ]


def test_run_is_running_until_its_own_span_has_ended(database: Database) -> None:
    spans = Spans()
    run = spans.start("nightly", NOON)
    spans.orders(run, NOON, 100)
    spans.save(database)
    ask = driver_of(database)
    lifecycle = "SELECT r.name, r.status, mr.status FROM runs r JOIN model_runs mr ON mr.run_id = r.id"
    assert ask(lifecycle) == [("shop", "running", "success")]
    run.end(ns_from_time(NOON + timedelta(seconds=1)))
    spans.save(database)
    assert ask(lifecycle) == [("nightly", "completed", "success")]


def test_shell_shows_headers_and_columns(history_in_a_file: History) -> None:
    session = ".headers on\n.mode column\nSELECT * FROM runs ORDER BY started_at DESC LIMIT 5;\n"
    header, rule, first, *_ = shell(history_in_a_file, input=session)
    assert header.split()[:2] == ["id", "trace_id"]
    assert set(rule) <= {"-", " "}
    assert first.startswith(history_in_a_file.running)


def test_one_line_on_the_command_line_shows_the_last_runs(history_in_a_file: History) -> None:
    history = history_in_a_file
    lines = shell(history, "SELECT * FROM runs ORDER BY started_at DESC LIMIT 5")
    last = {history.running, history.latest, history.prod, history.failed}
    # A stack trace has lines of its own.
    assert [line[:36] for line in lines if line[:36] in last] == [
        history.running,
        history.latest,
        history.prod,
        history.failed,
    ]


def test_copy_of_the_file_is_a_backup_with_the_same_answers(history_in_a_file: History, tmp_path: Path) -> None:
    history = history_in_a_file
    history.database.close()
    shutil.copy(path_of(history), tmp_path / "runs.db.backup")
    assert shell_of(str(tmp_path / "runs.db.backup"))(SUCCESS_RATE) == history.ask(SUCCESS_RATE)
    assert history.ask(SUCCESS_RATE) != []


def path_of(history: History) -> str:
    return str(history.database.engine.url.database)


def shell(history: History, *arguments: str, input: str | None = None) -> list[str]:  # noqa: A002  as subprocess names it
    """What the sqlite3 shell prints, by line."""
    command = [sqlite3_shell(), path_of(history), *arguments]
    done = subprocess.run(command, input=input, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.splitlines()
