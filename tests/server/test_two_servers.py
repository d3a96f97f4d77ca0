"""Several servers on one database leave the rows of one server; so do the exporters of the SDK and ours."""

from __future__ import annotations

import random
import threading

import pytest
from google.protobuf.message import Message
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_runs import RunsSpanExporter
from otel_runs.store.engine import open_database
from tests.ingest.contents import Contents, contents_of, empty
from tests.programs import Programs
from tests.server.requests import new_trace
from tests.server.running import SECONDS, Client, ServerProcess, serving
from tests.spans.otlp import traces


def contents(url: str) -> Contents:
    with open_database(url, create=False) as database:
        return contents_of(database)


def emptied(url: str) -> None:
    with open_database(url, create=False) as database:
        empty(database)


def send(client: Client, requests: list[Message], over_grpc: bool) -> None:
    """Send requests one after another, each again until it is acknowledged."""
    for request in requests:
        if over_grpc:
            client.export(request)
        else:
            assert client.post(request).code == 200


def test_two_servers_on_one_database_leave_the_rows_of_one(programs: Programs, database_url_for_test: str) -> None:
    """Each server gets every span, in batches and an order of its own, at the same time."""
    spans = [span for number in range(12) for span in new_trace(6, name=f"run {number}")]
    chance = random.Random(7)  # not for secrets: the same orders each time
    with ServerProcess(programs, "--db", database_url_for_test) as one:
        send(one, [traces(*spans)], over_grpc=False)
        alone = contents(database_url_for_test)
        emptied(database_url_for_test)
        with ServerProcess(programs, "--db", database_url_for_test) as other:
            threads = []
            for client in (one, other):
                for over_grpc in (False, True):
                    shuffled = chance.sample(spans, len(spans))
                    requests = [traces(*shuffled[first : first + 9]) for first in range(0, len(spans), 9)]
                    threads.append(threading.Thread(target=send, args=(client, requests, over_grpc)))
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(2 * SECONDS)
                assert not thread.is_alive()
    assert contents(database_url_for_test) == alone
    assert len(alone["runs"]) == 12
    assert len(alone["model_runs"]) == 72


def spans_of_the_sdk() -> list[ReadableSpan]:
    """A run with steps, an error and an event, made by the real SDK."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(resource=Resource({"service.name": "shop"}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("tests")
    with tracer.start_as_current_span("nightly") as root:
        root.set_attribute("otel_runs.metadata.part", ("a", "b"))
        for number in range(3):
            with (
                pytest.raises(ZeroDivisionError),
                tracer.start_as_current_span(f"step {number}", attributes={"otel_runs.rows_in": number}),
            ):
                raise ZeroDivisionError
    return list(memory.get_finished_spans())


@pytest.mark.parametrize("kind", ["grpc", "http", "http gzip", "http deflate"])
def test_exporter_of_the_sdk_leaves_the_rows_of_ours(database_url_for_test: str, kind: str) -> None:
    spans = spans_of_the_sdk()
    ours = RunsSpanExporter(database_url_for_test)
    assert ours.export(spans) is SpanExportResult.SUCCESS
    ours.shutdown()
    in_process = contents(database_url_for_test)
    emptied(database_url_for_test)
    with serving(database_url_for_test) as server:
        exporter: SpanExporter
        if kind == "grpc":
            exporter = GrpcExporter(str(server.ports.otlp_grpc), insecure=True, timeout=SECONDS)
        else:
            compression = {"http gzip": Compression.Gzip, "http deflate": Compression.Deflate}.get(kind)
            address = f"http://{server.ports.otlp_http}/v1/traces"
            exporter = HttpExporter(address, timeout=SECONDS, compression=compression)
        assert exporter.export(spans) is SpanExportResult.SUCCESS
        exporter.shutdown()
    assert contents(database_url_for_test) == in_process
    assert len(in_process["model_runs"]) == 3
