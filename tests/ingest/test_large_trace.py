"""A trace far larger than a batch."""

from __future__ import annotations

from otel_runs import attributes as key
from otel_runs.store.engine import Database
from tests.ingest.stored import save, stored_run, stored_runs
from tests.ingest.traces import row_id, run_id, span

SPANS = 20_000
BATCHES = 40


def test_twenty_thousand_spans_in_forty_batches_children_first_are_all_counted(database: Database) -> None:
    # A tree ten wide: the parent of span n is n // 10, and it arrives after its children.
    told = {key.ROWS_IN: 1}
    steps = [span(number, number // 10, name="load", attributes=told) for number in range(SPANS - 1, 0, -1)]
    size = SPANS // BATCHES
    save(database, *(steps[begin : begin + size] for begin in range(0, len(steps), size)))
    assert stored_run(database, run_id())["status"] == "running"
    save(database, [span(0)])
    run = stored_run(database, run_id())
    # Spans below another that reports rows cover it: only those without children count.
    assert (run["status"], run["steps"], run["rows_in"]) == ("completed", SPANS - 1, SPANS - SPANS // 10)


def test_a_thousand_nested_runs_are_settled_with_their_steps(database: Database) -> None:
    windows = range(1, 1_001)
    save(
        database,
        [span(5_000 + number, number, attributes={key.ROWS_OUT: 1}) for number in windows],
        [span(0)],
        *([span(number, 0, attributes={key.KIND: "run"}) for number in windows[i::4]] for i in range(4)),
    )
    runs = stored_runs(database)
    assert runs[run_id()]["rows_out"] == 1_000
    assert {runs[row_id(number)]["steps"] for number in windows} == {1}
    assert runs[run_id()]["steps"] == 0
