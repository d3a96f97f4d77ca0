"""Each token and row counts once."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from otel_runs.mapping.totals import Totals, Usage, totals_of

EMPTY = Usage("", "", "run", "run", "step", "load", 1, "success", None, None, None, None, None, None)


def row(id_: str, parent: str = "run", **columns: Any) -> Usage:
    return EMPTY._replace(id=id_, parent_id=parent, **columns)


def llm(id_: str, parent: str, tokens_in: int, tokens_out: int, **columns: Any) -> Usage:
    return row(
        id_,
        parent,
        kind="llm",
        input_tokens=tokens_in,
        output_tokens=tokens_out,
        tokens=tokens_in + tokens_out,
        **columns,
    )


def test_agent_that_repeats_the_tokens_of_its_calls_is_not_counted_with_them() -> None:
    agent = row("agent", kind="agent", input_tokens=1315, output_tokens=209, tokens=1524)
    totals = totals_of([agent, llm("a", "agent", 900, 100), llm("b", "agent", 415, 109)])
    assert (totals.input_tokens, totals.output_tokens, totals.tokens, totals.llm_calls) == (1315, 209, 1524, 2)


def test_agent_whose_calls_report_nothing_counts_itself() -> None:
    agent = row("agent", kind="agent", input_tokens=10, output_tokens=2, tokens=12)
    assert totals_of([agent, row("a", "agent", kind="llm")]).tokens == 12


def test_row_far_below_covers_all_rows_above_it_that_report() -> None:
    rows = [row("a", rows_out=100), row("b", "a"), row("c", "b", rows_out=40), row("d", "b", rows_out=2)]
    assert totals_of(rows).rows_out == 42


def test_each_column_has_leaves_of_its_own() -> None:
    rows = [row("a", rows_in=7, rows_out=9), row("b", "a", rows_out=5)]
    assert (totals_of(rows).rows_in, totals_of(rows).rows_out) == (7, 5)


def test_llm_call_inside_an_llm_call_is_one_call() -> None:
    rows = [llm("a", "run", 5, 5), llm("b", "a", 5, 5)]
    totals = totals_of(rows)
    assert (totals.llm_calls, totals.tokens) == (1, 10)


def test_totals_are_null_where_nobody_reports_and_zero_where_somebody_reports_zero() -> None:
    assert totals_of([row("a"), row("b")]) == Totals(None, None, None, None, None, None, None, 0, failed=False)
    assert totals_of([row("a", rows_in=0), row("b")]).rows_in == 0


def test_no_rows_add_up_to_nothing() -> None:
    assert totals_of([]).tokens is None


def test_forged_circle_of_parents_ends() -> None:
    rows = [row("a", "b", tokens=1, input_tokens=1, output_tokens=0), row("b", "a", tokens=1)]
    assert totals_of(rows).tokens is None


COUNTS = st.none() | st.integers(0, 9)
FLAT = st.lists(st.tuples(COUNTS, COUNTS, COUNTS, st.sampled_from(["llm", "step"])), min_size=1, max_size=5)


@given(FLAT)
def test_row_that_reports_nothing_changes_nothing_wherever_it_is(reported: list[tuple[Any, ...]]) -> None:
    columns = ("rows_in", "rows_out", "tokens", "kind")
    rows = [row(str(number), **dict(zip(columns, values, strict=True))) for number, values in enumerate(reported)]
    below = row("silent", rows[0].id, name="other")
    assert totals_of([*rows, below]) == totals_of([*rows, below._replace(parent_id="run")]) == totals_of(rows)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8), st.data())
def test_cost_does_not_depend_on_the_order_of_rows(costs: list[float], data: st.DataObject) -> None:
    rows = [row(str(number), cost_usd=cost) for number, cost in enumerate(costs)]
    assert totals_of(data.draw(st.permutations(rows))).cost_usd == totals_of(rows).cost_usd


def test_step_that_failed_for_good_counts_as_failed() -> None:
    assert totals_of([row("a", status="failed"), row("b", name="clean")]).failed


def test_retry_that_succeeded_heals_the_failure() -> None:
    totals = totals_of([row("a", status="failed"), row("b", attempt=2)])
    assert (totals.failed, totals.retry_count) == (False, 1)


def test_retry_heals_a_failure_though_it_comes_first() -> None:
    totals = totals_of([row("b", attempt=3), row("a", status="failed"), row("c", attempt=2, status="failed")])
    assert (totals.failed, totals.retry_count) == (False, 2)


def test_retry_of_another_step_heals_nothing() -> None:
    assert totals_of([row("a", status="failed"), row("b", name="clean", attempt=2)]).failed
    assert totals_of([row("a", "p", status="failed"), row("b", "q", attempt=2)]).failed


def test_last_attempt_that_failed_is_a_failure() -> None:
    totals = totals_of([row("a", status="failed"), row("b", attempt=2, status="failed")])
    assert (totals.failed, totals.retry_count) == (True, 1)


def test_same_step_that_runs_twice_without_retrying_is_no_retry() -> None:
    totals = totals_of([row("a", status="failed"), row("b")])
    assert (totals.failed, totals.retry_count) == (True, 0)


def test_cancelled_and_skipped_steps_are_no_failures() -> None:
    assert not totals_of([row("a", status="cancelled"), row("b", status="skipped")]).failed
