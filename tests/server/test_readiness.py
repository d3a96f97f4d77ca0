"""Ready is a server that can store spans, not one whose database merely answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest
from grpc_health.v1.health_pb2 import HealthCheckResponse
from sqlalchemy import make_url

from otel_runs.ingest import Ingest
from otel_runs.ingest.race import RaceError
from otel_runs.server import run_store, writes
from tests.server.requests import new_request
from tests.server.running import ThreadedServer, serving
from tests.server.test_overload import locked
from tests.servers.postgres import VERSIONS
from tests.stored_names import names_in
from tests.waiting import wait_until

newest_postgres = pytest.mark.parametrize("database_url_for_test", [f"postgres{max(VERSIONS)}"], indirect=True)


@contextmanager
def connected(url: str) -> Iterator[psycopg.Connection]:
    """A connection of somebody else, in a transaction."""
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    with closing(psycopg.connect(address)) as connection:
        yield connection


def assert_ready_without_a_write(server: ThreadedServer) -> None:
    wait_until(lambda: server.request("GET", "/readyz").code == 200, what="a server that is ready")
    assert server.health() == HealthCheckResponse.SERVING


def test_server_whose_last_write_failed_is_not_ready_until_its_database_takes_writes(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writes, "HOLD_SECONDS", 0.1)
    with serving(f"{sqlite_url}?timeout=0.05") as server:
        with locked(sqlite_url):
            assert server.request("GET", "/readyz").code == 200, "nothing has shown yet that it is not"
            assert server.post(new_request()).code == 503
            time.sleep(0.2)
            ready = server.request("GET", "/readyz")
            assert (ready.code, ready.body[:40]) == (503, b"the run database does not take spans now")
            assert server.health() == HealthCheckResponse.NOT_SERVING
        assert_ready_without_a_write(server)


def test_server_is_ready_as_soon_as_a_write_succeeds(sqlite_url: str) -> None:
    with serving(f"{sqlite_url}?timeout=0.05") as server:
        with locked(sqlite_url):
            assert server.post(new_request()).code == 503
        assert server.request("GET", "/readyz").code == 503, "a full disk, too, would take a write that is small enough"
        assert server.post(new_request()).code == 200
        assert server.request("GET", "/readyz").code == 200


def test_race_that_was_lost_says_nothing_against_the_database(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(*_: object) -> set[str]:
        raise RaceError

    with serving(sqlite_url) as server:
        monkeypatch.setattr(Ingest, "_settle", lose)
        assert server.post(new_request()).code == 503
        assert server.request("GET", "/readyz").code == 200


@newest_postgres
def test_server_is_not_ready_while_a_table_is_missing(
    database_url_for_test: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writes, "HOLD_SECONDS", 0.1)
    with serving(database_url_for_test) as server:
        with connected(database_url_for_test) as other:
            other.execute("ALTER TABLE runs RENAME TO elsewhere")
            other.commit()
            assert server.post(new_request()).code == 503
            time.sleep(0.2)
            assert server.request("GET", "/readyz").code == 503
            other.execute("ALTER TABLE elsewhere RENAME TO runs")
            other.commit()
        assert_ready_without_a_write(server)


@newest_postgres
def test_request_that_finds_a_table_locked_is_asked_for_again_in_time(
    database_url_for_test: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_store, "_LOCK_SECONDS", 1)
    request = new_request()
    with serving(database_url_for_test) as server:
        with connected(database_url_for_test) as other:
            other.execute("LOCK TABLE runs IN ACCESS EXCLUSIVE MODE")
            start = time.monotonic()
            answer = server.post(request)
            assert (answer.code, answer.headers["retry-after"]) == (503, "5")
            assert time.monotonic() - start < 5
            assert server.request("GET", "/readyz").code == 503
        assert server.post(request).code == 200
    assert names_in(database_url_for_test) == ["nightly", "step 0", "step 1"]
