"""Real servers for the Collector path: each test gets its own, but for Jaeger and Kafka, which all tests share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import pytest

from tests.servers.collector import Collector
from tests.servers.jaeger import Jaeger
from tests.servers.kafka import Kafka
from tests.servers.serve import Serve
from tests.servers.service import running

StartCollector = Callable[..., Collector]
StartServe = Callable[..., Serve]
StartProduction = Callable[..., Collector]


@pytest.fixture
def start_collector() -> Iterator[StartCollector]:
    """Starts Collectors with files of ``collector-config/``; stops them at the end.

    What they have complained about is printed, which pytest shows of a test that fails.
    """
    with ExitStack() as stack:

        def start(*configs: str, environ: Mapping[str, str]) -> Collector:
            collector = stack.enter_context(running(lambda: Collector(*configs, environ=environ)))
            stack.callback(lambda: print(collector.complaints()))
            return collector

        yield start


@pytest.fixture
def start_serve() -> Iterator[StartServe]:
    """Starts ``otel-runs serve``, on SQLite where the test names no database; stops it at the end."""
    with ExitStack() as stack:

        def start(database: str | None = None, *, guarded: bool = False) -> Serve:
            return stack.enter_context(running(lambda: Serve(database, guarded=guarded)))

        yield start


@pytest.fixture
def serve(start_serve: StartServe) -> Serve:
    return start_serve()


@pytest.fixture(scope="session")
def jaeger() -> Iterator[Jaeger]:
    with running(Jaeger) as server:
        yield server


@pytest.fixture(scope="session")
def kafka() -> Iterator[Kafka]:
    with running(Kafka) as server:
        yield server


@pytest.fixture
def guarded(start_serve: StartServe) -> Serve:
    """A server that only those with its token may send to."""
    return start_serve(guarded=True)


def environ_of_production(serve: Serve, jaeger: str) -> dict[str, str]:
    """What production.yaml asks for: a guarded server, and the address of Jaeger."""
    assert serve.certificate is not None
    return {
        "RUNS_OTLP_HTTP": serve.http,
        "RUNS_CA_FILE": str(serve.certificate.file),
        "RUNS_TOKEN_FILE": str(serve.token_file),
        "JAEGER_OTLP_GRPC": jaeger,
    }


@pytest.fixture
def start_production(start_collector: StartCollector, guarded: Serve, jaeger: Jaeger) -> StartProduction:
    """Starts Collectors with production.yaml in front of the server and of Jaeger."""

    def start(*more: str, **environ: str) -> Collector:
        return start_collector("production.yaml", *more, environ=environ_of_production(guarded, jaeger.grpc) | environ)

    return start
