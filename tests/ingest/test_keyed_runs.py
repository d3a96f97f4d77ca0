"""A run with a key: several traces or processes, one run."""

from __future__ import annotations

from typing import Any

from sqlalchemy import text

from otel_runs import attributes as key
from otel_runs.ids import run_id_from_key
from otel_runs.spans.span import Event, Resource, Span
from otel_runs.store.engine import Database
from otel_runs.units import time_from_ns
from tests.ingest.stored import Row, in_every_order, save, stored_run, stored_runs, stored_step, stored_steps
from tests.ingest.traces import RESOURCE, SECOND, START, row_id, run_id, span, trace_id

KEYED = {key.RUN_KEY: "nightly"}
NIGHTLY = run_id_from_key("nightly")


def part(trace: int, **parts: Any) -> Span:
    """The root span of one trace of the run."""
    attributes = {**KEYED, **parts.pop("attributes", {})}
    return span(0, trace=trace, attributes=attributes, **parts)


def nightly(database: Database) -> Row:
    return stored_run(database, NIGHTLY)


def test_three_traces_with_one_key_are_one_run_and_their_roots_model_runs_of_it(database: Database) -> None:
    save(database, [part(0)], [part(1), span(1, 0, trace=1)], [part(2)])
    assert set(stored_runs(database)) == {NIGHTLY}
    steps = stored_steps(database)
    assert [steps[row_id(0, trace)]["parent_id"] for trace in range(3)] == [NIGHTLY] * 3
    assert {row["run_id"] for row in steps.values()} == {NIGHTLY}
    assert steps[row_id(1, 1)]["parent_id"] == row_id(0, 1)
    assert nightly(database)["steps"] == 4
    assert nightly(database)["run_key"] == "nightly"


def test_key_on_the_resource_joins_processes_too(database: Database) -> None:
    resource = Resource({**RESOURCE.attributes, **KEYED})
    save(database, *([span(0, trace=trace, resource=resource)] for trace in range(3)))
    assert set(stored_runs(database)) == {NIGHTLY}
    assert len(stored_steps(database)) == 3


def test_it_runs_from_the_earliest_start_to_the_latest_end_whatever_comes_first(database: Database) -> None:
    parts = [part(0, start=5, end=6)], [part(1, start=3, end=4)], [part(2, start=4, end=9)]
    for _ in in_every_order(database, *parts):
        run = nightly(database)
        assert run["started_at"] == time_from_ns(START + 3 * SECOND)
        assert run["completed_at"] == time_from_ns(START + 9 * SECOND)
        assert (run["duration_ns"], run["duration_seconds"]) == (6 * SECOND, 6.0)
        assert (run["status"], run["stop_reason"], run["status_source"]) == ("completed", "completed", "span")
        assert run["trace_id"] == trace_id(1)


def test_it_failed_if_one_part_failed_and_has_its_error(database: Database) -> None:
    error = Event("exception", START, {key.EXCEPTION_TYPE: "ValueError", key.EXCEPTION_MESSAGE: "no rows"})
    parts = [part(0)], [part(1, status="ERROR", events=[error])], [part(2, attributes={key.STATUS: "cancelled"})]
    for _ in in_every_order(database, *parts):
        run = nightly(database)
        assert (run["status"], run["stop_reason"]) == ("failed", "error")
        assert (run["error"], run["error_type"]) == ("ValueError: no rows", "ValueError")


def test_it_was_cancelled_if_one_part_was_and_none_failed(database: Database) -> None:
    save(database, [part(0)], [part(1, attributes={key.STATUS: "cancelled"})], [part(2)])
    assert (nightly(database)["status"], nightly(database)["stop_reason"]) == ("cancelled", "cancelled")


def test_it_is_running_while_one_part_runs(database: Database) -> None:
    for _ in in_every_order(database, [part(0)], [part(1, open_=True)], [part(2, status="ERROR")]):
        run = nightly(database)
        assert (run["status"], run["completed_at"], run["duration_ns"], run["error"]) == ("running", None, None, None)
        assert run["steps"] is None


def test_it_is_running_while_a_part_is_known_only_through_its_children(database: Database) -> None:
    resource = Resource({**RESOURCE.attributes, **KEYED})
    save(database, [part(0)], [span(1, 0, trace=1, resource=resource)])
    assert nightly(database)["status"] == "running"
    save(database, [span(0, trace=1, resource=resource)])
    assert nightly(database)["status"] == "completed"


def test_it_runs_again_when_another_part_starts_and_ends_with_it(database: Database) -> None:
    save(database, [part(0, end=5)])
    assert nightly(database)["status"] == "completed"
    save(database, [part(1, open_=True)])
    assert nightly(database)["status"] == "running"
    save(database, [part(1, end=8)])
    assert nightly(database)["completed_at"] == time_from_ns(START + 8 * SECOND)


def test_children_that_come_before_their_root_end_up_in_it(database: Database) -> None:
    for _ in in_every_order(database, [part(0)], [span(1, 0)], [span(2, 1, kind="CLIENT")]):
        assert set(stored_runs(database)) == {NIGHTLY}
        child = stored_step(database, row_id(1))
        assert (child["run_id"], child["parent_id"]) == (NIGHTLY, row_id(0))


