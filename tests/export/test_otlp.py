"""What is open goes to an OTLP endpoint as log records, if it takes them, and never holds up its spans."""

from __future__ import annotations

import gzip
import logging
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_runs.export.live import LiveExporter
from otel_runs.export.logs_service import Answer, LogsOverGrpc, LogsOverHttp, Options
from otel_runs.export.otlp import OtlpExporter, otlp_exporter
from otel_runs.spans.from_otlp_protobuf import started_spans_from_protobuf_logs
from otel_runs.spans.span import Resource, Span
from tests.programs import Programs, otel_runs_command
from tests.servers.ports import free_port
from tests.spans.otlp import LIMITS

A, B = "http://a:4318", "http://b:4318"


@pytest.mark.parametrize(
    ("given", "environ", "url"),
    [
        (A, {}, f"{A}/v1/logs"),
        (f"{A}/", {}, f"{A}/v1/logs"),
        (f"{A}/v1/traces", {"OTEL_EXPORTER_OTLP_ENDPOINT": B}, f"{A}/v1/logs"),
        (None, {"OTEL_EXPORTER_OTLP_ENDPOINT": f"{A}/"}, f"{A}/v1/logs"),
        (None, {"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{A}/mine", "OTEL_EXPORTER_OTLP_ENDPOINT": B}, f"{A}/mine"),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{A}/v1/traces"}, f"{A}/v1/logs"),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{A}/elsewhere"}, None),
        (None, {}, "http://localhost:4318/v1/logs"),
    ],
)
def test_logs_go_beside_the_spans(given: str | None, environ: Mapping[str, str], url: str | None) -> None:
    assert Options(given, environ).url == url


