"""Several root spans in one trace: one is the run, the others are its steps (promise P1: whatever comes first)."""

from __future__ import annotations

from typing import Any

from otel_runs import attributes as key
from otel_runs.ids import run_id_from_key
from otel_runs.ingest import Ingest, Loss
from otel_runs.spans.span import Span
from otel_runs.store.engine import Database
from tests.ingest.stored import in_every_order, stored_run, stored_runs, stored_step, stored_steps
from tests.ingest.traces import START, row_id, run_id, span


def root(number: int, start: int, **attributes: Any) -> Span:
    return span(number, name=f"root {number}", start=start, attributes=attributes)


def place_of(database: Database, number: int) -> tuple[str, str | None]:
    row = stored_step(database, row_id(number))
    return row["run_id"], row["parent_id"]


def test_the_root_that_began_first_is_the_run_and_the_others_are_its_steps(database: Database) -> None:
    late, first = root(1, start=5), root(2, start=4)
    for _ in in_every_order(database, [late], [first], [span(3, 1, end=50)], [span(4, 2, end=60)]):
        run = stored_run(database, run_id())
        assert (run["name"], run["root_span_id"], run["steps"]) == ("root 2", first.span_id, 3)
        assert set(stored_steps(database)) == {row_id(1), row_id(3), row_id(4)}
        assert {place_of(database, number) for number in (1, 3, 4)} == {(run_id(), run_id())}
        assert stored_step(database, row_id(1))["name"] == "root 1"


def test_a_root_that_is_marked_as_a_run_is_the_run(database: Database) -> None:
    marked = root(1, start=9, **{key.KIND: "run"})
    for _ in in_every_order(database, [root(2, start=4)], [marked], [root(3, start=5)]):
        assert stored_run(database, run_id())["name"] == "root 1"
        assert set(stored_steps(database)) == {row_id(2), row_id(3)}


def test_failure_of_another_root_is_told(database: Database) -> None:
    failing = span(1, name="extract", status="ERROR", start=5)
    for _ in in_every_order(database, [root(2, start=4)], [failing]):
        assert stored_run(database, run_id())["status"] == "degraded"
        step = stored_step(database, row_id(1))
        assert (step["status"], step["stop_reason"]) == ("failed", "error")


def test_each_root_that_reports_rows_counts_once(database: Database) -> None:
    reports = [root(number, start=number, **{key.ROWS_OUT: 10}) for number in (2, 3)]
    for _ in in_every_order(database, [root(1, start=1)], reports[:1], reports[1:]):
        assert stored_run(database, run_id())["rows_out"] == 20


def test_another_root_that_sums_up_what_is_below_it_does_not_count_again(database: Database) -> None:
    usage = {key.GEN_AI_INPUT_TOKENS: 7, key.GEN_AI_OUTPUT_TOKENS: 3}
    agent, call = root(2, start=2, **usage), span(3, 2, attributes=usage)
    for _ in in_every_order(database, [root(1, start=1)], [agent], [call]):
        assert stored_run(database, run_id())["tokens"] == 10


def test_beside_a_root_with_a_key_the_others_are_steps_of_its_run(database: Database) -> None:
    keyed = root(1, start=9, **{key.RUN_KEY: "nightly"})
    for _ in in_every_order(database, [root(2, start=4)], [keyed], [span(3, 2)]):
        assert set(stored_runs(database)) == {run_id_from_key("nightly")}
        assert place_of(database, 2) == place_of(database, 3) == (run_id_from_key("nightly"), row_id(1))


def test_another_root_may_come_with_rows_of_a_run_that_is_nested_in_one_with_a_key(database: Database) -> None:
    keyed = [root(1, start=1, **{key.RUN_KEY: "nightly"}), span(2, 1, attributes={key.KIND: "run"})]
    later = [span(3, 2, attributes={key.PARENT_RUN: row_id(2)}), root(4, start=4)]
    for _ in in_every_order(database, keyed, later):
        assert stored_run(database, row_id(2))["parent_run_id"] == run_id_from_key("nightly")
        assert place_of(database, 3) == (row_id(2), row_id(2))
        assert place_of(database, 4) == (run_id_from_key("nightly"), row_id(1))


def test_a_loss_that_was_declared_holds_for_the_root_that_turns_out_to_be_the_run(database: Database) -> None:
    late, first = (each._replace(end_ns=None) for each in (root(1, start=5), root(2, start=4)))
    ingest = Ingest(database)
    ingest.save([late])
    assert ingest.declare_lost([Loss(run_id(), late.trace_id, START)]) == {run_id()}
    ingest.save([first])
    assert stored_run(database, run_id())["stop_reason"] == "lost"
    assert stored_step(database, row_id(1))["stop_reason"] == "lost"
