"""No input gives an error of the server, a hang, or a row that breaks a query.

OTEL_RUNS_TEST_FUZZ sets how many examples are tried, other ones each time; the suite tries a few, the same ones always,
so that a change never fails for what it did not do.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import Parse
from google.rpc.status_pb2 import Status
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otel_runs.cli.models import run_models
from otel_runs.cli.show import Show, run_show
from otel_runs.cli.tail import Tail, run_tail
from otel_runs.query.results import MODEL_ORDERS
from otel_runs.query.runs import list_runs
from otel_runs.server.address import Address
from otel_runs.store.engine import Database, open_database
from otel_runs.store.tables import metadata
from otel_runs.store.views import VIEWS
from tests.databases import one_of_each_kind
from tests.ingest.contents import empty
from tests.server.odd_requests import Sent, any_requests, raw_bytes
from tests.server.requests import new_request
from tests.server.running import JSON, SECONDS, ThreadedServer, failure_of, serving

FEW = 40
EXAMPLES = int(os.environ.get("OTEL_RUNS_TEST_FUZZ", FEW))
fuzzing = settings(
    max_examples=EXAMPLES,
    derandomize=EXAMPLES == FEW,
    deadline=None,
    suppress_health_check=(HealthCheck.too_slow, HealthCheck.data_too_large),
    phases=(Phase.generate,),  # to make a find smaller takes minutes, and is done by hand
    print_blob=True,
)
SHOWN = 4
"""Runs of an example that are shown by the command line."""

_NUMBERS = count()


@contextlib.contextmanager
def fuzzed(url: str, caplog: pytest.LogCaptureFixture) -> Iterator[tuple[ThreadedServer, Database]]:
    with serving(url, most_bytes=1_000_000) as server, open_database(url, create=False) as database:
        yield server, database
    assert [record.getMessage() for record in caplog.records if "defect" in record.getMessage()] == []


@one_of_each_kind
@pytest.mark.timeout(max(120, EXAMPLES * 3))
def test_any_requests_are_answered_and_every_query_reads_what_they_leave(
    database_url_for_test: str, caplog: pytest.LogCaptureFixture
) -> None:
    with fuzzed(database_url_for_test, caplog) as (server, database):

        @fuzzing
        @given(st.lists(any_requests, min_size=1, max_size=4))
        def attack(requests: list[Sent]) -> None:
            empty(database)
            for sent in requests:
                (send_over_grpc if sent.over_grpc else send_over_http)(server, sent)
            read_everything(database_url_for_test, database)
            require_service(server, database)

        attack()


@pytest.mark.timeout(max(120, EXAMPLES * 3))
def test_any_bytes_on_a_port_leave_the_server_at_work(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with fuzzed(sqlite_url, caplog) as (server, database):

        @fuzzing
        @given(st.lists(raw_bytes, min_size=1, max_size=3))
        def attack(pieces: list[bytes]) -> None:
            for address in server.ports:
                assert not answer_of(address, pieces).startswith(b"HTTP/1.1 5")
            require_service(server, database)

        attack()


def answer_of(address: Address, pieces: list[bytes]) -> bytes:
    """What a port says until it closes the connection, which it must."""
    answer = bytearray()
    with socket.create_connection(address, timeout=SECONDS) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
            while received := connection.recv(65_536):
                answer += received
        except TimeoutError:
            raise
        except OSError:  # it has closed the connection before it has read everything
            pass
    return bytes(answer)


def send_over_http(server: ThreadedServer, sent: Sent) -> None:
    headers = {"content_type": sent.content_type.encode(), "content_encoding": sent.compression.encode()}
    headers = {name: value for name, value in headers.items() if value}
    answer = server.request("POST", sent.path, sent.body, **headers)  # type: ignore[arg-type]  # bytes: any bytes at all
    assert answer.code in {200, 400, 404, 413, 415}, answer
    if answer.headers["content-type"] == JSON:
        Parse(answer.body, ExportTraceServiceResponse() if answer.code == 200 else Status(), ignore_unknown_fields=True)
    elif answer.code != 200:
        assert answer.status.message


def send_over_grpc(server: ThreadedServer, sent: Sent) -> None:
    failure = None
    try:
        server.export(sent.body, sent.service)
    except grpc.RpcError as exc:
        failure = failure_of(exc)
    assert failure is None or failure.code in {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED}, failure


def require_service(server: ThreadedServer, database: Database) -> None:
    name = f"good {next(_NUMBERS)}"
    assert server.post(new_request(name=name)).code == 200
    with database.read() as connection:
        assert connection.exec_driver_sql(f"SELECT status FROM runs WHERE name = '{name}'").scalars().all() == [
            "completed"
        ]


def read_everything(url: str, database: Database) -> None:
    """As plain SQL and as the command line does; JSON must be JSON."""
    with database.read() as connection:
        for relation in (*metadata.tables, *VIEWS):
            connection.exec_driver_sql(f"SELECT * FROM {relation}").all()
    every = Tail(limit=1000, statuses=(), name=None, environment=None, nested=True, json=True)
    runs = json_of(lambda: run_tail(url, every, None))
    printed(lambda: run_tail(url, every._replace(json=False), None))
    assert [run["id"] for run in runs] == [run.id for run in reversed(list_runs(database, limit=1000))]
    for run in runs[:SHOWN]:
        show = Show(run["id"], limit=None, exit_status=False, json=True)
        assert json_of(partial(run_show, url, show))["id"] == run["id"]
        printed(partial(run_show, url, show._replace(json=False)))
    for order in MODEL_ORDERS:
        json_of(partial(run_models, url, order, json=True))
    printed(partial(run_models, url, "path", json=False))


def printed(command: Callable[[], object]) -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
        command()
        out.flush()
    assert isinstance(out.buffer, io.BytesIO)
    return out.buffer.getvalue().decode()


def json_of(command: Callable[[], object]) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(printed(command), parse_constant=refuse)
