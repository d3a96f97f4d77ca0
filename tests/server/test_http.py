"""OTLP over HTTP, point by point of the specification."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import ssl
import zlib
from collections.abc import Callable
from contextlib import ExitStack

import pytest
import zstandard
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.rpc.code_pb2 import INVALID_ARGUMENT, UNIMPLEMENTED
from google.rpc.error_details_pb2 import BadRequest
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from otel_runs import attributes as key
from otel_runs.receiver import over_http
from otel_runs.server import http_port
from otel_runs.server.options import Tls
from tests.server.requests import new_request, new_trace
from tests.server.running import JSON, PROTOBUF, ThreadedServer, serving
from tests.servers.certificates import Certificate
from tests.spans.otlp import PARENT, SPAN, START, TRACE, document, logs, otlp_span, pairs, traces
from tests.stored_names import names_in
from tests.waiting import wait_until


def as_json(message: Message) -> bytes:
    return json.dumps(document(message)).encode()


def started_run(span_id: bytes = SPAN) -> LogRecord:
    attributes = {key.EVENT_NAME: key.EVENT_RUN_STARTED, key.SPAN_NAME: "nightly"}
    return LogRecord(trace_id=TRACE, span_id=span_id, time_unix_nano=START, attributes=pairs(attributes))


@pytest.mark.parametrize("content_type", [PROTOBUF, f"{PROTOBUF}; charset=utf-8", "Application/X-Protobuf"])
def test_protobuf_is_stored_and_answered_in_protobuf(
    server: ThreadedServer, sqlite_url: str, content_type: str
) -> None:
    answer = server.post(new_request(), content_type)
    assert (answer.code, answer.headers["content-type"]) == (200, PROTOBUF)
    response = ExportTraceServiceResponse.FromString(answer.body)
    assert not response.HasField("partial_success")
    assert names_in(sqlite_url) == ["nightly", "step 0", "step 1"]


@pytest.mark.parametrize("content_type", [JSON, f"{JSON};charset=UTF-8"])
def test_json_is_stored_and_answered_in_json(server: ThreadedServer, sqlite_url: str, content_type: str) -> None:
    answer = server.post(as_json(new_request()), content_type)
    assert (answer.code, answer.headers["content-type"]) == (200, JSON)
    assert json.loads(answer.body) == {}
    assert names_in(sqlite_url) == ["nightly", "step 0", "step 1"]


def test_large_body_is_put_together_in_its_order(server: ThreadedServer, sqlite_url: str) -> None:
    body = as_json(new_request(steps=6_000))
    assert len(body) > 2 * 524_288, "it comes in several blocks"
    assert server.post(body, JSON).code == 200
    assert names_in(sqlite_url) == sorted(["nightly", *(f"step {number}" for number in range(6_000))])


@pytest.mark.parametrize(("body", "content_type"), [(b"", PROTOBUF), (b"{}", JSON), (b'{"resourceSpans":[]}', JSON)])
def test_request_without_spans_is_a_success(server: ThreadedServer, body: bytes, content_type: str) -> None:
    assert server.post(body, content_type).code == 200


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "identity": lambda body: body,
    "gzip": gzip.compress,
    "GZIP": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.compress,
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_compressed_request_is_stored(
    server: ThreadedServer, sqlite_url: str, compression: str, content_type: str
) -> None:
    request = new_request()
    body = request.SerializeToString() if content_type == PROTOBUF else as_json(request)
    answer = server.post(COMPRESSIONS[compression](body), content_type, content_encoding=compression)
    assert answer.code == 200
    assert names_in(sqlite_url) == ["nightly", "step 0", "step 1"]


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_body_of_several_members_or_frames_is_read_to_its_end(
    server: ThreadedServer, sqlite_url: str, compression: str
) -> None:
    body, pack = new_request().SerializeToString(), COMPRESSIONS[compression]
    assert server.post(pack(body[:40]) + pack(body[40:]), content_encoding=compression).code == 200
    assert names_in(sqlite_url) == ["nightly", "step 0", "step 1"]


def test_body_in_chunks_without_a_length_is_stored(server: ThreadedServer, sqlite_url: str) -> None:
    body = new_request().SerializeToString()
    answer = server.request("POST", "/v1/traces", iter([body[:40], body[40:]]), content_type=PROTOBUF)
    assert answer.code == 200
    assert names_in(sqlite_url) == ["nightly", "step 0", "step 1"]


@pytest.mark.parametrize("content_type", [PROTOBUF, JSON])
def test_log_record_of_a_started_run_makes_it_running_and_others_are_ignored(
    server: ThreadedServer, sqlite_url: str, content_type: str
) -> None:
    message = logs(started_run(), LogRecord(severity_text="INFO"))
    answer = server.post(message if content_type == PROTOBUF else as_json(message), content_type, "/v1/logs")
    assert (answer.code, answer.headers["content-type"]) == (200, content_type)
    assert answer.body in {b"", b"{}"}
    assert names_in(sqlite_url) == ["nightly"]


def test_refused_spans_are_a_partial_success_with_count_and_reason(server: ThreadedServer, sqlite_url: str) -> None:
    good, bad = new_trace(1), otlp_span(span_id=b"")
    response = ExportTraceServiceResponse.FromString(server.post(traces(*good, bad, bad)).body)
    assert response.partial_success.rejected_spans == 2
    assert "span_id is ''" in response.partial_success.error_message
    assert names_in(sqlite_url) == ["nightly", "step 0"]


def test_refused_log_records_are_a_partial_success(server: ThreadedServer) -> None:
    answer = server.post(logs(started_run(span_id=b"")), path="/v1/logs")
    told = ExportLogsServiceResponse.FromString(answer.body).partial_success
    assert told.rejected_log_records == 1
    assert "span_id is ''" in told.error_message


def test_partial_success_is_json_where_the_request_was(server: ThreadedServer) -> None:
    answer = server.post(as_json(traces(*new_trace(1), otlp_span(trace_id=b"\1", parent_span_id=PARENT))), JSON)
    told = json.loads(answer.body)["partialSuccess"]
    assert told["rejectedSpans"] == "1"
    assert "trace_id" in told["errorMessage"]


@pytest.mark.parametrize(
    ("body", "content_type", "compression", "said"),
    [
        (b"\xff\xff", PROTOBUF, "", "no OTLP protobuf"),
        (b"{", JSON, "", "no JSON"),
        (b"not gzip", PROTOBUF, "gzip", "no complete gzip"),
        (gzip.compress(b"", mtime=0)[:-1], PROTOBUF, "gzip", "its end is missing"),
        (zstandard.compress(b"x" * 100)[:-1], PROTOBUF, "zstd", "its end is missing"),
        (zlib.compress(b"x")[:-1], PROTOBUF, "deflate", "its end is missing"),
    ],
)
def test_body_that_cannot_be_read_is_400_with_the_reason(
    server: ThreadedServer, body: bytes, content_type: str, compression: str, said: str
) -> None:
    answer = server.post(body, content_type, **({"content_encoding": compression} if compression else {}))
    assert (answer.code, answer.headers["content-type"]) == (400, content_type)
    status = answer.status if content_type == PROTOBUF else ParseDict(json.loads(answer.body), Status())
    assert said in status.message
    assert status.code == INVALID_ARGUMENT
    detail = BadRequest()
    assert status.details[0].Unpack(detail)
    assert detail.field_violations[0].description == status.message


@pytest.mark.parametrize("content_type", ["text/plain", "", "application/grpc", "application/x-protobuffer"])
def test_other_content_types_are_415(server: ThreadedServer, content_type: str) -> None:
    answer = server.post(b"", content_type)
    assert (answer.code, answer.headers["content-type"]) == (415, JSON)
    assert "expected one of: application/x-protobuf, application/json" in json.loads(answer.body)["message"]


def test_other_compressions_are_415(server: ThreadedServer) -> None:
    answer = server.post(b"", content_encoding="br")
    assert answer.code == 415
    assert "expected one of: identity, gzip, deflate, zstd" in answer.status.message


def test_reason_that_quotes_half_a_surrogate_pair_can_be_answered(server: ThreadedServer) -> None:
    """JavaScript cuts texts in the middle of a pair; an answer with one half could not be encoded."""
    body = b'{"resourceSpans":[{"scopeSpans":[{"spans":[{"spanId":"\\ud800","name":"x"}]}]}]}'
    told = json.loads(server.post(body, JSON).body)["partialSuccess"]
    assert "Span \\ud800: " in told["errorMessage"]


def test_metrics_are_answered_with_a_permanent_error_that_says_what_to_do(server: ThreadedServer) -> None:
    answer = server.post(b"", path="/v1/metrics")
    assert answer.code == 404
    assert answer.status.code == UNIMPLEMENTED
    assert "OTEL_METRICS_EXPORTER=none" in answer.status.message


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("POST", "/", 404), ("POST", "/v1/traces/", 404), ("GET", "/v1/traces", 405), ("DELETE", "/healthz", 405)],
)
def test_errors_of_http_itself_have_a_status_as_body_too(
    server: ThreadedServer, method: str, path: str, code: int
) -> None:
    answer = server.request(method, path, content_type=PROTOBUF)
    assert answer.code == code
    assert answer.status.message == (
        f"{method} {path} is not served here; expected POST /v1/traces or /v1/logs, GET /healthz or /readyz."
    )


LIMIT = 100_000


@pytest.mark.parametrize("compression", ["identity", "gzip", "deflate", "zstd"])
def test_request_above_the_limit_is_413_also_if_it_is_above_only_after_decompression(
    sqlite_url: str, compression: str
) -> None:
    body = COMPRESSIONS[compression](b"\0" * (LIMIT + 1))
    with serving(sqlite_url, most_bytes=LIMIT) as server:
        answer = server.post(body, content_encoding=compression)
        assert answer.code == 413
        assert f"larger than {LIMIT} bytes" in answer.status.message
        assert server.post(new_request()).code == 200


def test_zstd_that_asks_for_more_memory_than_http_allows_is_400(server: ThreadedServer) -> None:
    wide = zstandard.ZstdCompressionParameters(window_log=27)
    packer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    body = packer.compress(b"x" * 100) + packer.flush()
    assert "too much memory" in server.post(body, content_encoding="zstd").status.message


def test_body_above_the_limit_that_does_not_tell_its_length_is_413(sqlite_url: str) -> None:
    with serving(sqlite_url, most_bytes=LIMIT) as server:
        pieces = (b"\0" * 10_000 for _ in range(11))
        assert server.request("POST", "/v1/traces", pieces, content_type=PROTOBUF).code == 413


def test_headers_above_the_limit_are_refused(server: ThreadedServer) -> None:
    with socket.create_connection(server.ports.otlp_http, timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nx: " + b"x" * 17_000)
        assert connection.recv(1000).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("sent", [b"", b"POST /v1/traces HTTP/1.1\r\nhost: x\r\n"])
def test_connection_whose_headers_do_not_come_is_closed(
    sqlite_url: str, sent: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_port, "HEAD_SECONDS", 0.2)
    with serving(sqlite_url) as server, socket.create_connection(server.ports.otlp_http, timeout=10) as connection:
        connection.sendall(sent)
        assert connection.recv(1000) == b""


BEGUN = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{"


def test_body_that_does_not_come_is_answered_with_send_again(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(over_http, "BODY_SECONDS", 0.2)
    monkeypatch.setattr(over_http, "_SKIP_SECONDS", 0.2)
    with serving(sqlite_url) as server, socket.create_connection(server.ports.otlp_http, timeout=10) as connection:
        connection.sendall(BEGUN)
        assert connection.recv(1000).startswith(b"HTTP/1.1 503")


def test_client_that_goes_away_in_the_middle_does_no_harm(server: ThreadedServer) -> None:
    for _ in range(3):
        with socket.create_connection(server.ports.otlp_http, timeout=10) as connection:
            connection.sendall(BEGUN)
    assert server.post(new_request()).code == 200


def code_of(connection: socket.socket) -> int:
    """Of the answer on a connection, which is read to its end."""
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


def test_connection_that_rests_makes_room_for_another_one(
    server: ThreadedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_port, "_CONNECTIONS", 3)
    with ExitStack() as stack:
        resting = [stack.enter_context(socket.create_connection(server.ports.otlp_http, 10)) for _ in range(3)]
        for connection in resting:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
            assert code_of(connection) == 200
        assert server.post(new_request()).code == 200
        assert resting[0].recv(1000) == b"", "it has rested longest"
        resting[2].sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert code_of(resting[2]) == 200, "it has not"


def test_connection_over_tls_whose_client_has_gone_makes_room_at_once(
    sqlite_url: str, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over TLS both sides say goodbye: who waits for that of a client that has gone has its connection meanwhile."""
    monkeypatch.setattr(http_port, "_CONNECTIONS", 3)
    context = ssl.create_default_context(cafile=certificate.file)
    with serving(sqlite_url, tls=Tls(*certificate)) as server, ExitStack() as stack:
        for _ in range(6):
            https = http.client.HTTPSConnection(*server.ports.otlp_http, timeout=10, context=context)
            stack.callback(https.close)
            https.request("POST", "/v1/traces", new_request().SerializeToString(), {"content-type": PROTOBUF})
            assert https.getresponse().status == 200
        port = server.server._http
        assert port is not None
        taken = port._server.server_state.connections
        wait_until(lambda: len(taken) == 3, seconds=5, what="the end of three connections")


def test_health_is_told_while_all_connections_are_busy(server: ThreadedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_port, "_CONNECTIONS", 3)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(server.ports.otlp_http, 10)).sendall(BEGUN)
        wait_until(lambda: server.server._meters.queue_bytes == 3, what="three bodies that arrive")
        answer = server.post(new_request())
        assert (answer.code, answer.headers["retry-after"]) == (503, "1")
        assert [server.request("GET", path).code for path in ("/healthz", "/readyz")] == [200, 200]
        monkeypatch.setattr(http_port, "_FOR_HEALTH", 0)
        with pytest.raises((ConnectionError, http.client.HTTPException)):
            server.request("GET", "/healthz")


@pytest.mark.parametrize(("method", "path"), [("GET", "/favicon.ico"), ("GET", "/metrics"), ("HEAD", "/")])
def test_what_is_no_export_is_not_counted_as_one(server: ThreadedServer, method: str, path: str) -> None:
    assert server.request(method, path).code == 404
    assert server.counts.requests == 0
    assert server.post(b"", path="/v1/traces/").code == 404
    assert server.counts.requests_refused == 1, "somebody exports to a wrong path"
