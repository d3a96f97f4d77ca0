"""What clients are told while the server cannot take their spans: to send them again, and when."""

from __future__ import annotations

import re
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1.health_pb2 import HealthCheckResponse

from otel_runs.errors import OverloadedError, SchemaError, SettingsError, StoppingError, StoreUnavailableError
from otel_runs.receiver.answers import answer_to
from tests.server.requests import new_request
from tests.server.running import PROTOBUF, SECONDS, ThreadedServer, failure_of, serving
from tests.servers.postgres import PostgresServer
from tests.stored_names import names_in
from tests.waiting import wait_until


def retry_seconds(status: Status | None) -> int | None:
    """When the client shall send again, as the details say."""
    retry = RetryInfo()
    if status is None or not status.details or not status.details[0].Unpack(retry):
        return None
    return int(retry.retry_delay.seconds)


def await_room(server: ThreadedServer) -> None:
    """A request gives back its room after its answer."""
    wait_until(lambda: server.server._meters.queue_bytes == 0, what="room")


@contextmanager
def locked(file: str) -> Iterator[None]:
    """The write lock of an SQLite file is somebody else's."""
    other = sqlite3.connect(file.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


@pytest.mark.parametrize(
    ("error", "http", "code"),
    [
        (OverloadedError("full"), 503, grpc.StatusCode.RESOURCE_EXHAUSTED),
        (StoppingError("bye"), 503, grpc.StatusCode.UNAVAILABLE),
        (StoreUnavailableError("down"), 503, grpc.StatusCode.UNAVAILABLE),
    ],
)
def test_what_is_temporary_has_codes_that_clients_retry(error: Exception, http: int, code: grpc.StatusCode) -> None:
    answer = answer_to(error)
    assert (answer.http, answer.grpc) == (http, code.value[0])
    assert answer.retry_seconds is not None


def test_defect_of_ours_is_permanent_and_tells_no_details() -> None:
    answer = answer_to(ZeroDivisionError("secret"))
    assert (answer.http, answer.grpc, answer.retry_seconds) == (500, grpc.StatusCode.INTERNAL.value[0], None)
    assert "secret" not in answer.message


def test_full_queue_is_503_with_retry_after_and_resource_exhausted_with_retry_info(sqlite_url: str) -> None:
    with serving(sqlite_url, queue_bytes=1) as server:
        held: list[bytes] = []
        with locked(sqlite_url):
            thread = threading.Thread(target=lambda: held.append(server.export(new_request())))
            thread.start()
            wait_until(lambda: server.server._meters.queue_bytes > 0, what="a request that waits")
            over_http = server.post(new_request())
            with pytest.raises(grpc.RpcError) as raised:
                server.export(new_request())
            ready = server.request("GET", "/readyz")
            alive = server.request("GET", "/healthz")
            assert server.health() == HealthCheckResponse.NOT_SERVING
        thread.join(SECONDS)
        assert held == [b""]
        assert (over_http.code, over_http.headers["retry-after"]) == (503, "1")
        assert retry_seconds(over_http.status) == 1
        failure = failure_of(raised.value)
        assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert retry_seconds(failure.status) == 1
        assert (ready.code, alive.code) == (503, 200)
        await_room(server)
        assert server.post(new_request()).code == 200
        assert server.counts.requests_put_off == 2


def test_bodies_take_room_while_they_arrive(sqlite_url: str) -> None:
    """Many clients that each send a large body at the same time must not fill the memory before one is complete."""
    head = (
        b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: 90000\r\n\r\n"
    )
    with serving(sqlite_url, queue_bytes=200_000) as server, ExitStack() as stack:
        address = server.ports.otlp_http
        two = [stack.enter_context(socket.create_connection(address, timeout=SECONDS)) for _ in range(2)]
        for connection in two:
            connection.sendall(head + bytes(80_000))
        wait_until(lambda: server.server._meters.queue_bytes == 160_000, what="two bodies that arrive")
        # Without a length, which would be refused before the body is read.
        third = server.request("POST", "/v1/traces", iter([bytes(30_000)] * 3), content_type=PROTOBUF)
        assert (third.code, third.headers["retry-after"]) == (503, "1")
        for connection in two:
            connection.sendall(bytes(10_000))
            assert connection.recv(1000).startswith(b"HTTP/1.1 400"), "taken, and found to be no OTLP"
        await_room(server)


def test_large_body_arrives_while_others_have_taken_the_room(sqlite_url: str) -> None:
    head = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: %d\r\n\r\n"
    with serving(sqlite_url, queue_bytes=200_000) as server, ExitStack() as stack:
        for _ in range(2):
            slow = stack.enter_context(socket.create_connection(server.ports.otlp_http, timeout=SECONDS))
            slow.sendall(head % 100_000 + bytes(99_000))
        wait_until(lambda: server.server._meters.queue_bytes == 198_000, what="two bodies that arrive")
        assert server.post(bytes(150_000)).code == 400, "taken, and found to be no OTLP"
        assert server.post(bytes(90_000)).code == 503


def test_body_that_tells_that_it_is_above_the_limit_is_refused_for_good_whatever_the_load(sqlite_url: str) -> None:
    """Put off, it would be sent again and again; and while it arrives, it would take the place of those that may."""
    head = b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: %d\r\n\r\n"
    with serving(sqlite_url, queue_bytes=200_000, most_bytes=120_000) as server, ExitStack() as stack:
        for _ in range(2):
            slow = stack.enter_context(socket.create_connection(server.ports.otlp_http, timeout=SECONDS))
            slow.sendall(head % 110_000 + bytes(90_000))
        wait_until(lambda: server.server._meters.queue_bytes == 180_000, what="two bodies that arrive")
        assert server.post(bytes(115_000)).code == 503
        assert server.post(bytes(230_000)).code == 413


def test_client_that_leaves_in_the_middle_of_a_body_takes_no_room_with_it(sqlite_url: str) -> None:
    with serving(sqlite_url) as server:
        with socket.create_connection(server.ports.otlp_http, timeout=SECONDS) as connection:
            connection.sendall(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\n")
            connection.sendall(b"content-length: 90000\r\n\r\n" + bytes(80_000))
            wait_until(lambda: server.server._meters.queue_bytes == 80_000, what="a body that arrives")
        await_room(server)


def test_locked_database_is_unavailable_and_the_same_request_is_stored_later(sqlite_url: str) -> None:
    request = new_request()
    with serving(f"{sqlite_url}?timeout=0.05") as server:
        with locked(sqlite_url):
            answer = server.post(request)
            with pytest.raises(grpc.RpcError) as raised:
                server.export(request)
        assert (answer.code, answer.headers["retry-after"]) == (503, "5")
        assert retry_seconds(answer.status) == 5
        failure = failure_of(raised.value)
        assert failure.code is grpc.StatusCode.UNAVAILABLE
        assert retry_seconds(failure.status) == 5
        assert re.search(r"runs\.db|sqlite", failure.message) is None, "where the database is, is nobody's business"
        assert server.post(request).code == 200
    assert names_in(sqlite_url) == ["nightly", "step 0", "step 1"]


def test_server_starts_while_its_database_is_down_and_recovers_by_itself() -> None:
    database = PostgresServer(18)
    url = database.url
    try:
        with serving(url) as server:
            assert server.post(new_request()).code == 200
            assert server.health() == HealthCheckResponse.SERVING
            database.crash()
            request = new_request(name="again")
            assert server.post(request).code == 503
            assert server.request("GET", "/readyz").code == 503
            with serving(url) as other:
                assert other.post(request).code == 503
                database.restart()
                assert other.post(request).code == 200
            assert server.post(request).code == 200
            assert server.request("GET", "/readyz").code == 200
        assert names_in(url).count("again") == 1
    finally:
        database.stop()


def test_server_that_stops_answers_with_unavailable_until_its_ports_close(sqlite_url: str) -> None:
    with serving(sqlite_url) as server:
        held: list[int] = []
        with locked(sqlite_url):
            thread = threading.Thread(target=lambda: held.append(server.post(new_request()).code))
            thread.start()
            wait_until(lambda: server.server._meters.queue_bytes > 0, what="a request that waits")
            stopping = threading.Thread(target=server.stop)
            stopping.start()
            wait_until(lambda: server.server._intake._is_stopping, what="the stop")
            answer = server.post(new_request())
            assert (answer.code, answer.headers["retry-after"]) == (503, "2")
            with pytest.raises(grpc.RpcError) as raised:
                server.export(new_request())
            assert failure_of(raised.value).code is grpc.StatusCode.UNAVAILABLE
            assert server.request("GET", "/readyz").code == 503
        thread.join(SECONDS)
        stopping.join(SECONDS)
    assert held == [200]
    assert names_in(sqlite_url) == ["nightly", "step 0", "step 1"]


def test_database_that_is_no_run_database_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    file.write_bytes(b"a text, not a database" * 100)
    with pytest.raises(SchemaError), serving(str(file)):
        pass
    with pytest.raises(SettingsError), serving("mysql://somewhere/else"):
        pass
