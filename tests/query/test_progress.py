"""How far a run is, and what earlier runs let expect, on every database."""

from __future__ import annotations

from datetime import UTC, datetime
from statistics import median

from hypothesis import given
from hypothesis import strategies as st

from otel_runs.ids import model_id_from_path
from otel_runs.query.progress import (
    EARLIER_RUNS,
    SKEW_TOLERATED,
    Expectation,
    Progress,
    RunningStep,
    expectation,
    expected_step_seconds,
    get_progress,
    timing,
)
from otel_runs.query.results import StoredRun
from otel_runs.query.runs import get_run
from tests.query.rows import Rows, at

NOTHING = Expectation(0, None, None)


def seen(rows: Rows, run: str) -> Progress:
    found = get_progress(rows.database, run)
    assert found is not None
    return found


def expected(rows: Rows, run: str) -> Expectation:
    return expectation(rows.database, get_run(rows.database, run))


def test_steps_that_ended_and_steps_that_run_are_told_apart(rows: Rows) -> None:
    run = rows.run(1, seconds=None)
    for number, status in enumerate(("success", "failed", "skipped", "cancelled"), start=1):
        rows.model_run(run, number, status=status)
    rows.model_run(run, 8, "embed", seconds=None, starts=3)
    rows.model_run(run, 9, "later", seconds=None, starts=4, status="pending")
    found = seen(rows, run)
    assert (found.ended, found.seen) == (4, 6)
    assert [(step.name, step.started_at) for step in found.running] == [("embed", at(3)), ("later", at(4))]


def test_nested_runs_and_their_steps_are_counted_with_the_run(rows: Rows) -> None:
    run = rows.run(1, seconds=None)
    window = rows.nested_run(run, 2, name="window_1")
    rows.model_run(window, 3)
    rows.nested_run(window, 4, name="window_1a", seconds=None)
    found = seen(rows, run)
    assert (found.ended, found.seen) == (2, 3)
    assert [(step.name, step.kind, step.model_id) for step in found.running] == [("window_1a", "run", None)]


def test_steps_of_other_runs_are_not_counted(rows: Rows) -> None:
    run, other = rows.run(1, seconds=None), rows.run(2, seconds=None)
    rows.model_run(other, 3)
    assert (seen(rows, run).ended, seen(rows, run).seen) == (0, 0)


def test_progress_of_a_run_that_is_not_there_is_none(rows: Rows) -> None:
    assert get_progress(rows.database, "00000000-0000-0000-0000-000000000000") is None


def test_median_of_successful_runs_of_the_same_name_and_environment_is_expected(rows: Rows) -> None:
    for number, seconds in enumerate((10.0, 30.0, 11.0), start=1):
        rows.run(number, seconds=seconds)
    rows.run(4, seconds=99.0, status="failed")
    rows.run(5, seconds=99.0, name="other")
    rows.run(6, seconds=99.0, environment="production")
    rows.run(7, seconds=12.0, status="degraded")
    rows.run(9, seconds=99.0)  # started later than the one that is asked about
    run = rows.run(8, seconds=None)
    assert expected(rows, run)[:2] == (4, median([10.0, 30.0, 11.0, 12.0]))


def test_nothing_is_expected_of_the_first_run(rows: Rows) -> None:
    assert expected(rows, rows.run(1, seconds=None)) == NOTHING


def test_nested_run_is_compared_with_nested_runs_only(rows: Rows) -> None:
    parent = rows.run(1, name="window", seconds=100.0)
    rows.nested_run(parent, 2, name="window", seconds=3.0)
    nested = rows.nested_run(parent, 5, name="window", seconds=None)
    assert expected(rows, nested)[:2] == (1, 3.0)
    assert expected(rows, rows.run(6, name="window", seconds=None))[:2] == (1, 100.0)


def test_expectation_rests_on_the_latest_runs(rows: Rows) -> None:
    for number in range(EARLIER_RUNS + 5):
        rows.run(number, seconds=1000.0 if number < 5 else 1.0)
    assert expected(rows, rows.run(900, seconds=None))[:2] == (EARLIER_RUNS, 1.0)


def test_known_steps_are_those_of_the_latest_successful_run_with_its_nested_runs(rows: Rows) -> None:
    old, latest = rows.run(1), rows.run(2)
    for number in range(10, 15):
        rows.model_run(old, number)
    rows.model_run(latest, 20)
    rows.model_run(rows.nested_run(latest, 21), 22)
    assert expected(rows, rows.run(3, seconds=None)).steps == 3


def test_step_is_expected_to_take_the_median_of_its_last_successes_in_the_environment(rows: Rows) -> None:
    run, elsewhere = rows.run(1), rows.run(2, environment="production")
    for number, seconds in enumerate((1.0, 5.0, 2.0), start=1):
        rows.model_run(run, number, "embed", seconds=seconds, starts=number)
    rows.model_run(run, 8, "embed", seconds=900.0, status="failed")
    rows.model_run(elsewhere, 9, "embed", seconds=900.0)
    rows.model_run(run, 7, "new", seconds=None)
    embed, new = model_id_from_path("embed"), model_id_from_path("new")
    assert expected_step_seconds(rows.database, [embed, new], "default") == {embed: 2.0}


def a_run(started_at: datetime, heartbeat_at: datetime | None = None) -> StoredRun:
    nothing = StoredRun._make([None] * len(StoredRun._fields))
    return nothing._replace(started_at=started_at, heartbeat_at=heartbeat_at)


BOUNDS = datetime(2020, 1, 1), datetime(2030, 1, 1)  # noqa: DTZ001  hypothesis takes no others
moments = st.datetimes(*BOUNDS, timezones=st.just(UTC))


@given(started=moments, heartbeat=st.none() | moments, step=moments, now=moments, usual=st.none() | st.floats(0, 1e9))
def test_times_are_never_negative_whatever_the_clocks_say(
    started: datetime, heartbeat: datetime | None, step: datetime, now: datetime, usual: float | None
) -> None:
    progress = Progress(a_run(started, heartbeat), 0, 1, [RunningStep("1", "load", "step", None, step)])
    found = timing(progress, Expectation(3, usual, None), now)
    assert found.elapsed >= 0
    assert found.silent is None or found.silent >= 0
    assert (found.silent is None) == (heartbeat is None)
    assert (found.remaining is None) == (usual is None)
    assert found.remaining is None or found.remaining == max(0, (usual or 0) - found.elapsed)
    # By the run's own clock it has run at least this long.
    newest = max(started, step, heartbeat or started)
    assert found.elapsed >= (newest - started).total_seconds()
    assert (found.skew is None) == (newest - now <= SKEW_TOLERATED)


@given(behind=st.integers(0, 10**6), fresh=st.floats(0, 1e6))
def test_run_whose_clock_is_behind_is_not_silent_while_its_heartbeats_are_seen_to_come(
    behind: int, fresh: float
) -> None:
    progress = Progress(a_run(at(0), at(0)), 0, 0, [])
    silent = timing(progress, NOTHING, at(behind), fresh=fresh).silent
    assert silent == min(behind, fresh)