def test_key_on_a_step_alone_puts_that_step_into_the_run_and_leaves_its_trace_alone(database: Database) -> None:
    save(database, [span(0), span(1, 0, attributes=KEYED), span(2, 0)])
    assert stored_step(database, row_id(1))["run_id"] == NIGHTLY
    assert stored_step(database, row_id(2))["run_id"] == run_id()
    assert stored_run(database, run_id())["status"] == "completed"


def test_totals_are_added_up_over_all_traces(database: Database) -> None:
    usage = {key.GEN_AI_INPUT_TOKENS: 10, key.GEN_AI_OUTPUT_TOKENS: 2, key.KIND: "llm", key.COST_USD: 0.1}
    traces = [[part(trace), span(1, 0, trace=trace, attributes={**usage, key.ROWS_OUT: 7})] for trace in range(3)]
    save(database, *traces)
    run = nightly(database)
    assert (run["input_tokens"], run["output_tokens"], run["tokens"], run["llm_calls"]) == (30, 6, 36, 3)
    assert (run["rows_out"], run["cost_usd"], run["steps"]) == (21, 0.30000000000000004, 6)


def test_rows_and_cost_that_its_parts_state_win_over_those_of_steps(database: Database) -> None:
    stated = {key.ROWS_IN: 100, key.ROWS_OUT: 0, key.COST_USD: 0.1}
    step = {key.ROWS_IN: 80, key.ROWS_OUT: 80, key.COST_USD: 7.0}
    one = [part(0, attributes=stated), span(1, 0, attributes=step), span(2, 0, attributes=step)]
    other = [part(1, attributes={**stated, key.COST_USD: 0.2}), span(1, 0, trace=1, attributes=step)]
    for _ in in_every_order(database, one[:1], one[1:], other, [part(2)]):
        run = nightly(database)
        assert (run["rows_in"], run["rows_out"], run["cost_usd"]) == (200, 0, 0.30000000000000004)


def test_rows_that_a_part_states_are_no_total_while_another_part_runs(database: Database) -> None:
    ended = [part(0, attributes={key.ROWS_IN: 100}), span(1, 0, attributes={key.ROWS_IN: 80})]
    for _ in in_every_order(database, ended, [part(1, open_=True)]):
        assert nightly(database)["rows_in"] is None
    save(database, [part(1, attributes={key.ROWS_IN: 5})])
    assert nightly(database)["rows_in"] == 105


def test_totals_hold_what_is_nested_in_other_traces(database: Database) -> None:
    inner = span(1, 0, attributes={key.KIND: "run", key.ROWS_OUT: 7})
    save(database, [part(0), inner], [part(1), span(1, 0, trace=1, attributes={key.ROWS_OUT: 5})])
    assert nightly(database)["rows_out"] == 12
    assert stored_run(database, row_id(1))["parent_run_id"] == NIGHTLY


def test_what_only_one_part_says_of_the_whole_is_kept_whatever_comes_first(database: Database) -> None:
    one = part(0, attributes={key.RUN_ID: "job-7", key.TENANT_ID: "acme"})
    other = part(1, attributes={key.SESSION_ID: "s1"})
    for _ in in_every_order(database, [one], [other]):
        run = nightly(database)
        assert (run["external_id"], run["tenant_id"], run["session_id"]) == ("job-7", "acme", "s1")


def test_totals_of_other_traces_are_counted_once_across_spans_without_a_row(database: Database) -> None:
    cost = {key.COST_USD: 0.1}
    around = span(1, 0, attributes={key.KIND: "step", **cost})
    between = span(2, 1, kind="SERVER")
    inner = span(3, 2, attributes={key.KIND: "run", **cost})
    for _ in in_every_order(database, [part(0), around, between, inner], [part(1)]):
        assert nightly(database)["cost_usd"] == 0.1  # the step repeats what the run inside it cost


def test_trace_of_which_only_a_span_without_a_row_is_in_it_finds_that_one_again(database: Database) -> None:
    batches = [span(2, 1, kind="CLIENT", attributes=KEYED)], [span(0), span(3, 2)], [span(1, 0)]
    for _ in in_every_order(database, *batches):
        assert stored_step(database, row_id(3))["parent_id"] == row_id(1)


def test_steps_of_it_that_arrive_while_it_goes_on_do_not_have_it_read_through(database: Database) -> None:
    save(database, [part(0, open_=True), part(1)])
    with database.write() as connection:  # what nobody derives again stays
        connection.execute(text("UPDATE runs SET root_span_id = 'as it was'"))
    save(database, [span(1, 0)], [span(1, 0, trace=1, open_=True)], [span(1, 0, trace=1), span(2, 1)])
    assert (nightly(database)["status"], nightly(database)["root_span_id"]) == ("running", "as it was")
    save(database, [part(0)])
    run = nightly(database)
    assert (run["status"], run["root_span_id"], run["steps"]) == ("completed", span(0).span_id, 5)
