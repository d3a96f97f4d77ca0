from __future__ import annotations

from otel_runs.query.runs import get_run
from otel_runs.query.tree import get_run_tree, list_model_runs
from tests.query.rows import Rows


def test_tree_holds_nested_runs_at_any_depth_and_the_model_runs_of_all(rows: Rows) -> None:
    run = rows.run(1)
    window = rows.nested_run(run, 2)
    inner = rows.nested_run(window, 3)
    stranger = rows.run(4)
    steps = [rows.model_run(owner, 10 + place) for place, owner in enumerate((run, window, inner))]
    rows.model_run(stranger, 20)
    tree = get_run_tree(rows.database, get_run(rows.database, run))
    assert [nested.id for nested in tree.nested_runs] == [window, inner]
    assert sorted(step.id for step in tree.model_runs) == sorted(steps)
    assert (tree.hidden_runs, tree.hidden_model_runs, tree.hidden_failures) == (0, 0, 0)


def test_steps_come_in_order_of_their_start(rows: Rows) -> None:
    run = rows.run(1)
    ids = [rows.model_run(run, number, starts=starts) for number, starts in ((1, 3), (2, 1), (3, 2))]
    tree = get_run_tree(rows.database, get_run(rows.database, run))
    assert [step.id for step in tree.model_runs] == [ids[1], ids[2], ids[0]]


def test_runs_nested_in_a_circle_come_to_an_end(rows: Rows) -> None:
    run = rows.run(1)
    nested = rows.nested_run(run, 2)
    with rows.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE runs SET parent_run_id = '{nested}' WHERE id = '{run}'")
    tree = get_run_tree(rows.database, get_run(rows.database, run))
    assert [found.id for found in tree.nested_runs] == [nested]


def test_limit_keeps_failed_steps_first_and_counts_what_it_leaves_out(rows: Rows) -> None:
    run = rows.run(1)
    for number in range(8):
        rows.model_run(run, number, starts=number, status="failed" if number in {5, 6, 7} else "success")
    tree = get_run_tree(rows.database, get_run(rows.database, run), limit=2)
    assert [step.status for step in tree.model_runs] == ["failed", "failed"]
    assert (tree.hidden_model_runs, tree.hidden_failures) == (6, 1)


def test_limit_counts_nested_runs_left_out(rows: Rows) -> None:
    run = rows.run(1)
    for number in range(2, 7):
        rows.nested_run(run, number)
    assert get_run_tree(rows.database, get_run(rows.database, run), limit=2).hidden_runs == 3


def test_limit_that_is_just_enough_hides_nothing(rows: Rows) -> None:
    run = rows.run(1)
    rows.model_run(run, 1)
    tree = get_run_tree(rows.database, get_run(rows.database, run), limit=1)
    assert (len(tree.model_runs), tree.hidden_model_runs) == (1, 0)


def test_run_without_steps_has_an_empty_tree(rows: Rows) -> None:
    run = rows.run(1)
    tree = get_run_tree(rows.database, get_run(rows.database, run))
    assert (tree.nested_runs, tree.model_runs) == ([], [])


def test_model_runs_of_a_run_leave_out_those_of_nested_runs(rows: Rows) -> None:
    run = rows.run(1)
    own = [rows.model_run(run, number, starts=number) for number in (1, 2)]
    rows.model_run(rows.nested_run(run, 3), 4)
    found = list_model_runs(rows.database, get_run(rows.database, run))
    assert [model_run.id for model_run in found] == own
    assert (found[0].model_path, found[0].run_name, found[0].run_status) == ("load", "daily_sales", "completed")
