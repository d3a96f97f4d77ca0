"""OTLP over gRPC, point by point of the specification."""

from __future__ import annotations

import gc
import gzip
import re
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from otel_runs import attributes as key
from otel_runs.receiver import over_grpc, places
from tests.newest import needs_new_grpc
from tests.programs import Programs
from tests.server.requests import new_request, new_trace
from tests.server.running import LOGS, METRICS, SECONDS, TRACES, ServerProcess, ThreadedServer, failure_of, serving
from tests.spans.otlp import SPAN, START, TRACE, logs, otlp_span, pairs, traces
from tests.stored_names import names_in
from tests.waiting import wait_until


def started_run(span_id: bytes = SPAN) -> LogRecord:
    attributes = {key.EVENT_NAME: key.EVENT_RUN_STARTED, key.SPAN_NAME: "nightly"}
    return LogRecord(trace_id=TRACE, span_id=span_id, time_unix_nano=START, attributes=pairs(attributes))


@pytest.mark.parametrize(
    "compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip, grpc.Compression.Deflate]
)
def test_request_is_stored_and_answered_without_partial_success(
    server: ThreadedServer, sqlite_url: str, compression: grpc.Compression
) -> None:
    response = ExportTraceServiceResponse.FromString(server.export(new_request(), compression=compression))
    assert not response.HasField("partial_success")
    assert names_in(sqlite_url) == ["nightly", "step 0", "step 1"]


@pytest.mark.parametrize("service", [TRACES, LOGS])
def test_request_without_data_is_a_success(server: ThreadedServer, service: str) -> None:
    assert server.export(b"", service) == b""


def test_log_record_of_a_started_run_makes_it_running(server: ThreadedServer, sqlite_url: str) -> None:
    assert server.export(logs(started_run(), LogRecord(severity_text="INFO")), LOGS) == b""
    assert names_in(sqlite_url) == ["nightly"]


def test_refused_spans_are_a_partial_success_with_count_and_reason(server: ThreadedServer, sqlite_url: str) -> None:
    bad = [otlp_span(span_id=bytes(number)) for number in range(8)]
    told = ExportTraceServiceResponse.FromString(server.export(traces(*new_trace(1), *bad))).partial_success
    assert told.rejected_spans == 8
    assert "span_id is ''" in told.error_message
    assert told.error_message.endswith("And 3 more.")
    assert names_in(sqlite_url) == ["nightly", "step 0"]


def test_refused_log_records_are_a_partial_success(server: ThreadedServer) -> None:
    told = ExportLogsServiceResponse.FromString(server.export(logs(started_run(b"")), LOGS)).partial_success
    assert told.rejected_log_records == 1


def test_span_that_cannot_be_stored_is_a_partial_success_of_its_own_request_only(
    server: ThreadedServer, sqlite_url: str
) -> None:
    def namesake(last: int) -> bytes:
        parts = [otlp_span(trace_id=b"\xab" * 8 + bytes(7) + bytes([last]), span_id=b"\1" * 8, name=f"run {last}")]
        parts.append(otlp_span(trace_id=parts[0].trace_id, span_id=SPAN, parent_span_id=b"\1" * 8, name=f"step {last}"))
        return server.export(traces(*parts))

    assert namesake(1) == b""
    told = ExportTraceServiceResponse.FromString(namesake(2)).partial_success
    assert told.rejected_spans == 1
    assert f"Span {SPAN.hex()} of trace" in told.error_message
    assert "runs.db" not in told.error_message, "where the database is, is nobody's business"
    assert names_in(sqlite_url) == ["run 1", "run 2", "step 1"]


def test_message_that_cannot_be_read_is_invalid_argument_with_the_reason(server: ThreadedServer) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        server.export(b"\xff\xff")
    failure = failure_of(raised.value)
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "no OTLP protobuf" in failure.message
    assert failure.status is not None
    assert failure.status.message == failure.message
    detail = BadRequest()
    assert failure.status.details[0].Unpack(detail)
    assert detail.field_violations[0].description == failure.message


@pytest.mark.parametrize("body", [gzip.compress(bytes(100), mtime=0)[:-1], zlib.compress(bytes(100))[:-1]])
def test_compressed_message_that_is_damaged_is_invalid_argument(server: ThreadedServer, body: bytes) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        server.export(body)
    failure = failure_of(raised.value)
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert "its end is missing" in failure.message


def peak_kilobytes(process: int) -> int:
    """The most that a process has had in memory so far."""
    return int(re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())[0])


