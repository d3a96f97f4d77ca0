"""Fixtures that all tests share: a fresh database for each test, on every kind of database at hand."""

from __future__ import annotations

# Before any provider is made: in a forked child the SDK's (1.45) uses its lock, which stays the parent's there if its
# handlers of forks come after the provider's. Tests that fork would then wait for ever.
import concurrent.futures.thread  # noqa: F401  loaded for its handlers of forks
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import URL, make_url

from otel_runs.counters import counters
from otel_runs.store.engine import Database, open_database
from tests.programs import Programs
from tests.servers.missing import ServerMissingError, needed, skip_or_fail
from tests.servers.postgres import VERSIONS, PostgresServer

_POSTGRESES = [f"postgres{version}" for version in VERSIONS]
# The URL of one more server, for instance a PostgreSQL 15 or 17: tested like the others.
_OTHER_SERVER = os.environ.get("OTEL_RUNS_TEST_POSTGRES")
if _OTHER_SERVER:
    _POSTGRESES.append("postgres-other")

NewPostgresUrl = Callable[[], str]


def pytest_configure() -> None:
    """Hear signals that a shell's background jobs and nohup ignore: programs that tests start would ignore them, too.

    Not in each program before it begins (``preexec_fn``): that forks this process, in which gRPC may have threads, and
    what gRPC then complains of ("epoll_wait error: Bad file descriptor") is in the program's stderr.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def _settings_of_this_machine_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a developer has set for otel_runs or OpenTelemetry changes no test."""
    for name in list(os.environ):
        if name.startswith("OTEL_") and not name.startswith("OTEL_RUNS_TEST_"):
            monkeypatch.delenv(name)


@pytest.fixture
def _counters_at_zero() -> Iterator[None]:
    counters.reset()
    yield
    counters.reset()


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    return Programs(tmp_path)


@pytest.fixture(scope="session")
def server_url() -> Iterator[Callable[[str], str]]:
    """The URL of a PostgreSQL server, by its name; started when first asked for, stopped at the end."""
    started: list[PostgresServer] = []

    @cache
    def url_of(name: str) -> str:
        if name == "postgres-other":
            return str(_OTHER_SERVER)
        try:
            server = PostgresServer(int(name.removeprefix("postgres")))
        except ServerMissingError as exc:
            return f"missing: {exc}"
        started.append(server)
        return server.url

    def url_or_skip(name: str) -> str:
        url = url_of(name)
        if url.startswith("missing: "):
            skip_or_fail(url)
        return url

    yield url_or_skip
    for server in started:
        server.stop()


@pytest.fixture
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server that the test may stop or kill. It waits for the disk, as PostgreSQL does by default."""
    with needed():
        server = PostgresServer(18, fsync=True)
    yield server
    server.stop()


@contextmanager
def _schemas(server: str) -> Iterator[NewPostgresUrl]:
    """Makes schemas, and drops them at the end."""
    url = make_url(server)
    names: list[str] = []

    def new_url() -> str:
        names.append(f"test_{uuid.uuid4().hex}")
        _execute(url, f"CREATE SCHEMA {names[-1]}")
        return url.update_query_dict({"options": f"-csearch_path={names[-1]}"}).render_as_string(hide_password=False)

    try:
        yield new_url
    finally:
        for name in names:
            # A lock that a connection of the test still holds must fail the test, not hang it.
            _execute(url, "SET lock_timeout = '10s'", f"DROP SCHEMA {name} CASCADE")


def _execute(url: URL, *statements: str) -> None:
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


@pytest.fixture(params=_POSTGRESES)
def new_postgres_url(request: pytest.FixtureRequest, server_url: Callable[[str], str]) -> Iterator[NewPostgresUrl]:
    """Makes URLs of fresh, empty schemas, on every PostgreSQL at hand."""
    with _schemas(server_url(request.param)) as new_url:
        yield new_url


@pytest.fixture(params=["sqlite", *_POSTGRESES])
def database_url_for_test(
    request: pytest.FixtureRequest, tmp_path: Path, server_url: Callable[[str], str]
) -> Iterator[str]:
    """The URL of a fresh, empty database, on every kind of database at hand."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'runs.db'}"
        return
    with _schemas(server_url(request.param)) as new_url:
        yield new_url()


@pytest.fixture
def database(database_url_for_test: str) -> Iterator[Database]:
    """A fresh database, open and migrated."""
    with open_database(database_url_for_test) as opened:
        yield opened
