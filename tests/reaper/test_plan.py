"""A large history is asked for the few runs that live by their index alone."""

from __future__ import annotations

import pytest

from otel_runs.store.engine import Database
from otel_runs.store.living import LIVING_RUNS, list_living_runs
from tests.ingest.stored import save
from tests.ingest.traces import START, run_id, span

RUNS = 3000


@pytest.mark.parametrize("has_statistics", [False, True])
def test_runs_that_live_are_found_without_reading_those_that_do_not(database: Database, has_statistics: bool) -> None:
    ended = [span(0, trace=trace)._replace(heartbeat_ns=START) for trace in range(RUNS)]
    never_heard_of = [span(1, 0, trace=trace) for trace in range(RUNS, 2 * RUNS)]  # their roots are exported elsewhere
    living = [span(0, trace=2 * RUNS + trace, open_=True)._replace(heartbeat_ns=START + trace) for trace in range(3)]
    save(database, ended, never_heard_of, living)
    with database.write() as connection:
        if has_statistics:
            connection.exec_driver_sql("ANALYZE")
        explain = {"sqlite": "EXPLAIN QUERY PLAN ", "postgresql": "EXPLAIN "}[connection.dialect.name]
        plan = "\n".join(str(tuple(row)) for row in connection.exec_driver_sql(explain + LIVING_RUNS))
        assert "ix_runs_status_heartbeat_at" in plan, plan
        assert [run.id for run in list_living_runs(connection)] == [run_id(2 * RUNS + trace) for trace in range(3)]
