"""What log records tell of runs that are still open reaches the tables on every way, and disturbs no Jaeger."""

from __future__ import annotations

import uuid
from urllib.request import Request, urlopen

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from sqlalchemy import select

from otel_runs import attributes as key
from otel_runs.ids import run_id_from_trace
from otel_runs.store import tables
from otel_runs.store.engine import open_database
from tests.collector.conftest import StartCollector, StartProduction
from tests.collector.history import ids_in
from tests.servers.jaeger import Jaeger
from tests.servers.kafka import Kafka
from tests.servers.serve import Serve
from tests.waiting import wait_until


@pytest.fixture(params=["local.yaml", "production.yaml", "kafka.yaml"])
def way(request: pytest.FixtureRequest, start_collector: StartCollector, jaeger: Jaeger) -> tuple[str, Serve]:
    """The address that a pipeline sends to, and the server at the other end."""
    if request.param == "production.yaml":
        start_production: StartProduction = request.getfixturevalue("start_production")
        return start_production().http, request.getfixturevalue("guarded")
    serve: Serve = request.getfixturevalue("serve")
    environ = {"RUNS_OTLP_GRPC": serve.grpc, "JAEGER_OTLP_GRPC": jaeger.grpc}
    if request.param == "local.yaml":
        return start_collector("local.yaml", environ=environ).http, serve
    kafka: Kafka = request.getfixturevalue("kafka")
    return start_collector("kafka.yaml", environ=environ | kafka.new_topics()).http, serve


def send_start(url: str, trace_id: bytes) -> None:
    """Tell that a run named nightly has started, after what a language model was asked."""
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    prompt = records.add(event_name="gen_ai.client.inference.operation.details")
    prompt.attributes.add(key="gen_ai.input.messages").value.string_value = "what a customer wrote"
    record = records.add(event_name=key.EVENT_RUN_STARTED)
    record.time_unix_nano = 1_760_000_000_000_000_000
    record.trace_id = trace_id
    record.span_id = b"12345678"
    record.attributes.add(key=key.SPAN_NAME).value.string_value = "nightly"
    headers = {"Content-Type": "application/x-protobuf"}
    urlopen(Request(f"{url}/v1/logs", request.SerializeToString(), headers), timeout=30).close()


def test_started_run_is_seen_before_its_span_has_ended(way: tuple[str, Serve], jaeger: Jaeger) -> None:
    url, serve = way
    trace_id = uuid.uuid4()
    send_start(url, trace_id.bytes)

    id_ = run_id_from_trace(trace_id.hex)
    wait_until(lambda: id_ in ids_in(serve.database)[0], what="the start in the tables")
    with open_database(serve.database) as database, database.read() as connection:
        run = connection.execute(select(tables.runs).where(tables.runs.c.id == id_)).mappings().one()
        assert (run["name"], run["status"], run["completed_at"]) == ("nightly", "running", None)
    assert jaeger.spans_of(trace_id.hex) == []


def test_log_records_that_tell_of_no_run_are_not_sent(
    start_collector: StartCollector, serve: Serve, jaeger: Jaeger
) -> None:
    environ = {"RUNS_OTLP_GRPC": serve.grpc, "JAEGER_OTLP_GRPC": jaeger.grpc}
    collector = start_collector("local.yaml", environ=environ)
    send_start(collector.http, uuid.uuid4().bytes)

    wait_until(lambda: len(ids_in(serve.database)[0]) == 1, what="the start in the tables")
    wait_until(lambda: collector.metric("otelcol_exporter_sent_log_records") > 0, what="the count of the start")
    assert collector.metric("otelcol_exporter_sent_log_records") == 1
