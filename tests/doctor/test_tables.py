"""What the tables tell of runs, clocks and contexts, on every database."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from otel_runs.doctor import clocks, contexts, runs
from otel_runs.doctor.finding import Finding
from otel_runs.store.engine import Database, open_database
from tests.query.rows import Rows, at

NOW = at(1000)
DAYS_AGO = NOW - timedelta(days=3)


@pytest.fixture
def rows(database: Database) -> Rows:
    return Rows(database)


def findings(rows: Rows, now: datetime = NOW, **environ: str) -> list[Finding]:
    found = list(runs.findings(rows.database, now, environ))
    found += clocks.findings(rows.database, now)
    return found + list(contexts.findings(rows.database))


def checks(rows: Rows, now: datetime = NOW, **environ: str) -> list[str]:
    return [finding.check for finding in findings(rows, now, **environ)]


def test_nothing_is_said_of_healthy_runs(rows: Rows) -> None:
    done = rows.run(1, steps=1, steps_expected=1)
    rows.model_run(done, 2, starts=2)
    rows.run(3, seconds=None, started_at=at(990), heartbeat_at=at(995))
    rows.run(4, seconds=None, started_at=at(990))
    rows.run(5, status="failed", stop_reason="lost", heartbeat_at=at(3))
    assert checks(rows) == []


def test_run_that_says_it_runs_and_gives_no_sign_of_life_is_told(rows: Rows) -> None:
    rows.run(1, seconds=None, started_at=at(0), heartbeat_at=at(900))
    (found,) = findings(rows)
    assert (found.check, "otel-runs reap" in found.do, "daily_sales (00000001)" in found.found) == (
        "silent-runs",
        True,
        True,
    )
    assert checks(rows, OTEL_RUNS_LOST_AFTER="200") == []
    assert checks(rows, OTEL_RUNS_LOST_AFTER="much") == checks(rows, OTEL_RUNS_LOST_AFTER="1e300") == ["silent-runs"]
    assert checks(rows, OTEL_RUNS_LOST_AFTER="0") == checks(rows, OTEL_RUNS_LOST_AFTER="1000000000") == []


def test_run_without_heartbeats_is_told_after_a_day(rows: Rows) -> None:
    rows.run(1, seconds=None, started_at=NOW - timedelta(hours=23))
    assert checks(rows) == []
    rows.run(2, seconds=None, started_at=DAYS_AGO)
    assert checks(rows) == ["endless-runs"]


def test_run_whose_own_span_never_came_is_told(rows: Rows) -> None:
    rows.run(1, seconds=None, started_at=DAYS_AGO, root_span_id=None)
    [found] = findings(rows)
    assert found.check == "rootless-runs"
    assert "TRACEPARENT" in found.means


def test_missing_steps_are_told_with_their_number(rows: Rows) -> None:
    rows.run(1, steps=3, steps_expected=5)
    rows.run(2, steps=0, steps_expected=2)
    (found,) = findings(rows)
    assert (found.check, "4 steps" in found.found, "2 runs have" in found.found) == ("missing-steps", True, True)


@pytest.mark.parametrize("column", ["started_at", "heartbeat_at"])
def test_times_in_the_future_are_told_with_how_far(rows: Rows, column: str) -> None:
    rows.run(1, seconds=None, **{"started_at": at(999), "heartbeat_at": at(999), column: NOW + timedelta(seconds=1)})
    assert checks(rows) == []
    rows.run(2, seconds=None, **{"started_at": at(999), "heartbeat_at": at(999), column: NOW + timedelta(seconds=90)})
    (found,) = findings(rows)
    assert (found.check, "90 s ahead" in found.found) == ("future-times", True)


def test_step_that_starts_before_what_it_is_in_is_told_if_by_more_than_clocks_differ(rows: Rows) -> None:
    run = rows.run(100, started_at=at(100))
    step = rows.model_run(run, 1, "load", starts=100)
    rows.model_run(run, 2, "near", starts=99, parent_id=step)
    assert checks(rows) == []
    rows.model_run(run, 3, "early", starts=70)
    rows.model_run(rows.run(200, started_at=at(200)), 4, "outer", starts=240)
    (found,) = findings(rows)
    assert (found.check, "1 step starts up to 30 s before" in found.found) == ("early-steps", True)
    assert "early in daily_sales (00000064)" in found.found


def test_step_that_starts_before_the_step_around_it_is_told(rows: Rows) -> None:
    run = rows.run(100, started_at=at(100))
    step = rows.model_run(run, 1, "load", starts=150)
    rows.model_run(run, 2, "early", starts=120, parent_id=step)
    (found,) = findings(rows)
    assert "early in load" in found.found


def test_runs_that_start_when_nothing_else_runs_have_lost_no_context(rows: Rows) -> None:
    rows.run(1, name="nightly", started_at=at(0), seconds=100, service_name="shop")
    for number in range(2, 6):
        rows.run(number, name="ping", started_at=at(number), seconds=1, service_name="shop")
    rows.run(9, name="ping", started_at=at(200), seconds=1, service_name="shop")
    assert checks(rows) == []


def test_runs_of_another_service_have_lost_no_context(rows: Rows) -> None:
    rows.run(1, name="nightly", started_at=at(0), seconds=100, service_name="shop")
    for number in range(2, 6):
        rows.run(number, name="embed", started_at=at(number), seconds=1, service_name="web")
    assert checks(rows) == []


def test_steps_in_threads_without_their_context_are_told_and_those_with_it_are_not(tmp_path: Path) -> None:
    program = tmp_path / "pipeline.py"
    for function, expected in (("embed", ["lost-contexts"]), ("carry(embed)", [])):
        history = tmp_path / f"{len(expected)}.db"
        program.write_text(
            "from concurrent.futures import ThreadPoolExecutor\n"
            "from otel_runs import carry, configure, run, step\n"
            "@step\n"
            "def embed(number): return number\n"
            "@run\n"
            "def nightly():\n"
            f"    with ThreadPoolExecutor(2) as pool: list(pool.map({function}, range(5)))\n"
            f"configure({str(history)!r})\n"
            "nightly()\n"
        )
        subprocess.run([sys.executable, program], timeout=60, check=True)
        with open_database(history) as opened:
            assert [finding.check for finding in contexts.findings(opened)] == expected
