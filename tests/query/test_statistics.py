from __future__ import annotations

import pytest

from otel_runs.query.results import MODEL_ORDERS, ModelOrder
from otel_runs.query.statistics import ORDERS, model_statistics
from tests.query.rows import Rows, at


def test_statistics_count_average_and_rate(rows: Rows) -> None:
    run = rows.run(1)
    for number, (seconds, status) in enumerate([(1.0, "success"), (3.0, "success"), (9.0, "failed"), (0.1, "skipped")]):
        rows.model_run(run, number, starts=number, seconds=seconds, status=status, rows_affected=10)
    (load,) = model_statistics(rows.database)
    assert (load.runs, load.successful, load.failed, load.skipped) == (4, 2, 1, 1)
    assert load.success_rate == pytest.approx(66.7)
    assert (load.avg_ms, load.min_ms, load.max_ms, load.rows_affected) == (2000.0, 1000, 3000, 40)
    assert (load.last_started_at, load.last_status) == (at(3), "skipped")
    assert isinstance(load.rows_affected, int)
    assert isinstance(load.avg_ms, float)


def test_model_that_never_ran_has_no_rate(rows: Rows) -> None:
    rows.model("waiting")
    (waiting,) = model_statistics(rows.database)
    assert (waiting.runs, waiting.success_rate, waiting.avg_ms, waiting.last_status) == (0, None, None, None)


def test_every_order_that_is_offered_is_known() -> None:
    assert set(ORDERS) == set(MODEL_ORDERS)


@pytest.mark.parametrize(
    ("order", "paths"),
    [
        ("path", ["fast", "never", "shaky"]),
        ("runs", ["shaky", "fast", "never"]),
        ("success", ["shaky", "fast", "never"]),
        ("average", ["shaky", "fast", "never"]),
        ("slowest", ["shaky", "fast", "never"]),
        ("latest", ["fast", "shaky", "never"]),
    ],
)
def test_what_needs_attention_comes_first(rows: Rows, order: ModelOrder, paths: list[str]) -> None:
    run = rows.run(1)
    rows.model("never")
    rows.model_run(run, 1, "shaky", starts=1, seconds=5)
    rows.model_run(run, 2, "shaky", starts=2, status="failed")
    rows.model_run(run, 3, "fast", starts=3, seconds=1)
    assert [model.path for model in model_statistics(rows.database, order)] == paths


def test_limit_keeps_the_first(rows: Rows) -> None:
    for path in ("b", "a", "c"):
        rows.model(path)
    assert [model.path for model in model_statistics(rows.database, limit=2)] == ["a", "b"]
