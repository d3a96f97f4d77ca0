"""The measurements still measure: each runs here with next to nothing to do. No number decides a test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import calls, exports, growing, importing, live, receivers, receiving, run, stages
from bench.contenders import CONTENDERS
from bench.rounds import Line, interleaved
from tests.servers.postgres import PostgresServer

TINY = exports.Workload("a few spans", traces=3, steps=4)


def test_ratios_are_taken_within_a_round_and_the_order_changes_each_round() -> None:
    seen: list[str] = []
    drift = iter((1.0, 2.0, 20.0, 10.0, 100.0, 200.0))

    def contender(name: str) -> float:
        seen.append(name)
        return next(drift)

    samples = interleaved({"a": lambda: contender("a"), "b": lambda: contender("b")}, rounds=3)
    assert seen == ["a", "b", "b", "a", "a", "b"]
    assert samples.ratio("b", "a") == 2.0
    assert samples.median("a") == 10.0


@pytest.mark.parametrize("name", sorted(CONTENDERS.keys() - calls.NEEDS.keys()))
def test_every_way_to_trace_a_call_that_is_installed_is_measured(name: str, tmp_path: Path) -> None:
    here, written = calls._process(name, 10, tmp_path)
    assert 0 < here < written


def test_calls_are_compared_with_goals(tmp_path: Path) -> None:
    assert {line.question for line in calls.lines(tmp_path, calls=10, rounds=1)} >= {
        "a decorated call, rows recorded",
        "the same, exporter dropped",
    }


def test_live_rows_are_compared_with_rows_of_what_has_ended(tmp_path: Path) -> None:
    [line] = live.lines(tmp_path, workloads=[live.Steps("some steps", 10, 0)], rounds=1)
    assert line.ratio is not None
    assert line.goal == "at most 5 us more"


def test_imports_are_compared_with_the_api() -> None:
    assert [line.question for line in importing.lines(rounds=1)] == list(importing.OURS)


def test_speed_and_size_are_measured_in_sqlite(tmp_path: Path) -> None:
    speed, size = exports.lines(exports.Sqlite(tmp_path), TINY, rounds=1)
    assert speed.ratio is not None
    assert int(size.ours) > 0


def test_speed_and_size_are_measured_in_postgresql(postgres_server: PostgresServer) -> None:
    speed, size = exports.lines(exports.Postgres(postgres_server, 18), TINY, rounds=1)
    assert speed.ratio is not None
    assert int(size.ours) > 0


def test_every_contender_receives_every_load_and_is_compared_with_the_goals(tmp_path: Path) -> None:
    targets = [receivers.synced_sqlite(tmp_path)]
    load = receivers.Load("a few spans", size=10, spans=20, connections=2, folder=tmp_path)
    loads = receiving.Loads(load, load._replace(size=5), load._replace(size=20), load)
    results = receiving.measure(targets, loads, rounds=1)
    assert all(found.spans_a_second > 0 for rounds in results.measures.values() for found in rounds)
    text = receiving.page(results, receiving.lines(results, targets, loads), run.machine())
    assert all(f"| {name} |" in text for name in results.measures)
    assert "| peak memory of the server, any load, MB |" in text


def test_a_grown_database_is_compared_with_an_empty_one(tmp_path: Path) -> None:
    told: list[str] = []
    assert growing.grow(receivers.synced_sqlite(tmp_path), 1_000, tmp_path, told.append, parts=2, rounds=1) > 0
    assert "with 2,000 rows" in told[-1]


def test_every_stage_of_a_span_takes_time(tmp_path: Path) -> None:
    assert all(microseconds > 0 for microseconds in stages.stages(tmp_path, size=100, requests=2).values())


@pytest.fixture
def postgres_server() -> Iterator[PostgresServer]:
    server = PostgresServer(18)
    yield server
    server.stop()


def test_page_has_a_line_for_each_measurement_and_names_the_machine() -> None:
    text = run.page([Line("a call", "1 us", "plain: 2 us", 0.5, "at most 1", is_met=True)], run.machine())
    assert "| a call | 1 us | plain: 2 us | 0.50 | at most 1 | yes |" in text
    assert "cores" in text
