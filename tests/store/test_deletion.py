"""Deleting a run deletes what hangs on it, whoever deletes."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, delete, insert, select, text

from otel_runs.store import tables
from otel_runs.store.engine import Database, open_database
from tests.servers.missing import sqlite3_shell
from tests.store.samples import NOON, insert_model, insert_model_run, insert_run


def _insert_tree(connection: Connection, root: str, **values: object) -> None:
    """A run with three more nested in each other, each with a model run and a span link."""
    above = None
    for depth in range(4):
        run = f"{root}-{depth}"
        insert_run(connection, run, parent_run_id=above, **(values if depth == 0 else {}))
        insert_model_run(connection, f"{run}-m", run, "model")
        connection.execute(insert(tables.span_links).values(id=f"{run}-l", run_id=run, trace_id="t"))
        above = run


def _left(connection: Connection) -> dict[str, list[str]]:
    names = ("runs", "model_runs", "span_links")
    return {name: sorted(connection.scalars(select(tables.metadata.tables[name].c.id))) for name in names}


def _tree_of(*roots: str) -> dict[str, list[str]]:
    runs = [f"{root}-{depth}" for root in roots for depth in range(4)]
    return {"runs": runs, "model_runs": [f"{run}-m" for run in runs], "span_links": [f"{run}-l" for run in runs]}


def test_deleted_run_takes_nested_runs_of_any_depth_with_all_their_rows(database: Database) -> None:
    with database.write() as connection:
        insert_model(connection, "model")
        _insert_tree(connection, "gone")
        _insert_tree(connection, "kept")
        connection.execute(delete(tables.runs).where(tables.runs.c.id == "gone-0"))
        assert _left(connection) == _tree_of("kept")


def test_deleted_nested_run_leaves_the_run_above(database: Database) -> None:
    with database.write() as connection:
        insert_model(connection, "model")
        _insert_tree(connection, "a")
        connection.execute(delete(tables.runs).where(tables.runs.c.id == "a-2"))
        assert _left(connection)["runs"] == ["a-0", "a-1"]


def _shell(path: Path, *lines: str) -> str:
    done = subprocess.run(
        [sqlite3_shell(), path], input="\n".join(lines), capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stderr == ""
    return done.stdout.strip()


def test_sqlite3_shell_with_foreign_keys_off_deletes_old_runs_with_all_their_rows(tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    with open_database(path) as database:
        with database.write() as connection:
            insert_model(connection, "model")
            _insert_tree(connection, "old", started_at=NOON - timedelta(days=400))
            _insert_tree(connection, "new")
        off = _shell(
            path, "PRAGMA foreign_keys;", "DELETE FROM runs WHERE started_at < DATE('2026-01-01', '-30 days');"
        )
        assert off == "0"
        with database.read() as connection:
            assert _left(connection) == _tree_of("new")


@pytest.mark.parametrize("foreign_keys", ["ON", "OFF"])
def test_sqlite3_shell_that_deletes_a_model_leaves_no_dependency_on_it(tmp_path: Path, foreign_keys: str) -> None:
    path = tmp_path / "runs.db"
    with open_database(path) as database:
        with database.write() as connection:
            for model in ("a", "b", "c"):
                insert_model(connection, model)
            for pair in (("a", "b"), ("b", "c"), ("a", "c")):
                connection.execute(insert(tables.dependencies).values(model_id=pair[0], parent_id=pair[1]))
            lineage = {"model_id": "c", "column_name": "x", "source_model_id": "b"}
            connection.execute(insert(tables.column_lineage).values(**lineage))
        _shell(path, f"PRAGMA foreign_keys = {foreign_keys};", "DELETE FROM models WHERE id = 'b';")
        with database.read() as connection:
            assert connection.execute(select(tables.dependencies)).all() == [("a", "c")]
            assert connection.execute(select(tables.column_lineage)).all() == []


def _many(connection: Connection, runs: int, steps: int) -> None:
    rows: Iterable[dict[str, object]] = (
        {
            "id": f"{run:08d}-{step:04d}",
            "run_id": f"{run:08d}",
            "model_id": "model",
            "parent_id": f"{run:08d}",
            "trace_id": "0" * 32,
            "span_id": "0" * 16,
            "kind": "step",
            "name": "load",
            "attempt": 1,
            "status": "success",
            "started_at": NOON,
        }
        for run in range(runs)
        for step in range(steps)
    )
    run_rows = [
        {
            "id": f"{run:08d}",
            "trace_id": "0" * 32,
            "name": "daily",
            "environment": "default",
            "status": "completed",
            "started_at": NOON - timedelta(days=60 if run % 2 else 0),
        }
        for run in range(runs)
    ]
    connection.execute(insert(tables.runs), run_rows)
    connection.execute(insert(tables.model_runs), list(rows))


def test_retention_of_a_thousand_runs_uses_the_indexes(database: Database) -> None:
    """Without an index behind each cascade this reads 20,000 rows 1,000 times: a minute, not a second."""
    with database.write() as connection:
        insert_model(connection, "model")
        _many(connection, runs=2000, steps=10)
    with database.write() as connection:
        begin = time.monotonic()
        connection.execute(delete(tables.runs).where(tables.runs.c.started_at < NOON - timedelta(days=30)))
        took = time.monotonic() - begin
        assert connection.execute(text("SELECT COUNT(*) FROM runs")).scalar() == 1000
        assert connection.execute(text("SELECT COUNT(*) FROM model_runs")).scalar() == 10_000
    assert took < 10
