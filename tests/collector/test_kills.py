"""50,000 spans on their way, and ``kill -9`` of one process after another: everything acknowledged is stored, once.

Senders do what an SDK does: they repeat a request until it is acknowledged, and never after. So a span that the
Collector has acknowledged and lost would be missing in the end.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.collector.conftest import StartCollector, StartProduction, StartServe, environ_of_production
from tests.collector.history import wait_for_all
from tests.collector.spans import Sending, Traces
from tests.servers.collector import Collector
from tests.servers.jaeger import Jaeger
from tests.servers.postgres import PostgresServer
from tests.servers.serve import Serve

TRACES: Final = 1000
"""Of 50 spans each, two in a request."""
SOME: Final = 100
"""Requests of the 500: so many are acknowledged before each kill, and so many are sent after the last."""
SECONDS: Final = 50


@pytest.fixture
def traces() -> Traces:
    return Traces(TRACES)


def flood(collector: Collector, traces: Traces) -> Sending:
    """Send them all."""
    return Sending(collector.http, traces.requests(of=2), seconds=SECONDS, held_back=SOME)


def test_killed_collector_loses_nothing_that_it_has_acknowledged(
    start_production: StartProduction, guarded: Serve, traces: Traces
) -> None:
    collector = start_production()
    sending = flood(collector, traces)
    for _ in range(2):
        sending.wait_for(SOME)
        collector.kill()
        collector.start()
    sending.finish()

    wait_for_all(guarded.database, traces, seconds=SECONDS)


def test_spans_that_wait_on_disk_while_the_server_is_away_survive_the_collector(
    start_production: StartProduction, guarded: Serve, traces: Traces
) -> None:
    collector = start_production()
    guarded.kill()
    flood(collector, traces).finish()
    collector.kill()
    guarded.start()
    collector.start()

    wait_for_all(guarded.database, traces, seconds=SECONDS)


def test_killed_server_has_everything_once_it_is_back(
    start_collector: StartCollector, serve: Serve, jaeger: Jaeger, traces: Traces
) -> None:
    collector = start_collector("local.yaml", environ={"RUNS_OTLP_GRPC": serve.grpc, "JAEGER_OTLP_GRPC": jaeger.grpc})
    sending = flood(collector, traces)
    for _ in range(2):
        sending.wait_for(SOME)
        serve.kill()
        serve.start()
    sending.finish()

    wait_for_all(serve.database, traces, seconds=SECONDS)


def test_killed_database_has_everything_once_it_is_back(
    start_collector: StartCollector,
    start_serve: StartServe,
    jaeger: Jaeger,
    own_postgres: PostgresServer,
    traces: Traces,
) -> None:
    serve = start_serve(own_postgres.url)
    collector = start_collector("local.yaml", environ={"RUNS_OTLP_GRPC": serve.grpc, "JAEGER_OTLP_GRPC": jaeger.grpc})
    sending = flood(collector, traces)
    sending.wait_for(SOME)
    own_postgres.crash()
    sending.wait_for(SOME)
    own_postgres.restart()
    sending.finish()

    wait_for_all(serve.database, traces, seconds=SECONDS)


def test_database_server_and_collector_killed_one_after_another_lose_nothing_that_was_acknowledged(
    start_collector: StartCollector,
    start_serve: StartServe,
    jaeger: Jaeger,
    own_postgres: PostgresServer,
    traces: Traces,
) -> None:
    serve = start_serve(own_postgres.url, guarded=True)
    collector = start_collector("production.yaml", environ=environ_of_production(serve, jaeger.grpc))
    sending = flood(collector, traces)
    for kill in (own_postgres.crash, serve.kill, collector.kill):
        sending.wait_for(SOME)
        kill()
    own_postgres.restart()
    serve.start()
    collector.start()
    sending.finish()

    wait_for_all(serve.database, traces, seconds=SECONDS)
