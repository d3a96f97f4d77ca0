"""Traces whose ids begin alike are strangers all the same.

Row ids begin with the first 8 bytes of the trace id. Tools that make 64-bit ids pad them with zeros on the left, and
Datadog fills the first 8 bytes with the second in which the trace began and zeros.
"""

from __future__ import annotations

from otel_runs import attributes as key
from otel_runs.ids import row_id_from_span, run_id_from_key, run_id_from_trace
from otel_runs.spans.span import Span
from otel_runs.store.bulk import bulk_of
from otel_runs.store.engine import Database
from tests.ingest.stored import in_every_order, stored_run, stored_step
from tests.ingest.traces import row_id, run_id, span, span_id, trace_id

NEIGHBOUR = trace_id(0)[:16] + "a" * 16
PADDED = [f"{'0' * 16}{letter * 16}" for letter in "ab"]


def neighbour(number: int, parent: int | None = None, **attributes: object) -> Span:
    """A span of a trace that begins like trace 0."""
    return span(number, parent, attributes=attributes)._replace(trace_id=NEIGHBOUR)


def test_trace_beside_a_run_with_a_key_stays_a_run_of_its_own(database: Database) -> None:
    keyed = span(0, attributes={key.RUN_KEY: "nightly"}), span(1, 0)
    for _ in in_every_order(database, [*keyed], [neighbour(5), neighbour(6, 5)], [neighbour(7, 5), span(2, 0)]):
        assert stored_run(database, run_id_from_trace(NEIGHBOUR))["steps"] == 2
        assert stored_run(database, run_id_from_key("nightly"))["steps"] == 3
        for number in (6, 7):
            row = stored_step(database, row_id(number))
            assert row["run_id"] == row["parent_id"] == run_id_from_trace(NEIGHBOUR)
        assert stored_step(database, row_id(1))["parent_id"] == row_id(0)


def test_nested_runs_of_two_such_traces_are_each_in_their_own_run(database: Database) -> None:
    mine = [span(0), span(1, 0, attributes={key.KIND: "run"}), span(2, 1, attributes={key.ROWS_OUT: 7})]
    theirs = [neighbour(5), neighbour(6, 5, **{key.KIND: "run"}), neighbour(7, 6, **{key.ROWS_OUT: 5})]
    for _ in in_every_order(database, [mine[0], theirs[2]], [mine[1], theirs[1]], [mine[2], theirs[0]]):
        assert stored_run(database, row_id(1))["parent_run_id"] == run_id()
        assert stored_run(database, row_id(6))["parent_run_id"] == run_id_from_trace(NEIGHBOUR)
        assert stored_run(database, run_id())["rows_out"] == 7
        assert stored_run(database, run_id_from_trace(NEIGHBOUR))["rows_out"] == 5


def test_traces_with_padded_ids_are_each_a_run_whatever_comes_first(database: Database) -> None:
    mine = [each._replace(trace_id=PADDED[0]) for each in (span(0), span(1, 0, kind="CLIENT"), span(2, 1))]
    theirs = [each._replace(trace_id=PADDED[1]) for each in (span(5), span(6, 5), span(7, 6))]
    for _ in in_every_order(database, [mine[2], theirs[2]], [mine[1], theirs[1]], [mine[0], theirs[0]]):
        for trace, number, parent in ((PADDED[0], 2, None), (PADDED[1], 6, None), (PADDED[1], 7, 6)):
            row = stored_step(database, row_id_from_span(trace, span_id(number)))
            own_run = run_id_from_trace(trace)
            assert row["run_id"] == own_run
            assert row["parent_id"] == (own_run if parent is None else row_id_from_span(trace, span_id(parent)))


def test_rows_of_a_trace_with_a_padded_id_are_found_by_their_index(database: Database) -> None:
    explain = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN "}[database.engine.dialect.name]
    bulk = bulk_of(database.engine.dialect.name)
    with database.read() as connection:
        if explain == "EXPLAIN ":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")  # the table is empty: scanning it is best
        for table in ("model_runs", "span_links"):
            sql = explain + bulk.by_trace("id", table, padded=True)
            plan = "\n".join(str(row) for row in connection.exec_driver_sql(sql, bulk.ids(PADDED)))
            assert f"ix_{table}_padded_trace_id" in plan
