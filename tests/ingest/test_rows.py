"""A record that goes into the database comes out again as it was."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from otel_runs.mapping.runs import RunState
from otel_runs.records import KINDS, MODEL_RUN_STATUSES, RUN_STATUSES, Model, ModelRun, Run
from otel_runs.store.engine import Database, open_database
from otel_runs.store.rows import Rows, ns_from_value
from otel_runs.store.writer import Link, StoredModel, Writer
from otel_runs.units import time_from_ns
from tests.ingest.contents import empty
from tests.ingest.stored import save, stored_step
from tests.ingest.traces import START, row_id, run_id, span, trace_id

FEW = settings(
    max_examples=40,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)
_COUNTS = st.one_of(st.none(), st.integers(0, 2**63 - 1))
_AMOUNTS = st.one_of(st.none(), st.floats(0, 1e15))
_MICROSECONDS = st.integers(0, 2**63 // 1000 - 1).map(lambda microseconds: microseconds * 1000)
_TIMES = st.one_of(st.none(), _MICROSECONDS)
# Above 2**53 JSONB gives a float back as the integer that its digits spell: test_odd_values.py has some of those.
_EXACT_FLOATS = st.floats(-(2.0**53), 2.0**53)
_JSON = st.dictionaries(
    _TEXTS,
    st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(-(2**63) + 1, 2**63 - 1), _EXACT_FLOATS, _TEXTS),
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_TEXTS, inner, max_size=3)),
        max_leaves=5,
    ),
    max_size=3,
)
_MAYBE_TEXT = st.one_of(st.none(), _TEXTS)

_RUN_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(Run._fields, _MAYBE_TEXT),
    **dict.fromkeys(("rows_in", "rows_out", "llm_calls", "input_tokens", "output_tokens", "tokens"), _COUNTS),
    **dict.fromkeys(("steps", "steps_expected", "retry_count", "ttft_ns", "duration_ns"), _COUNTS),
    **dict.fromkeys(("completed_at", "heartbeat_at", "lost_at", "deleted_at"), _TIMES),
    **dict.fromkeys(("name", "environment", "trace_id"), _TEXTS),
    "id": st.just(run_id()),
    "parent_run_id": st.sampled_from([None, run_id()]),
    "status": st.sampled_from(RUN_STATUSES),
    "started_at": _MICROSECONDS,
    "cost_usd": _AMOUNTS,
    "background": st.one_of(st.none(), st.booleans()),
    "marked": st.one_of(st.none(), st.just(True)),
    "metadata": st.one_of(st.none(), _JSON),
}
_MODEL_RUN_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(ModelRun._fields, _MAYBE_TEXT),
    **dict.fromkeys(("rows_affected", "rows_in", "rows_out", "input_tokens", "output_tokens", "tokens"), _COUNTS),
    **dict.fromkeys(("name", "trace_id", "span_id"), _TEXTS),
    "id": st.just(row_id(1)),
    "run_id": st.just(run_id()),
    "model_id": st.just("m"),
    "kind": st.sampled_from(KINDS),
    "attempt": st.integers(1, 2**31 - 1),
    "status": st.sampled_from(MODEL_RUN_STATUSES),
    "started_at": _MICROSECONDS,
    "completed_at": _TIMES,
    "duration_ns": _COUNTS,
    "cost_usd": _AMOUNTS,
    "metadata": st.one_of(st.none(), _JSON),
}

_STATES = st.builds(
    RunState,
    st.builds(Run, **_RUN_FIELDS),
    st.dictionaries(st.sampled_from(["rows_in", "tokens", "status", "steps", "lost"]), _COUNTS),
    st.booleans(),
)
_MODEL_RUNS = st.builds(ModelRun, **_MODEL_RUN_FIELDS)
_PLAIN_RUN = RunState(Run(id=run_id(), trace_id=trace_id(0), name="nightly", started_at=START))
_MODEL = Model("m", "marts.revenue", "revenue", "model")
_PLAIN_MODEL_RUN = ModelRun._make([None] * len(ModelRun._fields))._replace(
    run_id=run_id(),
    model_id=_MODEL.id,
    trace_id=trace_id(0),
    span_id="0",
    kind="step",
    attempt=1,
    status="success",
    started_at=START,
)


def insert_parents(writer: Writer) -> None:
    """What a model run refers to."""
    writer.insert_runs([_PLAIN_RUN])
    writer.insert_models([(_MODEL, StoredModel("model", START, START, ""))])


@FEW
@given(state=_STATES)
def test_run_comes_out_of_the_database_as_it_went_in(database: Database, state: RunState) -> None:
    empty(database)
    with database.write() as connection:
        Writer(connection).insert_runs([state])
    with database.write() as connection:
        assert Writer(connection).lock_runs([run_id()]) == {run_id(): state}


@FEW
@given(state=_STATES)
def test_run_that_is_overwritten_comes_out_as_it_was_written_last(database: Database, state: RunState) -> None:
    empty(database)
    with database.write() as connection:
        Writer(connection).insert_runs([_PLAIN_RUN])
    with database.write() as connection:
        Writer(connection).save_runs([state])
    with database.write() as connection:
        assert Writer(connection).lock_runs([run_id()]) == {run_id(): state}


@FEW
@given(record=_MODEL_RUNS, last=_MODEL_RUNS)
def test_model_run_comes_out_of_the_database_as_it_went_in(
    database: Database, record: ModelRun, last: ModelRun
) -> None:
    empty(database)
    with database.write() as connection:
        writer = Writer(connection)
        insert_parents(writer)
        writer.insert_model_runs(writer.packed_model_runs([record]))
        assert writer.find_model_runs([record.id]) == {record.id: record}
    with database.write() as connection:
        Writer(connection).save_model_runs([last])
    with database.write() as connection:
        assert Writer(connection).find_model_runs([record.id, "none"]) == {last.id: last}


def test_run_that_exists_is_left_alone_by_an_insert_that_says_so(database: Database) -> None:
    other = _PLAIN_RUN._replace(run=_PLAIN_RUN.run._replace(id=run_id(1)))
    with database.write() as connection:
        writer = Writer(connection)
        assert writer.insert_runs([_PLAIN_RUN]) == 1
        renamed = _PLAIN_RUN._replace(run=_PLAIN_RUN.run._replace(name="other"))
        assert writer.insert_runs([renamed, other]) == 1
        assert writer.insert_runs([]) == 0
        assert writer.lock_runs([run_id()]) == {run_id(): _PLAIN_RUN}


@pytest.mark.parametrize("number", [149, 150, 151, 460])
def test_all_of_many_rows_are_inserted_and_those_that_existed_not_counted(database: Database, number: int) -> None:
    runs = {id_: _PLAIN_RUN._replace(run=_PLAIN_RUN.run._replace(id=id_)) for id_ in map(run_id, range(number))}
    steps = {id_: _PLAIN_MODEL_RUN._replace(id=id_, name=id_) for id_ in map(row_id, range(number))}
    with database.write() as connection:
        writer = Writer(connection)
        insert_parents(writer)
        assert writer.insert_runs(list(runs.values())) == number - 1
        assert writer.lock_runs(runs) == runs
        writer.insert_model_runs(writer.packed_model_runs(steps.values()))
        assert writer.find_model_runs([*steps]) == steps


def test_link_comes_out_of_the_database_as_it_went_in(database: Database) -> None:
    link, root = Link(row_id(1), row_id(0), run_id(), trace_id(0)), Link(row_id(2), None, run_id(), trace_id(0))
    with database.write() as connection:
        writer = Writer(connection)
        writer.insert_runs([_PLAIN_RUN])
        writer.insert_links([link, root])
        writer.save_links([link._replace(parent_id=row_id(2))])
        assert writer.find_links([link.id, root.id]) == {link.id: row_id(2), root.id: None}


def test_sqlite_keeps_times_as_text_that_its_own_functions_read(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    with open_database(file) as database, database.write() as connection:
        moment = START + 1_234_000
        Writer(connection).insert_runs([_PLAIN_RUN._replace(run=_PLAIN_RUN.run._replace(started_at=moment))])
    with closing(sqlite3.connect(file)) as plain:
        query = "SELECT typeof(started_at), started_at, DATE(started_at) FROM runs"
        assert plain.execute(query).fetchone() == ("text", "2025-10-09 08:53:20.001234", "2025-10-09")


def test_metadata_can_be_asked_by_the_databases_json_functions(database: Database) -> None:
    with database.write() as connection:
        Writer(connection).insert_runs([_PLAIN_RUN._replace(run=_PLAIN_RUN.run._replace(metadata={"batch": 7}))])
    with database.read() as connection:
        assert connection.execute(text("SELECT metadata->>'batch' FROM runs")).scalar_one() in {7, "7"}


@given(_MICROSECONDS)
def test_time_written_is_the_time_read(ns: int) -> None:
    assert ns_from_value(Rows("").time(ns)) == ns
    assert ns_from_value(time_from_ns(ns)) == ns


@pytest.mark.parametrize("text", ["2026-11-21 22:10:00", "2026-11-21 22:10:00.000", "2026-11-21T22:10:00.000000"])
def test_time_that_somebody_else_wrote_is_read_too(text: str) -> None:
    assert ns_from_value(text) == 1_795_299_000_000_000_000


def test_nothing_is_written_as_nothing() -> None:
    assert Rows("").time(None) is None
    assert ns_from_value(None) is None


@pytest.mark.parametrize(
    ("duration_ns", "milliseconds"),
    [(0, 0), (499_999, 0), (500_000, 1), (1_499_999, 1), (1_500_000, 2), (2_500_000, 3), (2**63 - 1, 9223372036855)],
)
def test_milliseconds_of_a_model_run_are_rounded_half_up(
    database: Database, duration_ns: int, milliseconds: int
) -> None:
    save(database, [span(1, 0)._replace(start_ns=0, end_ns=duration_ns)])
    found = stored_step(database, row_id(1))
    assert (found["execution_ms"], found["duration_ns"]) == (milliseconds, duration_ns)
