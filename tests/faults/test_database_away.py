"""The database goes away under a running pipeline, in every way in which databases go, and comes back."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

import pytest

from tests.faults.amounts import amount
from tests.faults.history import names
from tests.faults.steered import Steered
from tests.programs import Programs
from tests.servers.missing import ServerMissingError, skip_or_fail
from tests.servers.postgres import PostgresServer

LOCKED_SECONDS: Final = amount("OTEL_RUNS_TEST_LOCKED", here=3, in_ci_=30)

Act = Callable[[PostgresServer], None]


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A server of its own, because it is stopped; one that waits for the disk, as PostgreSQL does by default."""
    try:
        server = PostgresServer(18, fsync=True)
    except ServerMissingError as exc:
        skip_or_fail(str(exc))
    yield server
    server.stop()


@pytest.mark.parametrize(
    ("away", "back"),
    [(PostgresServer.pause, PostgresServer.restart), (PostgresServer.crash, PostgresServer.restart)],
    ids=["stopped and started", "killed and recovered"],
)
def test_database_that_goes_away_and_comes_back_under_a_pipeline_has_every_step(
    programs: Programs, postgres: PostgresServer, away: Act, back: Act
) -> None:
    with Steered(programs, postgres.url) as pipeline:
        pipeline.work()
        pipeline.flush()
        confirmed = pipeline.steps
        away(postgres)
        pipeline.work()
        pipeline.await_failure()
        pipeline.work()
        back(postgres)
        assert Counter(f"step {number}" for number in range(confirmed)) <= names(postgres.url)
        pipeline.work()
        print(pipeline.end())
    pipeline.replay()

    assert names(postgres.url) == pipeline.names


def test_frozen_database_delays_no_step_and_has_all_of_them_when_it_thaws(
    programs: Programs, postgres: PostgresServer
) -> None:
    with Steered(programs, postgres.url) as pipeline:
        pipeline.work()
        pipeline.flush()
        postgres.freeze()
        try:
            pipeline.work()
            pipeline.await_hanging()
            pipeline.work()
        finally:
            postgres.thaw()
        print(pipeline.end())
    pipeline.replay()

    assert names(postgres.url) == pipeline.names


def test_sqlite_locked_by_another_process_has_every_step_when_it_is_free(programs: Programs) -> None:
    url = f"sqlite:///{programs.database}"
    with Steered(programs, url) as pipeline:
        pipeline.work()
        pipeline.flush()
        other = sqlite3.connect(programs.database, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        until = time.monotonic() + LOCKED_SECONDS
        while time.monotonic() < until:
            pipeline.work()
            time.sleep(0.1)
        other.execute("ROLLBACK")
        other.close()
        print(pipeline.end())
    pipeline.replay()

    assert names(url) == pipeline.names
