"""Behind a Collector, too, the run tables have all runs, and Jaeger what a sampler in the pipeline lets through."""

from __future__ import annotations

from typing import Any

import pytest

from otel_runs.store.engine import open_database
from tests.collector.conftest import StartCollector
from tests.programs import Programs
from tests.servers.jaeger import Jaeger
from tests.servers.serve import Serve
from tests.waiting import wait_until

RUNS = 20

PIPELINE = f"""
import otel_runs, random
from otel_runs import run, step
from otel_runs.export.id_generator import TimeOrderedIdGenerator
ids = [random.getrandbits(63) << 64 | (2 * number + 1 << 63) // {RUNS} for number in range({RUNS})]
rest = iter(ids)
TimeOrderedIdGenerator.generate_trace_id = lambda self: next(rest)
for number in ids:
    try:
        with run("nightly"):
            with step("load"): pass
            with step("check"): raise ValueError("no rows")
    except ValueError:
        pass
    print(format(number, "032x"))
assert otel_runs.configure().flush()
print(tuple(otel_runs.stats())[:4])
"""

ROWS = """
SELECT r.trace_id, r.status, r.error_type, r.completeness, m.name, m.status, m.error, m.duration_ns > 0
FROM v_runs r JOIN model_runs m ON m.run_id = r.id ORDER BY r.trace_id, m.started_at
"""


def rows(database: str) -> list[tuple[Any, ...]]:
    with open_database(database) as opened, opened.engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(ROWS)]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("sampled", [0, 5, RUNS], ids=["none", "some", "all"])
def test_all_runs_are_in_the_tables_and_those_sampled_in_jaeger(
    protocol: str,
    sampled: int,
    start_collector: StartCollector,
    serve: Serve,
    jaeger: Jaeger,
    programs: Programs,
) -> None:
    ways = {"RUNS_OTLP_GRPC": serve.grpc, "JAEGER_OTLP_GRPC": jaeger.grpc}
    collector = start_collector("local.yaml", environ=ways)
    done = programs.python(
        PIPELINE,
        environ={
            "OTEL_RUNS_DB": "none",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.http
            if protocol == "http/protobuf"
            else f"http://{collector.grpc}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": str(sampled / RUNS),
        },
    )

    assert (done.returncode, done.stderr) == (0, "")
    *traces, stats = done.stdout.splitlines()
    assert stats == f"({3 * RUNS}, {3 * RUNS}, 0, 0)"  # received, stored, failed, dropped
    wait_until(lambda: len(rows(serve.database)) == 2 * RUNS, what="all steps in the tables")
    ended = "SELECT count(*) FROM v_runs WHERE status = 'failed' AND completeness = 'complete'"
    wait_until(lambda: _number(serve.database, ended) == RUNS, what="the ends of all runs")
    found = rows(serve.database)
    assert sorted({row[0] for row in found}) == sorted(traces)
    for load, check in zip(found[::2], found[1::2], strict=True):
        assert load[1:] == ("failed", "ValueError", "complete", "load", "success", None, True)
        assert check[4:6] == ("check", "failed")
        assert str(check[6]).startswith("ValueError: no rows\nTraceback")
    expected = traces[:sampled]
    wait_until(lambda: all(len(jaeger.spans_of(trace_id)) == 3 for trace_id in expected), what="Jaeger has the sampled")
    assert [trace_id for trace_id in traces if trace_id not in expected and jaeger.spans_of(trace_id)] == []


def _number(database: str, sql: str) -> int:
    with open_database(database) as opened, opened.engine.connect() as connection:
        return int(connection.exec_driver_sql(sql).scalar_one())
