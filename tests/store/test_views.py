from __future__ import annotations

import hashlib
import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, RowMapping, insert, text

from otel_runs.store import migrations, tables
from otel_runs.store.engine import Database
from otel_runs.store.triggers import SQLITE_TRIGGERS
from otel_runs.store.views import VIEWS
from tests.store.samples import NOON, insert_model, insert_model_run, insert_run


def _row(connection: Connection, view: str, where: str = "1 = 1") -> RowMapping:
    return connection.execute(text(f"SELECT * FROM {view} WHERE {where}")).mappings().one()


def test_changed_view_or_trigger_comes_with_a_new_revision() -> None:
    """Databases that exist get views and triggers only with a migration.

    After a change: add a revision (its upgrade may be empty) and then write the new pair here.
    """
    texts = "".join([*VIEWS.values(), *SQLITE_TRIGGERS.values()])
    assert (migrations.HEAD, hashlib.sha256(texts.encode()).hexdigest()[:16]) == ("0001", "3202b333c4e493c8")


def test_v_runs_shows_every_public_column(database: Database) -> None:
    with database.write() as connection:
        insert_run(connection, "a")
        hidden = {"derived", "loose", "process", "lost_at", "marked", "deleted_at"}
        public = [column.name for column in tables.runs.c if column.name not in hidden]
        assert list(_row(connection, "v_runs")) == [*public, "completeness", "steps_missing"]


@pytest.mark.parametrize(
    ("values", "completeness", "missing"),
    [
        ({"status": "completed", "steps": 3, "steps_expected": 3}, "complete", 0),
        ({"status": "completed", "steps": 4, "steps_expected": 3}, "complete", 0),
        ({"status": "failed", "steps": 1, "steps_expected": 3}, "partial", 2),
        ({"status": "completed", "steps": 3}, "unknown", None),
        ({"status": "completed", "steps_expected": 3}, "unknown", None),
        ({"status": "running", "steps_expected": 3}, "unknown", None),
        ({"status": "created"}, "unknown", None),
    ],
)
def test_completeness_compares_what_is_here_with_what_the_process_saw(
    database: Database, values: dict[str, Any], completeness: str, missing: int | None
) -> None:
    with database.write() as connection:
        insert_run(connection, "a", **values)
        row = _row(connection, "v_runs")
        assert (row["completeness"], row["steps_missing"]) == (completeness, missing)


def test_running_run_shows_what_its_steps_have_reported_so_far(database: Database) -> None:
    with database.write() as connection:
        insert_run(connection, "a")
        insert_model(connection, "m")
        insert_model_run(connection, "1", "a", "m", rows_in=10, rows_out=7, kind="step")
        insert_model_run(
            connection, "2", "a", "m", rows_out=5, tokens=100, input_tokens=80, output_tokens=20, kind="llm"
        )
        insert_model_run(connection, "3", "a", "m", cost_usd=0.5, status="running")
        row = _row(connection, "v_runs")
    found = {name: row[name] for name in ("steps", "rows_in", "rows_out", "llm_calls", "tokens", "cost_usd")}
    assert found == {"steps": 3, "rows_in": 10, "rows_out": 12, "llm_calls": 1, "tokens": 100, "cost_usd": 0.5}
    assert (row["input_tokens"], row["output_tokens"]) == (80, 20)
    assert {type(value) for name, value in found.items() if name != "cost_usd"} == {int}


def test_agent_above_its_calls_does_not_count_twice_in_a_running_run(database: Database) -> None:
    with database.write() as connection:
        insert_run(connection, "a")
        insert_model(connection, "m")
        insert_model_run(connection, "agent", "a", "m", tokens=300, rows_out=9)
        insert_model_run(connection, "call-1", "a", "m", parent_id="agent", tokens=100)
        insert_model_run(connection, "call-2", "a", "m", parent_id="agent", tokens=200)
        row = _row(connection, "v_runs")
    assert (row["tokens"], row["rows_out"]) == (300, 9)


def test_agent_far_above_its_calls_does_not_count_twice_in_a_running_run(database: Database) -> None:
    with database.write() as connection:
        insert_run(connection, "a")
        insert_model(connection, "m")
        insert_model_run(connection, "agent", "a", "m", tokens=100, cost_usd=0.5)
        insert_model_run(connection, "cycle", "a", "m", parent_id="agent")
        insert_model_run(connection, "call", "a", "m", parent_id="cycle", tokens=100, cost_usd=0.5)
        row = _row(connection, "v_runs")
    assert (row["tokens"], row["cost_usd"]) == (100, 0.5)


def test_forged_circle_of_parents_ends_in_a_running_run_too(database: Database) -> None:
    with database.write() as connection:
        insert_run(connection, "a")
        insert_model(connection, "m")
        for id_, parent in (("1", "2"), ("2", "3"), ("3", "1"), ("4", "4")):
            insert_model_run(connection, id_, "a", "m", parent_id=parent, tokens=1, rows_out=1 if id_ == "1" else None)
        insert_model_run(connection, "5", "a", "m", tokens=7)
        row = _row(connection, "v_runs")
    assert (row["tokens"], row["rows_out"]) == (7, None)


def test_rows_of_another_run_cover_nothing_in_a_running_run(database: Database) -> None:
    with database.write() as connection:
        insert_run(connection, "a")
        insert_run(connection, "b")
        insert_model(connection, "m")
        insert_model_run(connection, "1", "a", "m", tokens=7)
        insert_model_run(connection, "2", "b", "m", parent_id="1", tokens=5)
        tokens = [_row(connection, "v_runs", f"id = '{id_}'")["tokens"] for id_ in "ab"]
    assert tokens == [7, 5]


