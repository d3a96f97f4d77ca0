"""Scale-out: kafka-producer.yaml, a real Kafka, kafka-consumer.yaml."""

from __future__ import annotations

import uuid
from typing import Final

import pytest

from tests.collector.conftest import StartCollector
from tests.collector.history import wait_for_all
from tests.collector.spans import SPANS_A_TRACE, Sending, Traces
from tests.servers.jaeger import Jaeger
from tests.servers.kafka import Kafka
from tests.servers.serve import Serve
from tests.waiting import wait_until

TRACES: Final = 1000
SECONDS: Final = 50


@pytest.fixture
def topics(kafka: Kafka, serve: Serve, jaeger: Jaeger) -> dict[str, str]:
    """The environment of both tiers, with topics of the test's own."""
    name = uuid.uuid4().hex
    return {
        "KAFKA_BROKERS": kafka.broker,
        "KAFKA_TRACES_TOPIC": f"spans-{name}",
        "KAFKA_LOGS_TOPIC": f"logs-{name}",
        "RUNS_OTLP_GRPC": serve.grpc,
        "JAEGER_OTLP_GRPC": jaeger.grpc,
    }


def wait_for_jaeger(jaeger: Jaeger, trace_ids: list[str]) -> None:
    """Wait until Jaeger has all spans of these traces."""
    wait_until(
        lambda: all(len(jaeger.spans_of(id_)) == SPANS_A_TRACE for id_ in trace_ids), what="the traces in Jaeger"
    )


def test_all_spans_come_through_kafka_though_a_consumer_is_killed(
    start_collector: StartCollector, topics: dict[str, str], serve: Serve, jaeger: Jaeger
) -> None:
    producer = start_collector("kafka-producer.yaml", environ=topics)
    traces = Traces(TRACES)
    sending = Sending(producer.http, traces.requests(), seconds=SECONDS)
    sending.wait_for(10)
    consumer = start_collector("kafka-consumer.yaml", environ=topics)
    wait_until(lambda: consumer.metric("otelcol_exporter_sent_spans") > 0, what="the first span out of Kafka")
    consumer.kill()
    consumer.start()
    sending.finish()

    wait_for_all(serve.database, traces, seconds=SECONDS)
    wait_for_jaeger(jaeger, traces.ids()[::100])


def test_what_otel_runs_cannot_take_now_waits_in_kafka_while_jaeger_has_it(
    start_collector: StartCollector, topics: dict[str, str], serve: Serve, jaeger: Jaeger
) -> None:
    serve.kill()
    producer = start_collector("kafka-producer.yaml", environ=topics)
    traces = Traces(20)
    Sending(producer.http, traces.requests(), seconds=SECONDS).finish()
    start_collector("kafka-consumer.yaml", environ=topics)
    wait_for_jaeger(jaeger, traces.ids())
    serve.start()

    wait_for_all(serve.database, traces, seconds=SECONDS)