def test_compressed_message_is_unpacked_no_further_than_to_the_limit(programs: Programs) -> None:
    with ServerProcess(programs, "--db", "runs.db", environ={"OTEL_RUNS_SERVER_REQUEST_BYTES": "1000000"}) as server:
        assert server.export(new_request()) == b""
        before = peak_kilobytes(server.process.pid)
        with pytest.raises(grpc.RpcError) as raised:
            server.export(bytes(200_000_000), compression=grpc.Compression.Gzip)  # 200 kB on the wire
        assert "larger than 1000000 bytes after decompression" in failure_of(raised.value).message
        assert peak_kilobytes(server.process.pid) - before < 50_000


def test_message_is_let_go_when_it_is_answered(server: ThreadedServer) -> None:
    """Python looks for cycles after so many new objects: refused messages, of which each is one, would pile up."""
    size = 1_500_123

    def held() -> set[int]:
        referred = (each for holder in gc.get_objects() for each in gc.get_referents(holder))
        return {id(each) for each in referred if type(each) is bytes and len(each) == size}

    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            with pytest.raises(grpc.RpcError):
                server.export(bytes([0xFF]) * size)
        # The answer is on its way before the server's thread has left its frames, so this waits for them; a cycle would
        # never go while collection is off.
        wait_until(lambda: not held(), what="every answered message being let go", seconds=20)
    finally:
        gc.enable()


def test_call_without_a_message_is_invalid_argument(server: ThreadedServer) -> None:
    with grpc.insecure_channel(str(server.ports.otlp_grpc)) as channel, pytest.raises(grpc.RpcError) as raised:
        none: Iterator[bytes] = iter(())
        channel.stream_unary(f"/{TRACES}/Export")(none, timeout=SECONDS)
    assert failure_of(raised.value).code is grpc.StatusCode.INVALID_ARGUMENT


def test_metrics_are_unimplemented_with_what_to_do(server: ThreadedServer) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        server.export(b"", METRICS)
    failure = failure_of(raised.value)
    assert failure.code is grpc.StatusCode.UNIMPLEMENTED
    assert "OTEL_METRICS_EXPORTER=none" in failure.message


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_message_above_the_limit_is_resource_exhausted_without_retry(
    sqlite_url: str, compression: grpc.Compression
) -> None:
    with serving(sqlite_url, most_bytes=100_000) as server:
        with pytest.raises(grpc.RpcError) as raised:
            server.export(bytes(100_001), compression=compression)
        failure = failure_of(raised.value)
        assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert failure.status is None or not failure.status.details, "RetryInfo would mean: send again"
        assert "larger than" in failure.message
        assert server.export(new_request()) == b""


def test_message_that_does_not_come_is_answered_with_send_again(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(over_grpc, "MESSAGE_SECONDS", 0.2)

    asked_for_more, is_over = threading.Event(), threading.Event()

    def silence() -> Iterator[bytes]:
        asked_for_more.set()
        is_over.wait(SECONDS)
        yield from ()

    with serving(sqlite_url) as server, grpc.insecure_channel(str(server.ports.otlp_grpc)) as channel:
        with pytest.raises(grpc.RpcError) as raised:
            channel.stream_unary(f"/{TRACES}/Export")(silence(), timeout=SECONDS)
        is_over.set()
    assert asked_for_more.wait(SECONDS)
    assert failure_of(raised.value).code is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    ("service", "status"), [("", HealthCheckResponse.SERVING), (TRACES, HealthCheckResponse.SERVING)]
)
def test_health_service_says_that_the_server_serves(server: ThreadedServer, service: str, status: int) -> None:
    assert server.health(service) == status


