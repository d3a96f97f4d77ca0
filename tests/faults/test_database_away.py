"""The database goes away under a running pipeline, in every way in which databases go, and comes back."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

import pytest

from tests.faults.amounts import amount
from tests.faults.history import names
from tests.faults.steered import Steered
from tests.programs import Programs
from tests.servers.postgres import PostgresServer

LOCKED_SECONDS: Final = amount("OTEL_RUNS_TEST_LOCKED", here=3, in_ci_=30)

Act = Callable[[PostgresServer], None]


@pytest.mark.parametrize(
    ("away", "back"),
    [(PostgresServer.pause, PostgresServer.restart), (PostgresServer.crash, PostgresServer.restart)],
    ids=["stopped and started", "killed and recovered"],
)
def test_database_that_goes_away_and_comes_back_under_a_pipeline_has_every_step(
    programs: Programs, own_postgres: PostgresServer, away: Act, back: Act
) -> None:
    with Steered(programs, own_postgres.url) as pipeline:
        pipeline.work()
        pipeline.flush()
        confirmed = pipeline.steps
        away(own_postgres)
        pipeline.work()
        pipeline.await_failure()
        pipeline.work()
        back(own_postgres)
        assert Counter(f"step {number}" for number in range(confirmed)) <= names(own_postgres.url)
        pipeline.work()
        print(pipeline.end())
    pipeline.replay()

    assert names(own_postgres.url) == pipeline.names


def test_frozen_database_delays_no_step_and_has_all_of_them_when_it_thaws(
    programs: Programs, own_postgres: PostgresServer
) -> None:
    with Steered(programs, own_postgres.url) as pipeline:
        pipeline.work()
        pipeline.flush()
        own_postgres.freeze()
        try:
            pipeline.work()
            pipeline.await_hanging()
            pipeline.work()
        finally:
            own_postgres.thaw()
        print(pipeline.end())
    pipeline.replay()

    assert names(own_postgres.url) == pipeline.names


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
