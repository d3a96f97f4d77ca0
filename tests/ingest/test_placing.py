"""Where spans belong: parents over rowless spans, runs seen first through children, nested runs that arrive late."""

from __future__ import annotations

from otel_runs import attributes as key
from otel_runs.ids import run_id_from_key
from otel_runs.spans.span import Resource, Span
from otel_runs.store.engine import Database
from otel_runs.units import time_from_ns
from tests.ingest.contents import contents_of, empty
from tests.ingest.stored import in_every_order, save, stored_run, stored_runs, stored_step, stored_steps
from tests.ingest.traces import SECOND, START, row_id, run_id, span


def nested(number: int, parent: int, **parts: object) -> Span:
    return span(number, parent, attributes={key.KIND: "run"}, **parts)  # type: ignore[arg-type]  # parts of a span, of many types


def place_of(database: Database, number: int) -> tuple[str, str]:
    row = stored_step(database, row_id(number))
    return row["run_id"], row["parent_id"]


def test_child_of_the_root_has_the_run_as_parent(database: Database) -> None:
    save(database, [span(0), span(1, 0), span(2, 1)])
    assert place_of(database, 1) == (run_id(), run_id())
    assert place_of(database, 2) == (run_id(), row_id(1))


def test_parent_is_the_nearest_ancestor_with_a_row_whatever_comes_first(database: Database) -> None:
    for _ in in_every_order(database, [span(0)], [span(1, 0)], [span(2, 1, kind="CLIENT")], [span(4, 2)]):
        assert place_of(database, 4) == (run_id(), row_id(1))
        assert set(stored_steps(database)) == {row_id(1), row_id(4)}


def test_parent_over_two_spans_without_a_row_is_the_run(database: Database) -> None:
    save(database, [span(4, 2)], [span(2, 1, kind="SERVER")], [span(1, 0, kind="CLIENT")], [span(0)])
    assert place_of(database, 4) == (run_id(), run_id())


def test_parent_that_never_arrives_is_named_as_if_it_had_a_row(database: Database) -> None:
    save(database, [span(0), span(4, 2)])
    assert place_of(database, 4) == (run_id(), row_id(2))


def test_spans_that_are_each_others_parents_are_stored_all_the_same(database: Database) -> None:
    circle = [span(1, 2, kind="CLIENT"), span(2, 1, kind="CLIENT"), span(3, 2), span(4, 4)]
    save(database, [span(0)], circle)
    assert set(stored_steps(database)) == {row_id(3), row_id(4)}


def test_what_is_below_a_circle_of_spans_without_rows_is_right_below_the_run_in_any_order(database: Database) -> None:
    one, other, third = (span(number, above, kind="CLIENT") for number, above in ((1, 3), (2, 1), (3, 2)))
    for _ in in_every_order(database, [span(0), span(4, 1), one], [other, span(5, 2)], [third]):
        assert [stored_step(database, row_id(number))["parent_id"] for number in (4, 5)] == [run_id(), run_id()]


def test_run_seen_first_through_its_children_is_running_and_named_after_its_service(database: Database) -> None:
    save(database, [span(2, 0, start=7), span(1, 0, start=5)])
    run = stored_run(database, run_id())
    assert (run["name"], run["status"], run["root_span_id"]) == ("shop", "running", None)
    assert run["started_at"] == time_from_ns(START + 5 * SECOND)
    assert (run["completed_at"], run["steps"], run["service_name"], run["environment"]) == (
        None,
        None,
        "shop",
        "default",
    )


def test_run_whose_children_name_no_service_is_called_unknown(database: Database) -> None:
    save(database, [span(1, 0, resource=Resource({}))])
    assert stored_run(database, run_id())["name"] == "unknown"


def test_root_that_never_comes_leaves_its_run_running(database: Database) -> None:
    save(database, [span(1, 0, status="ERROR")], [span(2, 0)], [span(3, 1)])
    assert stored_run(database, run_id())["status"] == "running"
    assert len(stored_steps(database)) == 3


def test_root_takes_its_run_over_from_the_children(database: Database) -> None:
    save(database, [span(1, 0, start=5)], [span(0, name="nightly", start=3, end=9)])
    run = stored_run(database, run_id())
    assert (run["name"], run["status"], run["steps"]) == ("nightly", "completed", 1)
    assert run["started_at"] == time_from_ns(START + 3 * SECOND)
    assert run["root_span_id"] == span(0).span_id


def test_rowless_child_alone_makes_its_run_known(database: Database) -> None:
    save(database, [span(1, 0, kind="CLIENT")])
    assert stored_run(database, run_id())["status"] == "running"
    assert stored_steps(database) == {}


