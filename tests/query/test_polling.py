"""What is asked again and again while somebody watches is answered from indexes, however large the history is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from otel_runs.ids import model_id_from_path
from otel_runs.query.changes import list_runs_by_id, list_states
from otel_runs.query.filters import RunFilters
from otel_runs.query.progress import expectation, expected_step_seconds, get_progress
from otel_runs.query.runs import get_run
from otel_runs.store import tables
from otel_runs.store.engine import Database
from tests.ingest.stored import save
from tests.ingest.traces import run_id, span
from tests.query.rows import at

TRACES = 600
OLD_RUNS = 20_000
NAMES = 50
STEPS = 8
WATCHED = TRACES - 1


@pytest.fixture
def grown(database: Database) -> Database:
    """Some thousand rows of fifty pipelines, the last run of which still runs, and statistics about them."""
    spans = [
        span(
            number,
            0 if number else None,
            trace=trace,
            name=f"step {trace % NAMES} {number}" if number else f"pipeline {trace % NAMES}",
            start=trace * 200 + number,
            end=trace * 200 + 100,
            open_=trace == WATCHED and number in {0, STEPS},
        )
        for trace in range(TRACES)
        for number in range(STEPS + 1)
    ]
    save(database, spans)
    old = [
        {
            "id": f"{number:08x}-0000-4000-8000-000000000000",
            "trace_id": f"{number:032x}",
            "name": f"old pipeline {number % NAMES}",
            "environment": "default",
            "status": "completed",
            "started_at": at(-number),
        }
        for number in range(1, OLD_RUNS)
    ]
    with database.write() as connection:
        connection.execute(tables.runs.insert(), old)
        connection.exec_driver_sql("ANALYZE")
    return database


def states(database: Database) -> None:
    assert (
        len(list_states(database, also=[run_id(3)])) == 502
    )  # the newest, the one that runs, the one that was asked for


def states_of_a_name_that_nothing_has(database: Database) -> None:
    assert list_states(database, RunFilters(name="nobody*", environment="nowhere")) == []


def changed_runs(database: Database) -> None:
    assert len(list_runs_by_id(database, [run_id(3), run_id(WATCHED)])) == 2


def progress(database: Database) -> None:
    found = get_progress(database, run_id(WATCHED))
    assert found is not None
    assert (found.ended, found.seen, len(found.running)) == (STEPS - 1, STEPS, 1)


def expected_time(database: Database) -> None:
    found = expectation(database, get_run(database, run_id(WATCHED)))
    assert (found.runs, found.seconds, found.steps) == (11, 100.0, STEPS)


def expected_step_time(database: Database) -> None:
    model_id = model_id_from_path(f"step {WATCHED % NAMES} {STEPS}")
    assert expected_step_seconds(database, [model_id], "default") == {model_id: 100.0 - STEPS}


QUESTIONS = (
    states,
    states_of_a_name_that_nothing_has,
    changed_runs,
    progress,
    expected_time,
    expected_step_time,
)


@contextmanager
def recorded(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """The statements that reach the database, with their values."""
    statements: list[tuple[str, Any]] = []

    def record(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        statements.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        event.remove(database.engine, "before_cursor_execute", record)


def plan_of(database: Database, statement: str, parameters: Any) -> str:
    explain = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN "}[database.engine.dialect.name]
    with database.read() as connection:
        return "\n".join(str(row[-1]) for row in connection.exec_driver_sql(explain + statement, parameters))


def test_no_question_of_one_who_watches_reads_a_whole_table(grown: Database) -> None:
    for question in QUESTIONS:
        ask: Callable[[Database], None] = question
        with recorded(grown) as statements:
            ask(grown)
        asked = [entry for entry in statements if entry[0].lstrip().upper().startswith(("SELECT", "WITH"))]
        assert asked, question
        for statement, parameters in asked:
            plan = plan_of(grown, statement, parameters)
            for table in ("runs", "model_runs"):
                assert f"Seq Scan on {table} " not in plan, f"{statement}\n{plan}"
            # SQLite names the tables of views by their aliases; a scan that uses an index stops when it has enough.
            scans = {
                line.split()[1] for line in plan.splitlines() if line.startswith("SCAN ") and " USING " not in line
            }
            assert not scans & {"r", "runs", "model_runs"}, f"{statement}\n{plan}"
