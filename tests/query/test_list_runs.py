from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from otel_runs.errors import NotFoundError
from otel_runs.query.filters import FILTERS, RunFilters
from otel_runs.query.relations import v_model_runs, v_model_stats, v_runs
from otel_runs.query.results import StoredRun
from otel_runs.query.runs import Cursor, cursor_of, latest_run, list_runs, list_values
from otel_runs.store import tables
from otel_runs.store.engine import Database, open_database
from tests.query.rows import Rows, at


def test_results_have_every_column_of_their_view(database: Database) -> None:
    with database.read() as connection:
        for view in (v_runs, v_model_runs, v_model_stats):
            found = connection.exec_driver_sql(f"SELECT * FROM {view.name}").keys()
            assert list(view.c.keys()) == list(found)


def test_runs_come_newest_first(rows: Rows) -> None:
    ids = [rows.run(number) for number in (3, 1, 2)]
    assert [run.id for run in list_runs(rows.database, limit=10)] == [ids[0], ids[2], ids[1]]


def test_limit_keeps_the_newest(rows: Rows) -> None:
    for number in range(5):
        rows.run(number)
    assert [run.started_at for run in list_runs(rows.database, limit=2)] == [at(4), at(3)]


def test_times_are_aware_utc_and_exact_to_the_microsecond(rows: Rows) -> None:
    rows.run(1, seconds=None, started_at=at(1.000001))
    assert list_runs(rows.database, limit=1)[0].started_at == at(1.000001)


def test_nothing_reported_is_none_and_zero_is_zero(rows: Rows) -> None:
    rows.run(1, rows_in=0)
    run = list_runs(rows.database, limit=1)[0]
    assert (run.rows_in, run.rows_out) == (0, None)


def test_metadata_and_truth_values_keep_their_types(rows: Rows) -> None:
    rows.run(1, metadata={"n": [1, {"a": None}]}, background=True)
    run = list_runs(rows.database, limit=1)[0]
    assert (run.metadata, run.background) == ({"n": [1, {"a": None}]}, True)