@pytest.mark.parametrize(
    ("given", "environ", "target"),
    [
        ("http://a:4317", {}, ("a:4317", True)),
        ("https://a:4317", {}, ("a:4317", False)),
        ("a:4317", {"OTEL_EXPORTER_OTLP_INSECURE": "true"}, ("a:4317", True)),
        ("a:4317", {}, ("a:4317", False)),
        (None, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a:4317"}, ("a:4317", True)),
        (None, {}, ("localhost:4317", True)),
    ],
)
def test_target_of_grpc_is_that_of_the_spans(
    given: str | None, environ: Mapping[str, str], target: tuple[str, bool]
) -> None:
    assert Options(given, environ).target == target


def test_options_of_spans_hold_only_where_logs_go_where_spans_go() -> None:
    """A token for one address is not shown to another."""
    secret = {"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "authorization=secret"}

    assert Options(A, secret).headers == {"authorization": "secret"}
    assert Options(None, secret | {"OTEL_EXPORTER_OTLP_ENDPOINT": B}).headers == {}
    common = {"OTEL_EXPORTER_OTLP_ENDPOINT": B, "OTEL_EXPORTER_OTLP_HEADERS": "a=1,b=x%20y"}
    assert Options(None, common).headers == {"a": "1", "b": "x y"}


def test_one_call_takes_two_seconds_at_most_whatever_the_exporter_may() -> None:
    assert Options(A, {"OTEL_EXPORTER_OTLP_TIMEOUT": "60"}).seconds == 2
    assert Options(A, {"OTEL_EXPORTER_OTLP_TIMEOUT": "0.5"}).seconds == 0.5
    assert Options(A, {"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}).seconds == 2


class Endpoint(ThreadingHTTPServer):
    """An endpoint that says the same to each request, and keeps them."""

    def __init__(self) -> None:
        self.code = 200
        self.requests: list[tuple[str, Mapping[str, str], bytes]] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        endpoint = self.server
        assert isinstance(endpoint, Endpoint)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        endpoint.requests.append((self.path, dict(self.headers), body))
        self.send_response(endpoint.code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        pass


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    server = Endpoint()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def started() -> Span:
    resource = Resource({"service.name": "shop"})
    start = time.time_ns()
    attributes = {"otel_runs.run.id": "mine", "gen_ai.input.messages": "what a customer wrote"}
    ids = "0af7651916cd43dd8448eb211c80319c", "00f067aa0ba902b7", None
    return Span(
        *ids, "nightly", "INTERNAL", start, None, "UNSET", None, attributes, (), (), resource, "t", None, start + 1
    )


def exporter_to(endpoint: Endpoint) -> OtlpExporter:
    return OtlpExporter(InMemorySpanExporter, LogsOverHttp(Options(endpoint.url), f"{endpoint.url}/v1/logs"))


def test_start_and_heartbeat_arrive_without_what_no_row_shows(endpoint: Endpoint) -> None:
    exporter = exporter_to(endpoint)
    assert isinstance(exporter, LiveExporter)
    span = started()

    assert exporter.export_started([span])
    assert exporter.export_heartbeats([span])

    told = [started_spans_from_protobuf_logs(body, LIMITS).spans[0] for _, _, body in endpoint.requests]
    assert [each.heartbeat_ns for each in told] == [span.start_ns, span.heartbeat_ns]
    assert {each.start_ns for each in told} == {span.start_ns}
    assert told[0].attributes == told[1].attributes == {"otel_runs.run.id": "mine"}
    assert all(path == "/v1/logs" for path, _, _ in endpoint.requests)


@pytest.mark.parametrize("code", [404, 405, 501])
def test_endpoint_that_takes_no_logs_is_asked_once_and_that_is_said_once(
    code: int, endpoint: Endpoint, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "otel_runs")
    endpoint.code = code
    exporter = exporter_to(endpoint)

    assert [exporter.export_started([started()]) for _ in range(3)] == [True] * 3
    assert len(endpoint.requests) == 1
    assert [record.levelname for record in caplog.records if record.name.startswith("otel_runs")] == ["INFO"]


def test_endpoint_that_is_busy_is_left_alone_for_a_while(endpoint: Endpoint) -> None:
    endpoint.code = 503
    exporter = exporter_to(endpoint)

    assert [exporter.export_started([started()]) for _ in range(5)] == [False] * 5
    assert len(endpoint.requests) == 1
    exporter._not_before = time.monotonic()  # the pause is over
    endpoint.code = 200
    assert exporter.export_started([started()])
    assert len(endpoint.requests) == 2


def test_what_is_refused_for_good_is_not_told_again(endpoint: Endpoint) -> None:
    endpoint.code = 400

    assert exporter_to(endpoint).export_started([started()])


def test_without_heartbeats_nothing_is_told(endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits for heartbeats would take the run for dead."""
    monkeypatch.setenv("OTEL_RUNS_HEARTBEAT", "0")

    assert exporter_to(endpoint).export_started([started()])
    assert endpoint.requests == []


@pytest.mark.parametrize("compression", ["gzip", "deflate", "none", "snappy"])
def test_body_is_compressed_as_the_header_says(compression: str, endpoint: Endpoint) -> None:
    service = LogsOverHttp(
        Options(endpoint.url, {"OTEL_EXPORTER_OTLP_COMPRESSION": compression}), f"{endpoint.url}/v1/logs"
    )

    assert service.send(b"body") is Answer.TAKEN
    [(_, headers, body)] = endpoint.requests
    read: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress}
    assert read.get(headers.get("Content-Encoding", ""), bytes)(body) == b"body"
    assert ("Content-Encoding" in headers) == (compression in {"gzip", "deflate"})


def test_nobody_there_is_no_answer() -> None:
    nobody = f"http://127.0.0.1:{free_port()}"

    assert LogsOverHttp(Options(nobody), f"{nobody}/v1/logs").send(b"") is Answer.LATER
    assert LogsOverGrpc(Options(nobody, {"OTEL_EXPORTER_OTLP_TIMEOUT": "0.2"})).send(b"") is Answer.LATER


def test_exporter_of_an_endpoint_is_opentelemetrys_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(otlp_exporter(A)._exporter).__module__.startswith("opentelemetry.exporter.otlp.proto.http")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    exporter = otlp_exporter("http://127.0.0.1:4317")
    assert type(exporter._exporter).__module__.startswith("opentelemetry.exporter.otlp.proto.grpc")
    exporter.shutdown()


class Raising(InMemorySpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        raise ConnectionRefusedError


def test_exporter_that_raises_where_nobody_listens_has_failed_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    """So do older ones of OpenTelemetry."""
    assert OtlpExporter(Raising, None).export([]) is SpanExportResult.FAILURE
    assert "ConnectionRefusedError" in caplog.text


TWO_SPANS = """
    import otel_runs
    from opentelemetry import trace
    otel_runs.configure({arguments})
    with trace.get_tracer("t").start_as_current_span("nightly"):
        print(otel_runs.configure().flush())
"""


def test_database_none_sends_and_stores_nothing_here(programs: Programs, endpoint: Endpoint) -> None:
    done = programs.python(TWO_SPANS.format(arguments=f"'none', otlp_endpoint={endpoint.url!r}"))

    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    assert [path for path, _, _ in endpoint.requests] == ["/v1/logs", "/v1/traces"]
    assert [path.name for path in programs.folder.iterdir()] == ["pipeline.py"]


def test_database_none_by_variables_alone(programs: Programs, endpoint: Endpoint) -> None:
    done = programs.python(
        "from otel_runs import run\n@run\ndef nightly(): pass\nnightly()",
        environ={"OTEL_RUNS_DB": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint.url},
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert [path for path, _, _ in endpoint.requests] == ["/v1/traces"]


def test_database_none_without_an_endpoint_is_told(programs: Programs) -> None:
    done = programs.python(TWO_SPANS.format(arguments="'none'"))
    strict = programs.python(TWO_SPANS.format(arguments="'none'"), environ={"OTEL_RUNS_STRICT": "true"})

    assert done.returncode == 0
    assert "there is no OTLP endpoint, so no run will be stored anywhere" in done.stderr
    assert strict.returncode == 1
    assert "SettingsError" in strict.stderr


def test_command_line_without_a_database_says_so(programs: Programs) -> None:
    done = programs.run(otel_runs_command("tail"), environ={"OTEL_RUNS_DB": "none"})

    assert done.returncode != 0
    assert "the run database is 'none'" in " ".join(done.stderr.split())
