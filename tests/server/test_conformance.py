"""What the OTLP specification asks of a server and no other test shows, and docs/otlp-conformance.md itself."""

from __future__ import annotations

import http.client
import inspect
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import grpc
import pytest
from google.protobuf.json_format import ParseDict
from google.rpc import code_pb2 as grpc_code
from google.rpc.status_pb2 import Status
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetricExporter
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetricExporter
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, TracesData
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, MetricsData

from otel_runs import settings
from otel_runs.cli.serve import serve_command
from otel_runs.receiver.answers import _ANSWERS, _DEFECT, Answer
from tests.named_tests import ROOT, NamedTest, named_tests
from tests.server.requests import new_request
from tests.server.running import JSON, PROTOBUF, SECONDS, TRACES, ThreadedServer, failure_of, serving
from tests.stored_names import names_in

PAGE = (ROOT / "docs/otlp-conformance.md").read_text(encoding="utf-8")

SECTIONS = (
    "Protocol Details",
    "OTLP/gRPC",
    "OTLP/gRPC Request",
    "OTLP/gRPC Concurrent Requests",
    "OTLP/gRPC Response, Full Success",
    "OTLP/gRPC Response, Partial Success",
    "OTLP/gRPC Response, Failures",
    "OTLP/gRPC Throttling",
    "OTLP/gRPC Default Port",
    "OTLP/HTTP",
    "Binary Protobuf Encoding",
    "JSON Protobuf Encoding",
    "OTLP/HTTP Request",
    "OTLP/HTTP Response",
    "OTLP/HTTP Response, Full Success",
    "OTLP/HTTP Response, Partial Success",
    "OTLP/HTTP Response, Failures",
    "Retryable Response Codes",
    "Bad Data",
    "OTLP/HTTP Throttling",
    "All Other Responses",
    "OTLP/HTTP Connection",
    "OTLP/HTTP Concurrent Requests",
    "OTLP/HTTP Default Port",
    "Empty Telemetry Envelopes",
    "Duplicate Data",
    "Future Versions and Interoperability",
)
"""Of the specification, version 1.10.0: those that ask something of a server, in its order."""


class Point(NamedTuple):
    """One row of the table."""

    what: str
    section: str
    tests: tuple[NamedTest, ...]


def points() -> list[Point]:
    cells = [[cell.strip() for cell in line.split(" | ")] for line in PAGE.splitlines() if line.startswith("| ")]
    return [Point(row[0].removeprefix("| "), row[1], named_tests(row[3])) for row in cells if row[0] != "| Point"]


def test_page_has_points_of_every_section_that_asks_something_of_a_server_in_order() -> None:
    found = [point.section for point in points()]
    assert list(dict.fromkeys(found)) == list(SECTIONS)


@pytest.mark.parametrize("point", points(), ids=lambda point: re.sub(r"\W+", "-", point.what)[:50])
def test_point_names_tests_that_exist(point: Point) -> None:
    assert point.tests, "every point is shown by a test"
    assert [test.problem for test in point.tests if test.problem] == []


RETRYABLE = {
    grpc_code.CANCELLED,
    grpc_code.DEADLINE_EXCEEDED,
    grpc_code.ABORTED,
    grpc_code.OUT_OF_RANGE,
    grpc_code.UNAVAILABLE,
    grpc_code.DATA_LOSS,
    grpc_code.RESOURCE_EXHAUSTED,  # with RetryInfo
}


@pytest.mark.parametrize("answer", [*(answer for _, answer in _ANSWERS), _DEFECT], ids=str)
def test_every_failure_is_retryable_over_both_protocols_or_over_none(answer: Answer) -> None:
    retried = answer.retry_seconds is not None
    assert (answer.http in {429, 502, 503, 504}) == retried
    if answer.grpc != grpc_code.RESOURCE_EXHAUSTED:  # where RetryInfo decides
        assert (answer.grpc in RETRYABLE) == retried
    assert not retried or answer.grpc in RETRYABLE


def test_default_addresses_are_the_ports_of_the_specification_on_this_machine_alone() -> None:
    parameters = inspect.signature(serve_command).parameters
    assert parameters["otlp_grpc"].default == "127.0.0.1:4317"
    assert parameters["otlp_http"].default == "127.0.0.1:4318"


def test_default_limit_is_the_recommended_one() -> None:
    assert settings.SERVER_REQUEST_BYTES.default == str(20 * 1024 * 1024)


