"""What clients are told while the server cannot take their spans: to send them again, and when."""

from __future__ import annotations

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from otel_runs.errors import OverloadedError, SchemaError, SettingsError, StoppingError, StoreUnavailableError
from otel_runs.receiver.answers import answer_to
from tests.server.requests import names_in, new_request
from tests.server.running import SECONDS, ThreadedServer, failure_of, serving
from tests.servers.postgres import PostgresServer


def retry_seconds(status: Status | None) -> int | None:
    """When the client shall send again, as the details say."""
    retry = RetryInfo()
    if status is None or not status.details or not status.details[0].Unpack(retry):
        return None
    return int(retry.retry_delay.seconds)


def health_of(server: ThreadedServer) -> int:
    with grpc.insecure_channel(str(server.ports.otlp_grpc)) as channel:
        return int(HealthStub(channel).Check(HealthCheckRequest(), timeout=SECONDS).status)  # pyright: ignore[reportAttributeAccessIssue]


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
            while server.server._meters.queue_bytes == 0:
                assert thread.is_alive()
            over_http = server.post(new_request())
            with pytest.raises(grpc.RpcError) as raised:
                server.export(new_request())
            ready = server.request("GET", "/readyz")
            alive = server.request("GET", "/healthz")
            assert health_of(server) == HealthCheckResponse.NOT_SERVING
        thread.join(SECONDS)
        assert held == [b""]
        assert (over_http.code, over_http.headers["retry-after"]) == (503, "1")
        assert retry_seconds(over_http.status) == 1
        failure = failure_of(raised.value)
        assert failure.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert retry_seconds(failure.status) == 1
        assert (ready.code, alive.code) == (503, 200)
        assert server.post(new_request()).code == 200
        assert server.counts.requests_put_off == 2


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
            assert health_of(server) == HealthCheckResponse.SERVING
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
            while server.server._meters.queue_bytes == 0:
                assert thread.is_alive()
            stopping = threading.Thread(target=server.stop)
            stopping.start()
            while not server.server._intake._is_stopping:
                assert stopping.is_alive()
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
