"""50,000 spans on their way, and ``kill -9`` of one process after another: everything acknowledged is stored, once.

Senders do what an SDK does: they repeat a request until it is acknowledged, and never after. So a span that the
Collector has acknowledged and lost would be missing in the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from tests.collector.conftest import StartCollector, StartProduction, StartServe
from tests.collector.history import wait_for_all
from tests.collector.spans import Sending, Traces
from tests.servers.jaeger import Jaeger
from tests.servers.missing import ServerMissingError, skip_or_fail
from tests.servers.postgres import PostgresServer
from tests.servers.serve import Serve

TRACES: Final = 1000
"""Of 50 spans each."""
SECONDS: Final = 50


def test_killed_collector_loses_nothing_that_it_has_acknowledged(
    start_production: StartProduction, guarded: Serve
) -> None:
    collector = start_production()
    traces = Traces(TRACES)
    sending = Sending(collector.http, traces.requests(), seconds=SECONDS)
    for _ in range(2):
        sending.wait_for(25)
        collector.kill()
        collector.start()
    sending.finish()

    wait_for_all(guarded.database, traces, seconds=SECONDS)


def test_spans_that_wait_on_disk_while_the_server_is_away_survive_the_collector(
    start_production: StartProduction, guarded: Serve
) -> None:
    collector = start_production()
    guarded.kill()
    traces = Traces(TRACES)
    Sending(collector.http, traces.requests(), seconds=SECONDS).finish()
    collector.kill()
    guarded.start()
    collector.start()

    wait_for_all(guarded.database, traces, seconds=SECONDS)


def test_killed_server_has_everything_once_it_is_back(
    start_collector: StartCollector, serve: Serve, jaeger: Jaeger
) -> None:
    collector = start_collector("local.yaml", environ={"RUNS_OTLP_GRPC": serve.grpc, "JAEGER_OTLP_GRPC": jaeger.grpc})
    traces = Traces(TRACES)
    sending = Sending(collector.http, traces.requests(), seconds=SECONDS)
    for _ in range(2):
        sending.wait_for(25)
        serve.kill()
        serve.start()
    sending.finish()

    wait_for_all(serve.database, traces, seconds=SECONDS)


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A server of the test's own that keeps what it has committed, as in production."""
    try:
        server = PostgresServer(18, fsync=True)
    except ServerMissingError as exc:
        skip_or_fail(str(exc))
    yield server
    server.stop()


def test_killed_database_has_everything_once_it_is_back(
    start_collector: StartCollector, start_serve: StartServe, jaeger: Jaeger, postgres: PostgresServer
) -> None:
    serve = start_serve(postgres.url)
    collector = start_collector("local.yaml", environ={"RUNS_OTLP_GRPC": serve.grpc, "JAEGER_OTLP_GRPC": jaeger.grpc})
    traces = Traces(TRACES)
    sending = Sending(collector.http, traces.requests(), seconds=SECONDS)
    sending.wait_for(25)
    postgres.crash()
    sending.wait_for(25)
    postgres.restart()
    sending.finish()

    wait_for_all(serve.database, traces, seconds=SECONDS)
