"""A pipeline that sends to a Collector is seen while it runs; Jaeger sees its spans, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import select

from otel_runs.errors import StoreError
from otel_runs.store import tables
from otel_runs.store.engine import open_database
from tests.collector.conftest import StartCollector
from tests.programs import Programs
from tests.servers.jaeger import Jaeger
from tests.servers.serve import TOKEN, Serve
from tests.waiting import wait_until

PIPELINE = """
import sys
import otel_runs
from otel_runs import run, step
with run("nightly"), step("load"):
    sys.stdin.readline()
otel_runs.configure().flush()
print(tuple(otel_runs.stats())[:4], flush=True)
sys.stdin.readline()
"""


@contextmanager
def pipeline(programs: Programs, environ: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """A run that stays open until a line comes."""
    path = programs.write(PIPELINE)
    process = programs.start([sys.executable, str(path)], environ={"OTEL_RUNS_HEARTBEAT": "0.3", **environ})
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)


def go_on(process: subprocess.Popen[str]) -> str:
    """Let the run end, and read what its process says then."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def rows(database: str, columns: tuple[str, ...] = ("name", "status")) -> list[tuple[Any, ...]]:
    """Runs and model runs."""
    found: list[tuple[Any, ...]] = []
    try:
        with open_database(database) as opened, opened.read() as connection:
            for table in (tables.runs, tables.model_runs):
                wanted = [table.c[column] for column in columns if column in table.c]
                found += [tuple(row) for row in connection.execute(select(*wanted))] if wanted else []
    except StoreError:  # not made yet
        return []
    return found


def watch(database: str) -> None:
    """See the run and its step running, and the run's heart beat."""
    running = [("nightly", "running"), ("load", "running")]
    wait_until(lambda: rows(database) == running, what="the open run and step in the tables")
    beats: set[object] = set()

    def beat() -> bool:
        beats.update(row[0] for row in rows(database, ("heartbeat_at",))[:1])
        return len(beats - {None}) >= 3

    wait_until(beat, what="heartbeats")
    assert rows(database) == running


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_run_is_running_in_the_tables_then_completed_and_jaeger_has_two_spans(
    protocol: str, start_collector: StartCollector, serve: Serve, jaeger: Jaeger, programs: Programs
) -> None:
    ways = {"RUNS_OTLP_GRPC": serve.grpc, "JAEGER_OTLP_GRPC": jaeger.grpc}
    collector = start_collector("local.yaml", environ=ways)
    endpoint = collector.http if protocol == "http/protobuf" else f"http://{collector.grpc}"
    environ = {
        "OTEL_RUNS_DB": "none",
        "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
    }
    with pipeline(programs, environ) as process:
        watch(serve.database)
        [(trace_id,)] = rows(serve.database, ("trace_id",))[:1]
        assert jaeger.spans_of(trace_id) == []
        go_on(process)
        wait_until(
            lambda: rows(serve.database) == [("nightly", "completed"), ("load", "success")], what="the end of the run"
        )

    wait_until(lambda: len(jaeger.spans_of(trace_id)) == 2, what="the trace in Jaeger")
    assert sorted(span["operationName"] for span in jaeger.spans_of(trace_id)) == ["load", "nightly"]


def test_database_and_collector_at_once_leave_one_row(
    start_collector: StartCollector, serve: Serve, jaeger: Jaeger, programs: Programs
) -> None:
    ways = {"RUNS_OTLP_GRPC": serve.grpc, "JAEGER_OTLP_GRPC": jaeger.grpc}
    collector = start_collector("local.yaml", environ=ways)
    environ = {"OTEL_RUNS_DB": serve.database, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.http}
    with pipeline(programs, environ) as process:
        watch(serve.database)
        assert go_on(process) == "(2, 2, 0, 0)"
        sent = "otelcol_exporter_sent_spans"
        wait_until(lambda: collector.metric(sent, "otlp_grpc/runs") == 2, what="the spans at the server")

    assert rows(serve.database) == [("nightly", "completed"), ("load", "success")]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_server_behind_tls_and_a_token_hears_of_open_runs(protocol: str, guarded: Serve, programs: Programs) -> None:
    assert guarded.certificate is not None
    environ = {
        "OTEL_RUNS_DB": "none",
        "OTEL_EXPORTER_OTLP_ENDPOINT": guarded.http if protocol == "http/protobuf" else f"https://{guarded.grpc}",
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_EXPORTER_OTLP_CERTIFICATE": str(guarded.certificate.file),
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{TOKEN}",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        # These of the machine would win over it.
        "REQUESTS_CA_BUNDLE": "",
        "CURL_CA_BUNDLE": "",
    }
    with pipeline(programs, environ) as process:
        watch(guarded.database)
        go_on(process)
        wait_until(lambda: ("nightly", "completed") in rows(guarded.database), what="the end of the run")


@pytest.mark.parametrize("protocol", ["grpc"])
def test_jaeger_alone_gets_the_spans_and_is_not_asked_again_for_the_rest(
    protocol: str, jaeger: Jaeger, programs: Programs
) -> None:
    """Its OTLP receiver has no logs service; the HTTP side of that is in tests/export/test_otlp.py."""
    done = programs.python(
        """
        import logging
        logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
        import otel_runs
        from otel_runs import run
        with run("nightly") as nightly:
            for _ in range(3):
                otel_runs.configure().flush()
        print(nightly.id.replace("-", ""))
        """,
        environ={
            "OTEL_RUNS_DB": "none",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{jaeger.grpc}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        },
    )

    assert done.stderr.count("INFO The OTLP endpoint takes no logs") == 1, done.stderr
    assert "ERROR" not in done.stderr
    wait_until(lambda: len(jaeger.spans_of(done.stdout.strip())) == 1, what="the trace in Jaeger")