def status_of(body: bytes, content_type: str) -> Status:
    return Status.FromString(body) if content_type == PROTOBUF else ParseDict(json.loads(body), Status())


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_failure_of_any_kind_has_a_status_in_the_encoding_of_its_request(sqlite_url: str, content_type: str) -> None:
    asked: list[tuple[str, str, bytes, int]] = [
        ("POST", "/v1/traces", b"\xff{", 400),
        ("POST", "/v1/metrics", b"", 404),
        ("POST", "/v1development/profiles", b"", 404),
        ("PUT", "/v1/traces", b"", 405),
        ("POST", "/v1/traces", bytes(60_000), 413),
    ]
    with serving(sqlite_url, most_bytes=50_000) as server:
        for method, path, body, code in asked:
            answer = server.request(method, path, body, content_type=content_type)
            assert (answer.code, answer.headers["content-type"]) == (code, content_type)
            assert status_of(answer.body, content_type).message
    with serving(sqlite_url, token="s3cret") as server:
        answer = server.post(b"", content_type)
        assert (answer.code, answer.headers["content-type"]) == (401, content_type)
        assert "Bearer" in status_of(answer.body, content_type).message
        assert answer.headers["www-authenticate"] == "Bearer"


def test_connection_is_kept_between_requests_also_after_failures(sqlite_url: str) -> None:
    with serving(sqlite_url, most_bytes=50_000) as server:
        connection = http.client.HTTPConnection(*server.ports.otlp_http, timeout=SECONDS)
        connection.connect()
        first = connection.sock
        asked = [
            ("/v1/traces", new_request().SerializeToString(), PROTOBUF, 200),
            ("/v1/traces", b"\xff", PROTOBUF, 400),
            ("/v1/traces", b"x" * 100, "text/plain", 415),
            ("/v1/traces", bytes(60_000), PROTOBUF, 413),
            ("/v1/metrics", b"x" * 100, PROTOBUF, 404),
            ("/nothing", b"", PROTOBUF, 404),
            ("/v1/traces", b"{}", JSON, 200),
        ]
        for path, body, content_type, code in asked:
            connection.request("POST", path, body, {"Content-Type": content_type})
            answer = connection.getresponse()
            assert answer.status == code
            answer.read()
            assert connection.sock is first
        connection.close()


def test_both_encodings_are_taken_on_one_port_at_once(server: ThreadedServer, sqlite_url: str) -> None:
    def post(number: int) -> int:
        return server.post(b"{}", JSON).code if number % 2 else server.post(new_request(0)).code

    with ThreadPoolExecutor(16) as clients:
        assert set(clients.map(post, range(64))) == {200}
    assert names_in(sqlite_url) == ["nightly"] * 32


def test_calls_at_once_on_one_grpc_connection_are_all_answered(server: ThreadedServer, sqlite_url: str) -> None:
    with grpc.insecure_channel(str(server.ports.otlp_grpc)) as channel:
        export = channel.unary_unary(f"/{TRACES}/Export")
        calls = [export.future(new_request(0).SerializeToString(), timeout=SECONDS) for _ in range(150)]
        assert {call.result() for call in calls} == {b""}
    assert names_in(sqlite_url) == ["nightly"] * 150


@pytest.mark.parametrize(
    "path", ["/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export", f"/{TRACES}/Import"]
)
def test_other_services_and_methods_are_unimplemented(server: ThreadedServer, path: str) -> None:
    with grpc.insecure_channel(str(server.ports.otlp_grpc)) as channel, pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary(path)(b"", timeout=SECONDS)
    assert failure_of(raised.value).code is grpc.StatusCode.UNIMPLEMENTED


def test_fields_of_newer_versions_are_ignored(server: ThreadedServer, sqlite_url: str) -> None:
    unknown = b"\xfa\x3f\x03new"  # field 1023
    assert server.post(new_request().SerializeToString() + unknown).code == 200
    assert server.export(unknown + new_request().SerializeToString()) == b""
    body = json.dumps({"resourceSpans": [], "newer": {"any": ["thing"]}}).encode()
    assert server.post(body, JSON).body == b"{}"
    assert names_in(sqlite_url).count("nightly") == 2


EXPORTERS: dict[str, Callable[[ThreadedServer], MetricExporter]] = {
    "grpc": lambda server: GrpcMetricExporter(str(server.ports.otlp_grpc), insecure=True, timeout=SECONDS),
    "http": lambda server: HttpMetricExporter(f"http://{server.ports.otlp_http}/v1/metrics", timeout=SECONDS),
}


@pytest.mark.parametrize("protocol", EXPORTERS)
def test_exporter_of_metrics_gives_up_after_one_answer(server: ThreadedServer, protocol: str) -> None:
    """Sent by mistake, they must not come again and again."""
    exporter = EXPORTERS[protocol](server)
    assert exporter.export(MetricsData([])) is MetricExportResult.FAILURE
    exporter.shutdown()
    assert (server.counts.requests, server.counts.requests_refused) == (1, 1)


def test_envelopes_without_spans_are_a_success(server: ThreadedServer, sqlite_url: str) -> None:
    empty = TracesData(resource_spans=[ResourceSpans(), ResourceSpans(scope_spans=[ScopeSpans()])])
    assert server.post(empty).code == 200
    assert server.export(empty) == b""
    body = b'{"resourceSpans":[{},{"resource":{},"scopeSpans":[{},{"spans":[]}]}]}'
    assert server.post(body, JSON).body == b"{}"
    assert names_in(sqlite_url) == []