@pytest.mark.parametrize(
    ("counts", "total"),
    [
        ([2**53, 1], 2**53 + 1),
        ([2**62, 2**62 - 1], 2**63 - 1),
        ([2**62, 2**62], 2**63 - 1),
        ([2**63 - 1] * 3, 2**63 - 1),
        ([2**32 - 1] * 3, 3 * (2**32 - 1)),
        ([0, 0], 0),
    ],
)
def test_sums_are_exact_and_stop_at_what_a_column_holds(database: Database, counts: list[int], total: int) -> None:
    with database.write() as connection:
        insert_run(connection, "a")
        insert_model(connection, "m")
        for number, count in enumerate(counts):
            insert_model_run(connection, str(number), "a", "m", rows_in=count, rows_affected=count)
        found = _row(connection, "v_runs")["rows_in"], _row(connection, "v_model_stats")["rows_affected"]
    assert found == (total, total)
    assert {type(value) for value in found} == {int}


def test_running_run_without_reports_shows_null_not_zero(database: Database) -> None:
    with database.write() as connection:
        insert_run(connection, "a")
        row = _row(connection, "v_runs")
    assert (row["steps"], row["rows_out"], row["tokens"], row["llm_calls"]) == (0, None, None, None)


def test_ended_run_shows_its_own_totals_and_nothing_computed(database: Database) -> None:
    with database.write() as connection:
        insert_run(connection, "a", status="completed", steps=1, rows_out=42)
        insert_model(connection, "m")
        insert_model_run(connection, "1", "a", "m", rows_out=7, tokens=5)
        row = _row(connection, "v_runs")
    assert (row["steps"], row["rows_out"], row["tokens"]) == (1, 42, None)


def test_running_run_of_ten_thousand_steps_is_summed_in_seconds(database: Database) -> None:
    """A sub-query that reads the run again for each of its rows would take minutes."""
    with database.write() as connection:
        insert_run(connection, "a")
        insert_model(connection, "m")
        rows = [
            {
                "id": str(number),
                "run_id": "a",
                "model_id": "m",
                "parent_id": str(number // 10) if number else "a",
                "trace_id": "0" * 32,
                "span_id": "0" * 16,
                "kind": "step",
                "name": "m",
                "attempt": 1,
                "status": "success",
                "started_at": NOON,
                "rows_out": 1,
            }
            for number in range(10_000)
        ]
        connection.execute(insert(tables.model_runs), rows)
        begin = time.monotonic()
        assert _row(connection, "v_runs")["rows_out"] == 9000
        assert time.monotonic() - begin < 5


def test_views_leave_out_deleted_runs(database: Database) -> None:
    with database.write() as connection:
        insert_model(connection, "m")
        insert_run(connection, "kept")
        insert_run(connection, "gone", deleted_at=NOON)
        insert_model_run(connection, "1", "kept", "m")
        insert_model_run(connection, "2", "gone", "m", status="failed", started_at=NOON + timedelta(days=1))
        assert _row(connection, "v_runs")["id"] == "kept"
        assert _row(connection, "v_model_runs")["id"] == "1"
        statistics = _row(connection, "v_model_stats")
    assert (statistics["runs"], statistics["failed"], statistics["last_status"]) == (1, 0, "success")


def test_v_model_runs_joins_the_names_of_model_and_run(database: Database) -> None:
    with database.write() as connection:
        insert_model(connection, "m", path="staging.orders", name="orders", materialized="table")
        insert_run(connection, "a", name="nightly", environment="prod", status="failed")
        insert_model_run(connection, "1", "a", "m")
        row = _row(connection, "v_model_runs")
    assert list(row)[: len(tables.model_runs.c)] == [column.name for column in tables.model_runs.c]
    joined = {name: row[name] for name in list(row)[len(tables.model_runs.c) :]}
    assert joined == {
        "model_path": "staging.orders",
        "model_name": "orders",
        "materialized": "table",
        "run_name": "nightly",
        "environment": "prod",
        "run_status": "failed",
    }


def test_v_model_stats_counts_rates_and_times_each_model(database: Database) -> None:
    with database.write() as connection:
        insert_run(connection, "a")
        insert_model(connection, "m")
        insert_model(connection, "never")
        ends = [("success", 100, 5), ("success", 200, None), ("failed", 9000, 1), ("skipped", None, None)]
        for number, (status, ms, rows) in enumerate(ends):
            values = {"status": status, "execution_ms": ms, "rows_affected": rows}
            insert_model_run(connection, str(number), "a", "m", started_at=NOON + timedelta(hours=number), **values)
        row = dict(_row(connection, "v_model_stats", "model_id = 'm'"))
        never = dict(_row(connection, "v_model_stats", "model_id = 'never'"))
    assert str(row.pop("last_started_at")).startswith(("2026-03-01 15:00:00.123456", "2026-03-01 20:45:00.123456"))
    assert row == {
        "model_id": "m",
        "path": "m",
        "name": "m",
        "kind": "model",
        "runs": 4,
        "successful": 2,
        "failed": 1,
        "skipped": 1,
        "success_rate": 66.7,
        "avg_ms": 150.0,
        "min_ms": 100,
        "max_ms": 200,
        "rows_affected": 6,
        "last_status": "skipped",
    }
    assert type(row["success_rate"]) is type(row["avg_ms"]) is float
    assert (never["runs"], never["success_rate"], never["avg_ms"], never["last_status"]) == (0, None, None, None)


def test_success_rate_counts_cancelled_runs_as_finished(database: Database) -> None:
    with database.write() as connection:
        insert_run(connection, "a")
        insert_model(connection, "m")
        for number, status in enumerate(["success", "cancelled", "running", "pending"]):
            insert_model_run(connection, str(number), "a", "m", status=status)
        assert _row(connection, "v_model_stats")["success_rate"] == 50.0
