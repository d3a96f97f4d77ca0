from __future__ import annotations

import json

import pytest

from otel_runs.query.results import MODEL_ORDERS, ModelStatistics
from tests.cli.conftest import CommandLine
from tests.query.rows import Rows


def _some_models(rows: Rows) -> None:
    run = rows.run(1)
    rows.model_run(run, 1, "shaky", seconds=5, starts=1)
    rows.model_run(run, 2, "shaky", status="failed", starts=2)
    rows.model_run(run, 3, "fast", seconds=0.085, rows_affected=1234, starts=3)
    rows.model("never", "model")


def test_models_are_listed_with_rate_average_and_slowest(rows: Rows, otel_runs: CommandLine) -> None:
    _some_models(rows)
    lines = [line.split() for line in otel_runs("models").out.splitlines()]
    assert lines[1][:6] == ["fast", "1", "100%", "85ms", "85ms", "success"]
    assert lines[2][:6] == ["never", "0", "-", "-", "-", "-"]
    assert lines[3][:6] == ["shaky", "2", "50.0%", "5.00s", "5.00s", "failed"]


def test_runs_without_a_step_are_told_apart_from_no_runs(rows: Rows, otel_runs: CommandLine) -> None:
    assert otel_runs("models").err.startswith("No runs yet in ")
    rows.run(1)
    outcome = otel_runs("models")
    assert (outcome.code, outcome.out, outcome.err.split(" in ")[0]) == (0, "", "No model or step has run yet")


def test_order_is_the_one_asked_for(rows: Rows, otel_runs: CommandLine) -> None:
    _some_models(rows)
    printed = json.loads(otel_runs("models", "--sort", "slowest", "--json").out)
    assert [model["path"] for model in printed] == ["shaky", "fast", "never"]
    assert list(printed[0]) == list(ModelStatistics._fields)


def test_unknown_order_is_wrong_usage(rows: Rows, otel_runs: CommandLine) -> None:
    outcome = otel_runs("models", "--sort", "beauty")
    assert outcome.code == 2
    assert all(text in outcome.err for text in ("'beauty'", *MODEL_ORDERS))


def test_table_fits_80_columns(rows: Rows, otel_runs: CommandLine) -> None:
    _some_models(rows)
    rows.model("a.model.with.a.very.long.path." * 4)
    assert max(map(len, otel_runs("models", width=80).out.splitlines())) <= 80


@pytest.mark.parametrize("width", [40, 60])
def test_narrow_terminal_has_names_and_statuses_whole(rows: Rows, otel_runs: CommandLine, width: int) -> None:
    rows.model_run(rows.run(1), 1, "bird_strikes", status="failed")
    lines = otel_runs("models", width=width).out.splitlines()
    assert lines[-1].split()[0] == "bird_strikes"
    assert "failed" in lines[-1]
    assert max(map(len, lines)) <= width