def test_nested_run_is_in_the_run_around_it_and_its_descendants_are_in_it(database: Database) -> None:
    save(database, [span(0), nested(1, 0), span(2, 1), span(3, 2), span(4, 0)])
    assert stored_run(database, row_id(1))["parent_run_id"] == run_id()
    assert stored_run(database, run_id())["parent_run_id"] is None
    assert place_of(database, 2) == (row_id(1), row_id(1))
    assert place_of(database, 3) == (row_id(1), row_id(2))
    assert place_of(database, 4) == (run_id(), run_id())


def test_nested_run_that_arrives_late_takes_its_descendants_with_it(database: Database) -> None:
    save(database, [span(3, 2), span(4, 0)], [span(0)], [span(2, 1)], [nested(1, 0)])
    assert place_of(database, 2) == (row_id(1), row_id(1))
    assert place_of(database, 3) == (row_id(1), row_id(2))
    assert place_of(database, 4) == (run_id(), run_id())
    assert stored_run(database, run_id())["steps"] == 1
    assert stored_run(database, row_id(1))["steps"] == 2


def test_nested_run_takes_descendants_below_a_span_without_a_row(database: Database) -> None:
    save(database, [span(3, 2)], [span(0)], [nested(1, 0)], [span(2, 1, kind="CLIENT")])
    assert place_of(database, 3) == (row_id(1), row_id(1))


def test_run_nested_in_a_nested_run_takes_its_own_whatever_comes_first(database: Database) -> None:
    batches = [[span(0)], [nested(1, 0), span(2, 1)], [nested(3, 2)], [span(4, 3), span(5, 4)]]
    for _ in in_every_order(database, *batches):
        runs = stored_runs(database)
        around = {id_: run["parent_run_id"] for id_, run in runs.items()}
        assert around == {run_id(): None, row_id(1): run_id(), row_id(3): row_id(1)}
        assert place_of(database, 2) == (row_id(1), row_id(1))
        assert place_of(database, 4) == (row_id(3), row_id(3))
        assert place_of(database, 5) == (row_id(3), row_id(4))
        assert [runs[id_]["steps"] for id_ in (run_id(), row_id(1), row_id(3))] == [0, 1, 2]


def test_stamped_descendants_are_in_their_nested_run_before_it_is_known(database: Database) -> None:
    save(database, [span(0)], [span(3, 2, attributes={key.PARENT_RUN: row_id(1)})])
    assert place_of(database, 3) == (row_id(1), row_id(2))
    inner = stored_run(database, row_id(1))
    assert (inner["status"], inner["name"], inner["parent_run_id"]) == ("running", "shop", run_id())


def test_span_stamped_with_the_run_alone_is_right_below_it_before_the_root_is_known(database: Database) -> None:
    stamped = span(1, 0, attributes={key.PARENT_RUN: run_id()})
    below = span(2, 1, attributes={key.PARENT_RUN: run_id(), key.PARENT_STEP: row_id(1)})
    for _ in in_every_order(database, [stamped], [below]):
        assert place_of(database, 1) == (run_id(), run_id())
        assert place_of(database, 2) == (run_id(), row_id(1))


def test_rows_of_a_nested_run_survive_a_root_that_turns_out_to_be_a_part_of_a_run_with_a_key(
    database: Database,
) -> None:
    root = span(0, attributes={key.RUN_KEY: "nightly"})
    stamped = span(3, 2, attributes={key.PARENT_RUN: row_id(2)})
    for _ in in_every_order(database, [root], [stamped]):
        assert place_of(database, 3) == (row_id(2), row_id(2))
        assert stored_run(database, row_id(2))["parent_run_id"] == run_id_from_key("nightly")


def test_stamp_of_the_root_run_in_a_trace_of_a_run_with_a_key_means_the_run_with_the_key(database: Database) -> None:
    root = span(0, attributes={key.RUN_KEY: "nightly"})
    stamped = span(1, 0, attributes={key.PARENT_RUN: run_id()})
    for _ in in_every_order(database, [root], [stamped]):
        assert place_of(database, 1) == (run_id_from_key("nightly"), row_id(0))


def test_stamp_of_another_trace_outweighs_the_chain_of_parents_in_any_order(database: Database) -> None:
    stamped = span(3, 2, attributes={key.PARENT_RUN: run_id(1)})
    for _ in in_every_order(database, [span(0), span(0, trace=1)], [nested(1, 0), span(2, 1)], [stamped]):
        assert place_of(database, 2)[0] == row_id(1)
        assert place_of(database, 3) == (run_id(1), row_id(2))