def test_pages_are_disjoint_and_complete_in_both_directions(rows: Rows) -> None:
    # Three runs share each start: the id decides, or pages would repeat or lose some.
    everything = [rows.run(number, started_at=at(number // 3)) for number in range(10)]
    downwards = [run.id for page in _pages_before(rows.database) for run in page]
    upwards = [run.id for page in _pages_after(rows.database) for run in reversed(page)]
    assert sorted(downwards) == sorted(everything)
    assert upwards == downwards[::-1]


def test_page_between_two_places_leaves_out_both(rows: Rows) -> None:
    for number in range(5):
        rows.run(number)
    newest, *between, oldest = list_runs(rows.database, limit=10)
    page = list_runs(rows.database, limit=10, before=cursor_of(newest), after=cursor_of(oldest))
    assert page == between


def _pages_before(database: Database) -> Iterator[list[StoredRun]]:
    cursor: Cursor | None = None
    while page := list_runs(database, limit=4, before=cursor):
        yield page
        cursor = cursor_of(page[-1])


def _pages_after(database: Database) -> Iterator[list[StoredRun]]:
    cursor = Cursor(at(-1), "")
    while page := list_runs(database, limit=4, after=cursor):
        yield page
        cursor = cursor_of(page[0])


def _names(rows: Rows, filters: RunFilters) -> set[str]:
    return {run.name for run in list_runs(rows.database, filters, limit=100)}


def test_every_filter_can_be_asked_for_and_no_other() -> None:
    assert [known.name for known in FILTERS] == list(RunFilters._fields)


def test_several_statuses_are_alternatives(rows: Rows) -> None:
    for number, status in enumerate(("completed", "failed", "degraded")):
        rows.run(number, name=status, status=status)
    assert _names(rows, RunFilters(status=("failed", "degraded"))) == {"failed", "degraded"}


def test_name_is_exact_unless_it_holds_a_star(rows: Rows) -> None:
    for number, name in enumerate(("load", "load_a", "loadXa", "100% sure", "1000", r"back\slash")):
        rows.run(number, name=name)
    expected: dict[str, set[str]] = {
        "load": {"load"},
        "LOAD": set(),
        "load*": {"load", "load_a", "loadXa"},
        "load_*": {"load_a"},
        "LOAD_*": {"load_a"},
        "100%*": {"100% sure"},
        r"back\*": {r"back\slash"},
        "'; DROP TABLE runs; --": set(),
    }
    assert {asked: _names(rows, RunFilters(name=asked)) for asked in expected} == expected


@pytest.mark.parametrize("odd", ["\udcff", "\udcff*", "\x00", "\x00*"])
def test_filter_for_what_no_database_holds_finds_nothing(rows: Rows, odd: str) -> None:
    rows.run(1)
    for filters in (RunFilters(name=odd), RunFilters(environment=odd), RunFilters(status=(odd,))):
        assert list_runs(rows.database, filters, limit=10) == []


def test_filters_add_up(rows: Rows) -> None:
    rows.run(1, name="a", environment="production")
    rows.run(2, name="b", environment="production")
    rows.run(3, name="a", environment="test")
    found = list_runs(rows.database, RunFilters(name="a", environment="production"), limit=10)
    assert [run.started_at for run in found] == [at(1)]


def test_nested_runs_are_told_from_top_level_ones(rows: Rows) -> None:
    parent = rows.run(1, name="pipeline")
    rows.nested_run(parent, 2, name="window")
    assert _names(rows, RunFilters(top_level=True)) == {"pipeline"}
    assert _names(rows, RunFilters(top_level=False)) == {"window"}
    assert _names(rows, RunFilters(parent_run_id=parent)) == {"window"}
    assert _names(rows, RunFilters()) == {"pipeline", "window"}


def test_deleted_runs_are_not_listed(rows: Rows) -> None:
    run = rows.run(1)
    with rows.database.write() as connection:
        connection.execute(tables.runs.update().where(tables.runs.c.id == run).values(deleted_at=at(9)))
    assert list_runs(rows.database, limit=10) == []


def test_latest_run_is_the_one_that_started_last(rows: Rows) -> None:
    rows.run(1)
    newest = rows.run(3)
    rows.run(2)
    assert latest_run(rows.database).id == newest


def test_latest_run_of_an_empty_database_is_not_found(rows: Rows) -> None:
    with pytest.raises(NotFoundError, match="no runs yet"):
        latest_run(rows.database)


def test_values_are_distinct_and_in_order(rows: Rows) -> None:
    for number, name in enumerate(("b", "a", "b")):
        rows.run(number, name=name)
    assert list_values(rows.database, "name") == ["a", "b"]


def test_a_page_of_runs_reads_an_index_and_sorts_nothing(tmp_path: Path) -> None:
    with open_database(f"sqlite:///{tmp_path}/runs.db") as database, database.read() as connection:
        plan = connection.exec_driver_sql(
            "EXPLAIN QUERY PLAN SELECT * FROM v_runs WHERE (started_at, id) < ('2026', 'x') "
            "ORDER BY started_at DESC, id DESC LIMIT 10"
        ).fetchall()
    text = "\n".join(str(line[-1]) for line in plan)
    assert "ix_runs_started_at_id" in text
    assert "FOR ORDER BY" not in text


@pytest.mark.parametrize(
    ("condition", "index"),
    [
        ("started_at > '2026'", "ix_runs_started_at_id"),
        ("name = 'support'", "ix_runs_name_started_at"),
        ("status = 'failed'", "ix_runs_status_started_at"),
        ("input_fingerprint = 'sha256:0f'", "ix_runs_input_fingerprint"),
        ("tenant_id = 'acme'", "ix_runs_tenant_id"),
    ],
    ids=["start", "stage or agent", "status", "fingerprint", "tenant or organization"],
)
def test_runs_are_found_by_an_index(tmp_path: Path, condition: str, index: str) -> None:
    with open_database(f"sqlite:///{tmp_path}/runs.db") as database, database.read() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN SELECT * FROM v_runs WHERE {condition}").fetchall()
    assert index in "\n".join(str(line[-1]) for line in plan)
