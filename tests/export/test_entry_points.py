"""Pipelines that use nothing but opentelemetry-api, set up from outside by OpenTelemetry's own ways."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from otel_runs.export.exporter import RunsSpanExporter
from otel_runs.export.id_generator import TimeOrderedIdGenerator
from tests.newest import only_newest
from tests.programs import Programs

PIPELINE = """
from opentelemetry import trace
tracer = trace.get_tracer("plain")
with tracer.start_as_current_span("nightly"):
    with tracer.start_as_current_span("load"):
        pass
"""


class Collector:
    """A small OTLP/HTTP receiver that keeps the names of spans."""

    def __init__(self) -> None:
        self.names: list[str] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/traces":
                    request = ExportTraceServiceRequest.FromString(body)
                    for resource in request.resource_spans:
                        for scope in resource.scope_spans:
                            collector.names += [span.name for span in scope.spans]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *_arguments: object) -> None:  # noqa: A002  the base class's name
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = threading.Thread(target=self.server.serve_forever)
        self._thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()


@pytest.fixture
def collector() -> Iterator[Collector]:
    started = Collector()
    yield started
    started.close()


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("opentelemetry_traces_exporter", RunsSpanExporter),
        ("opentelemetry_id_generator", TimeOrderedIdGenerator),
    ],
)
def test_entry_points_are_found_by_our_name(group: str, expected: type) -> None:
    (found,) = entry_points(group=group, name="otel_runs")

    assert found.load() is expected


def instrumented(programs: Programs, program: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a program below ``opentelemetry-instrument``, which has metrics and logs of its own by default."""
    return programs.run(
        [str(Path(sys.executable).with_name("opentelemetry-instrument")), sys.executable, str(programs.write(program))],
        environ={"OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none", "OTEL_RUNS_DB": "runs.db", **environ},
    )


def test_opentelemetry_instrument_stores_a_plain_pipeline_and_sends_it_to_a_collector(
    programs: Programs, collector: Collector
) -> None:
    done = instrumented(
        programs,
        PIPELINE,
        OTEL_TRACES_EXPORTER="otel_runs,otlp",
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
        OTEL_PYTHON_ID_GENERATOR="otel_runs",
    )

    assert done.returncode == 0
    assert programs.rows("SELECT name, status, steps FROM runs") == [("nightly", "completed", 1)]
    assert sorted(collector.names) == ["load", "nightly"]


def test_configure_below_opentelemetry_instrument_has_live_rows_and_loses_no_burst(programs: Programs) -> None:
    program = """
        import sqlite3
        import otel_runs
        setup = otel_runs.configure()
        with otel_runs.run("nightly"):
            assert setup.flush()
            print(sqlite3.connect("runs.db").execute("SELECT name, status FROM runs").fetchall())
            for _ in range(5_100):
                with otel_runs.step("load"): pass
        """

    done = instrumented(programs, program, OTEL_TRACES_EXPORTER="otel_runs", OTEL_TRACES_SAMPLER="always_off")

    assert (done.returncode, done.stdout) == (0, "[('nightly', 'running')]\n")
    assert programs.rows("SELECT name, status, steps FROM runs") == [("nightly", "completed", 5_100)]


@only_newest
def test_declarative_configuration_finds_exporter_and_id_generator(programs: Programs) -> None:
    programs.write(
        """
        file_format: "1.1"
        tracer_provider:
          id_generator:
            otel_runs:
          processors:
            - batch:
                exporter:
                  otel_runs:
                    url: runs.db
        """,
        "otel.yaml",
    )

    done = instrumented(programs, PIPELINE, OTEL_CONFIG_FILE="otel.yaml", OTEL_RUNS_DB="elsewhere.db")

    assert done.returncode == 0, done.stderr
    assert programs.rows("SELECT name, status, steps FROM runs") == [("nightly", "completed", 1)]


@pytest.mark.parametrize(
    ("call", "environ"),
    [
        ("configure('runs.db', otlp_endpoint='ENDPOINT')", {}),
        ("configure('runs.db', otlp_endpoint='ENDPOINT/v1/traces')", {}),
        ("configure('runs.db', otlp_endpoint='ENDPOINT/v1/traces/')", {}),
        ("configure('runs.db')", {"OTEL_EXPORTER_OTLP_ENDPOINT": "ENDPOINT"}),
        ("configure('runs.db')", {"OTEL_EXPORTER_OTLP_ENDPOINT": "ENDPOINT", "OTEL_TRACES_EXPORTER": "otel_runs,otlp"}),
    ],
    ids=["argument", "argument with path", "argument with path and slash", "variable", "two variables"],
)
def test_configure_sends_the_same_spans_to_a_collector(
    programs: Programs, collector: Collector, call: str, environ: dict[str, str]
) -> None:
    call = call.replace("ENDPOINT", collector.endpoint)
    environ = {name: value.replace("ENDPOINT", collector.endpoint) for name, value in environ.items()}

    done = programs.python(f"import otel_runs\notel_runs.{call}\n{PIPELINE}", environ=environ)

    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(collector.names) == ["load", "nightly"]
    assert programs.rows("SELECT name FROM runs") == [("nightly",)]


def test_a_collector_that_is_named_for_others_is_left_alone(programs: Programs, collector: Collector) -> None:
    programs.python(
        f"import otel_runs\notel_runs.configure('runs.db')\n{PIPELINE}",
        environ={"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_TRACES_EXPORTER": "otel_runs"},
    )

    assert collector.names == []


def test_other_exporters_named_beside_ours_are_used_too(programs: Programs) -> None:
    done = programs.python(
        "import otel_runs\notel_runs.configure('runs.db')\n" + PIPELINE,
        environ={"OTEL_TRACES_EXPORTER": "otel_runs,console,nonesuch"},
    )

    assert '"name": "load"' in done.stdout
    assert "'nonesuch', which no installed package provides" in done.stderr
    assert programs.rows("SELECT name FROM runs") == [("nightly",)]
