"""A large database is asked for a few traces by its keys, whatever the database knows of its tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection

from otel_runs.store.bulk import Bulk, bulk_of
from otel_runs.store.engine import Database
from tests.ingest.stored import save
from tests.ingest.traces import span

TRACES = 800
STEPS = 10


@pytest.fixture
def grown(database: Database) -> Database:
    """Some thousand rows, and statistics about them."""
    spans = [
        span(number, 0 if number else None, trace=trace)._replace(kind="CLIENT" if number == STEPS else "INTERNAL")
        for trace in range(TRACES)
        for number in range(STEPS + 1)
    ]
    save(database, spans)
    with database.write() as connection:
        connection.exec_driver_sql("ANALYZE")
    return database


def questions(bulk: Bulk) -> Iterator[tuple[str, str]]:
    """What is asked of each table, for the traces of a batch."""
    for padded in (False, True):
        yield "model_runs", bulk.traces_with_rows(padded=padded)
        for table in ("runs", "model_runs", "span_links"):
            yield table, bulk.by_trace("id, trace_id", table, padded=padded)


def plan_of(connection: Connection, question: str, parameters: tuple[object, ...]) -> str:
    explain = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN "}[connection.dialect.name]
    return "\n".join(str(tuple(row)) for row in connection.exec_driver_sql(explain + question, parameters))


@pytest.mark.parametrize("traces", [1, 400])
def test_no_question_about_the_traces_of_a_batch_reads_a_whole_table(grown: Database, traces: int) -> None:
    bulk = bulk_of(grown.engine.dialect.name)
    with grown.read() as connection:
        ids = [row[0] for row in connection.exec_driver_sql("SELECT trace_id FROM runs ORDER BY id")][:traces]
        for table, question in questions(bulk):
            plan = plan_of(connection, question, bulk.ids(ids))
            assert f"Seq Scan on {table}" not in plan, plan
            assert "SCAN m" not in plan, plan