def test_who_watches_the_health_service_is_told_of_each_change(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(over_grpc, "WATCH_SECONDS", 0.05)
    with serving(sqlite_url) as server, grpc.insecure_channel(str(server.ports.otlp_grpc)) as channel:
        stub: Any = HealthStub(channel)
        told = stub.Watch(HealthCheckRequest(), timeout=SECONDS)
        assert next(told).status == HealthCheckResponse.SERVING
        monkeypatch.setattr(server.server._intake, "_is_stopping", True)
        assert next(told).status == HealthCheckResponse.NOT_SERVING
        told.cancel()
        unknown = stub.Watch(HealthCheckRequest(service=METRICS), timeout=SECONDS)
        assert next(unknown).status == HealthCheckResponse.SERVICE_UNKNOWN
        unknown.cancel()


def test_health_service_does_not_know_metrics(server: ThreadedServer) -> None:
    with pytest.raises(grpc.RpcError) as raised:
        server.health(METRICS)
    assert failure_of(raised.value).code is grpc.StatusCode.NOT_FOUND


@contextmanager
def hanging_calls(address: str, number: int) -> Iterator[None]:
    """A connection with calls whose messages never come."""
    is_over = threading.Event()

    def silence() -> Iterator[bytes]:
        is_over.wait(SECONDS)
        yield from ()

    with grpc.insecure_channel(address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        calls = [channel.stream_unary(f"/{TRACES}/Export").future(silence(), timeout=SECONDS) for _ in range(number)]
        try:
            yield
        finally:
            is_over.set()
            for call in calls:
                call.cancel()


@pytest.mark.parametrize(("connections", "within"), [(1, 2.0), (3, 6.0), (6, 6.0)])
def test_calls_whose_messages_never_come_do_not_keep_other_connections_out(
    server: ThreadedServer, connections: int, within: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "PATIENCE_SECONDS", 0.5)
    with ExitStack() as stack:
        for _ in range(connections):
            stack.enter_context(hanging_calls(str(server.ports.otlp_grpc), 20))
        wait_until(lambda: server.server._meters.queue_bytes > 0, what="a hanging call in its place")
        time.sleep(0.5)  # until the others have come, too
        start = time.monotonic()
        assert server.export(new_request()) == b""
        assert time.monotonic() - start < within


def test_slow_message_has_its_whole_time_while_nobody_waits(
    server: ThreadedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "PATIENCE_SECONDS", 0.1)

    def slow() -> Iterator[bytes]:
        time.sleep(1)
        yield new_request().SerializeToString()

    with grpc.insecure_channel(str(server.ports.otlp_grpc)) as channel, ThreadPoolExecutor(3) as clients:
        export = channel.stream_unary(f"/{TRACES}/Export")
        assert list(clients.map(lambda _: export(slow(), timeout=SECONDS), range(3))) == [b""] * 3


def test_slow_messages_come_to_their_end_however_many_there_are(
    server: ThreadedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sent away by each other and begun again, all of them would be for ever on their way."""
    monkeypatch.setattr(places, "PATIENCE_SECONDS", 0.1)
    body = new_request().SerializeToString()

    def slow() -> Iterator[bytes]:
        time.sleep(0.5)
        yield body

    def send(_: int) -> bytes:
        with grpc.insecure_channel(str(server.ports.otlp_grpc), [("grpc.use_local_subchannel_pool", 1)]) as channel:
            export = channel.stream_unary(f"/{TRACES}/Export")
            for _ in range(20):
                try:
                    return bytes(export(slow(), timeout=SECONDS))
                except grpc.RpcError as exc:
                    if failure_of(exc).code is not grpc.StatusCode.UNAVAILABLE:
                        raise
        return b"never"

    with ThreadPoolExecutor(10) as clients:
        assert list(clients.map(send, range(10))) == [b""] * 10


def http2_frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def http2_header(*words: bytes) -> bytes:
    """A name and its value, written out (RFC 7541, 6.2.2)."""
    return b"\0" + b"".join(bytes([len(word)]) + word for word in words)


UNKNOWN_COMPRESSION = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + http2_frame(4, 0, 0)
    + http2_frame(
        1,
        4,
        1,
        http2_header(b":method", b"POST")
        + http2_header(b":scheme", b"http")
        + http2_header(b":path", b"/grpc.health.v1.Health/Check")
        + http2_header(b":authority", b"x")
        + http2_header(b"te", b"trailers")
        + http2_header(b"content-type", b"application/grpc")
        + http2_header(b"grpc-encoding", b"zstd"),
    )
    + http2_frame(0, 1, 1, bytes(5))
)
"""A call that no client of gRPC's own library lets us make."""


def test_question_for_health_that_cannot_be_read_leaves_nothing_in_the_log(programs: Programs) -> None:
    with (
        ServerProcess(programs, "--db", "runs.db") as server,
        grpc.insecure_channel(str(server.ports.otlp_grpc)) as channel,
    ):
        check = channel.unary_unary("/grpc.health.v1.Health/Check")
        for wrong in (b"\xff\xff", b"\x1f\x8b"):
            with pytest.raises(grpc.RpcError) as raised:
                check(wrong, timeout=SECONDS)
            assert failure_of(raised.value).code is grpc.StatusCode.INVALID_ARGUMENT
        asked = HealthCheckRequest(service=TRACES).SerializeToString()
        assert check(gzip.compress(asked), timeout=SECONDS)
    assert server.log.read_text() == ""


@needs_new_grpc
def test_call_with_an_unknown_compression_leaves_nothing_in_the_log(programs: Programs) -> None:
    with ServerProcess(programs, "--db", "runs.db") as server:
        with socket.create_connection(server.ports.otlp_grpc, timeout=SECONDS) as connection:
            connection.sendall(UNKNOWN_COMPRESSION)
            answer = b""
            while b"grpc-status" not in answer and (piece := connection.recv(1000)):
                answer += piece
        assert b"grpc-status" in answer
        assert server.health() == HealthCheckResponse.SERVING
    assert server.log.read_text() == ""
