"""Scale-out: Collectors with kafka.yaml around a real Kafka."""

from __future__ import annotations

from itertools import cycle
from typing import Final

import pytest

from tests.collector.conftest import StartCollector
from tests.collector.history import ids_in, wait_for_all
from tests.collector.spans import SPANS_A_TRACE, Sending, Traces
from tests.servers.collector import Collector
from tests.servers.jaeger import Jaeger
from tests.servers.kafka import Kafka
from tests.servers.serve import Serve
from tests.waiting import wait_until

TRACES: Final = 1000
SECONDS: Final = 50


@pytest.fixture
def environ(kafka: Kafka, serve: Serve, jaeger: Jaeger) -> dict[str, str]:
    """What Collectors that work together share, with topics of the test's own."""
    return {"RUNS_OTLP_GRPC": serve.grpc, "JAEGER_OTLP_GRPC": jaeger.grpc, **kafka.new_topics()}


def wait_for_jaeger(jaeger: Jaeger, trace_ids: list[str]) -> None:
    """Wait until Jaeger has all spans of these traces."""
    wait_until(
        lambda: all(len(jaeger.spans_of(id_)) == SPANS_A_TRACE for id_ in trace_ids), what="the traces in Jaeger"
    )


def delivered(collector: Collector) -> float:
    """How many spans this Collector has brought from Kafka to otel-runs."""
    return collector.metric("otelcol_exporter_sent_spans", "otlp_grpc/runs")


def test_all_spans_come_through_kafka_though_one_of_two_collectors_is_killed(
    start_collector: StartCollector, environ: dict[str, str], serve: Serve, jaeger: Jaeger
) -> None:
    first, second = (start_collector("kafka.yaml", environ=environ) for _ in range(2))
    traces = Traces(TRACES)
    requests = traces.requests()
    again_and_again = cycle(requests[:10])

    def second_has_a_share() -> bool:
        Sending(first.http, [next(again_and_again)], seconds=SECONDS).finish()
        return delivered(second) > 0

    wait_until(second_has_a_share, what="a delivery by the second Collector")
    sending = Sending(first.http, requests, seconds=SECONDS, held_back=10)
    sending.wait_for(20)
    second.kill()  # Kafka gives its partitions to the first
    sending.finish()

    wait_for_all(serve.database, traces, seconds=SECONDS)
    wait_for_jaeger(jaeger, traces.ids()[::100])


def test_every_trace_lies_in_one_partition(
    start_collector: StartCollector, environ: dict[str, str], serve: Serve, kafka: Kafka
) -> None:
    collector = start_collector("kafka.yaml", "filter-noise.yaml", "redact-prompts.yaml", environ=environ)
    traces = Traces(20)
    for _ in range(3):  # late spans of a trace follow it
        Sending(collector.http, traces.requests(), seconds=SECONDS).finish()
    wait_for_all(serve.database, traces, seconds=SECONDS)
    collector.pause()

    partitions = kafka.keys_of(environ["KAFKA_TRACES_TOPIC"])
    assert len([keys for keys in partitions if keys]) > 1
    assert sorted(key for keys in partitions for key in keys) == sorted(traces.ids())


def test_a_trace_that_is_larger_than_a_message_takes_nothing_with_it(
    start_collector: StartCollector, environ: dict[str, str], serve: Serve
) -> None:
    collector = start_collector("kafka.yaml", environ=environ)
    large, others = Traces(2, prompt=30_000), Traces(20)
    requests = [request for pair in zip(large.requests(of=1), others.requests(of=10), strict=True) for request in pair]
    Sending(collector.http, requests, seconds=SECONDS).finish()

    wanted = large.run_ids() | others.run_ids(), large.step_ids() | others.step_ids()
    wait_until(lambda: ids_in(serve.database) == wanted, what="every span of both")


def test_what_otel_runs_cannot_take_now_is_not_marked_as_read_while_jaeger_has_it(
    start_collector: StartCollector, environ: dict[str, str], serve: Serve, jaeger: Jaeger
) -> None:
    serve.kill()
    collector = start_collector("kafka.yaml", environ=environ)
    traces = Traces(20)
    Sending(collector.http, traces.requests(), seconds=SECONDS).finish()
    wait_for_jaeger(jaeger, traces.ids())
    # A second or more between two attempts: long enough to commit a mark that should not be there.
    refused = "otelcol_exporter_send_failed_spans"
    wait_until(lambda: collector.metric(refused, "otlp_grpc/runs") > 10 * SPANS_A_TRACE, what="another attempt")
    collector.kill()
    serve.start()
    collector.start()

    wait_for_all(serve.database, traces, seconds=SECONDS)


def test_what_kafka_cannot_take_now_survives_the_collector(
    start_collector: StartCollector, environ: dict[str, str], serve: Serve, kafka: Kafka
) -> None:
    collector = start_collector("kafka.yaml", environ=environ)
    kafka.kill()
    traces = Traces(20)
    Sending(collector.http, traces.requests(), seconds=SECONDS).finish()
    collector.kill()
    kafka.start()
    collector.start()

    wait_for_all(serve.database, traces, seconds=SECONDS)
