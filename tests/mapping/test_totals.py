"""Each token and row counts once."""

from __future__ import annotations

import time
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


def test_calls_of_one_step_that_were_each_retried_are_a_retry_each() -> None:
    rows = [row("a1", status="failed"), row("b1", status="failed"), row("a2", attempt=2), row("b2", attempt=2)]
    totals = totals_of(rows)
    assert (totals.failed, totals.retry_count) == (False, 2)


def test_call_that_failed_for_good_is_not_healed_by_the_retry_of_another_call() -> None:
    rows = [row("a1", status="failed"), row("b1", status="failed"), row("b2", attempt=2)]
    totals = totals_of(rows)
    assert (totals.failed, totals.retry_count) == (True, 1)


def test_call_that_failed_in_its_last_attempt_is_not_healed_by_a_further_attempt_of_another_call() -> None:
    rows = [row(f"{call}{attempt}", attempt=attempt, status="failed") for call in "ab" for attempt in (1, 2)]
    assert totals_of([*rows, row("b3", attempt=3)]).failed
    assert not totals_of([*rows, row("b3", attempt=3), row("a3", attempt=3)]).failed


def test_attempt_heals_an_earlier_one_though_the_one_between_is_missing() -> None:
    totals = totals_of([row("a1", status="failed"), row("a3", attempt=3)])
    assert (totals.failed, totals.retry_count) == (False, 1)


TRIES = st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["failed", "success", "running"])), max_size=8)


@given(TRIES, st.data())
def test_retries_and_failures_do_not_depend_on_the_order_of_rows(
    tries: list[tuple[int, str]], data: st.DataObject
) -> None:
    rows = [row(str(number), attempt=attempt, status=status) for number, (attempt, status) in enumerate(tries)]
    assert totals_of(data.draw(st.permutations(rows))) == totals_of(rows)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=5))
def test_run_has_failed_steps_where_one_of_its_calls_gave_up(calls: list[tuple[int, bool]]) -> None:
    rows = [
        row(f"{call} {attempt}", attempt=attempt, status="failed" if attempt <= failures else "success")
        for call, (failures, gave_up) in enumerate(calls)
        for attempt in range(1, failures + (1 if gave_up else 2))
    ]
    totals = totals_of(rows)
    assert totals.failed == any(gave_up and failures for failures, gave_up in calls)
    assert totals.retry_count == sum(one.attempt > 1 for one in rows)


def test_ten_thousand_attempts_of_one_call_are_counted_at_once() -> None:
    rows = [row(str(attempt), attempt=attempt, status="failed") for attempt in range(1, 10_001)]
    begin = time.monotonic()
    assert totals_of(rows)[-2:] == (9_999, True)
    assert time.monotonic() - begin < 1


def test_sum_that_no_column_holds_is_the_most_that_one_does() -> None:
    rows = [row(str(number), rows_in=10**15, tokens=10**15) for number in range(9_224)]
    totals = totals_of(rows)
    assert (totals.rows_in, totals.tokens) == (2**63 - 1, 2**63 - 1)
    assert totals_of(rows[:-1]).rows_in == 9_223 * 10**15


def test_same_step_that_runs_twice_without_retrying_is_no_retry() -> None:
    totals = totals_of([row("a", status="failed"), row("b")])
    assert (totals.failed, totals.retry_count) == (True, 0)


def test_cancelled_and_skipped_steps_are_no_failures() -> None:
    assert not totals_of([row("a", status="cancelled"), row("b", status="skipped")]).failed