def test_nested_run_that_leaves_a_run_takes_its_totals_with_it(database: Database) -> None:
    keyed = span(1, 0, attributes={key.RUN_KEY: "nightly"})
    inner = span(2, 1, status="ERROR", attributes={key.KIND: "run", key.ROWS_IN: 5})
    for _ in in_every_order(database, [span(0)], [inner], [keyed]):
        run = stored_run(database, run_id())
        assert (run["rows_in"], run["status"]) == (None, "completed")


def test_nested_run_in_a_run_with_a_key_takes_its_descendants_whatever_comes_first(database: Database) -> None:
    for _ in in_every_order(database, [span(0, attributes={key.RUN_KEY: "nightly"})], [nested(1, 0)], [span(2, 1)]):
        assert place_of(database, 2) == (row_id(1), row_id(1))


def test_process_with_a_key_on_its_resource_leaves_the_same_rows_in_any_order(database: Database) -> None:
    resource = Resource({key.SERVICE_NAME: "shop", key.RUN_KEY: "nightly"})
    spans = [span(0, resource=resource), nested(1, 0, resource=resource), span(2, 1, resource=resource)]
    save(database, spans)
    expected = contents_of(database)
    for _ in in_every_order(database, *([each] for each in spans)):
        assert contents_of(database) == expected


def test_runs_that_claim_to_be_nested_in_each_other_are_stored_all_the_same(database: Database) -> None:
    forged = [
        span(1, 0, attributes={key.KIND: "run", key.PARENT_RUN: row_id(2)}),
        span(2, 0, attributes={key.KIND: "run", key.PARENT_RUN: row_id(1)}),
        span(3, 0, attributes={key.KIND: "run", key.PARENT_RUN: row_id(3)}),
    ]
    save(database, [span(0), *forged, span(4, 0)])
    assert set(stored_runs(database)) == {run_id(), row_id(1), row_id(2), row_id(3)}
    assert set(stored_steps(database)) == {row_id(4)}


def test_root_that_claims_to_be_in_another_run_is_in_none(database: Database) -> None:
    save(database, [span(0, attributes={key.PARENT_RUN: run_id(1)}), span(1, 0)])
    assert stored_run(database, run_id())["parent_run_id"] is None


def test_run_that_everything_turned_out_to_be_elsewhere_of_is_hidden_until_something_is_in_it(
    database: Database,
) -> None:
    keyed = Resource({key.SERVICE_NAME: "shop", key.RUN_KEY: "nightly"})
    inner = {key.PARENT_RUN: row_id(1)}
    early = span(2, 1, kind="SERVER", attributes=inner, resource=keyed, start=3)
    nested = span(1, 0, attributes={key.KIND: "run"}, resource=keyed, start=5)
    for _ in in_every_order(database, [early], [nested]):
        assert stored_run(database, run_id())["deleted_at"] is not None
        assert stored_run(database, row_id(1))["parent_run_id"] == run_id_from_key("nightly")
    for _ in in_every_order(database, [early], [nested], [span(4, 0, start=7)]):
        root = stored_run(database, run_id())
        assert (root["deleted_at"], root["status"]) == (None, "running")
        assert root["started_at"] == time_from_ns(START + 3 * SECOND)


def test_a_row_that_comes_again_with_what_moves_it_leaves_nothing_in_the_run_it_was_in(database: Database) -> None:
    keyed, below = span(1, 0, attributes={key.RUN_KEY: "nightly"}), span(2, 1, status="ERROR")
    rest = [span(0), nested(3, 0)]
    save(database, [*rest, keyed, below])
    at_once = contents_of(database)
    empty(database)
    save(database, [*rest, below], [keyed, below])
    assert contents_of(database) == at_once
    assert (stored_run(database, run_id())["status"], stored_run(database, run_id())["steps"]) == ("completed", 0)


def test_a_chain_of_runs_that_is_longer_than_pythons_stack_is_stored_and_added_up(database: Database) -> None:
    """A job that starts the next one, and hands the trace on."""
    length = 1_500
    chain = [span(0), *(nested(number, number - 1) for number in range(1, length))]
    last = span(length, length - 1, attributes={key.ROWS_OUT: 7}, status="ERROR")
    save(database, chain, [last])
    runs = stored_runs(database)
    assert len(runs) == length
    assert {run["rows_out"] for run in runs.values()} == {7}
    assert {run["status"] for run in runs.values()} == {"degraded"}
