"""Spans with values that nobody foresaw are stored, and cost no other span of the batch its row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from otel_runs import attributes as key
from otel_runs.errors import MappingError
from otel_runs.ingest import Ingest
from otel_runs.ingest.splitting import save_splitting
from otel_runs.mapping.vocabulary import COLUMNS
from otel_runs.spans.span import Event, Span
from otel_runs.store.engine import Database, open_database
from tests.ingest.contents import empty
from tests.ingest.stored import save, stored_run, stored_step, stored_steps
from tests.ingest.traces import START, row_id, run_id, span
from tests.mapping.values import TEXTS, VALUES

KNOWN_KEYS = sorted({source.key for sources in COLUMNS.values() for source in sources} - {key.PARENT_RUN})


@settings(
    max_examples=60,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(
    attributes=st.dictionaries(st.sampled_from([*KNOWN_KEYS, f"{key.METADATA_PREFIX}x"]), VALUES, max_size=6),
    name=TEXTS,
    message=TEXTS,
)
def test_any_value_can_be_stored_beside_others_and_again(
    database: Database, attributes: dict[str, Any], name: str, message: str
) -> None:
    empty(database)
    raised = Event("exception", START, {key.EXCEPTION_MESSAGE: message, key.EXCEPTION_TYPE: name})
    odd = [
        span(number, parent, name=name, status="ERROR", attributes=attributes, events=[raised])
        for number, parent in ((0, None), (1, 0))
    ]
    save(database, [*odd, span(2, 0, kind="CONSUMER")], [odd[1], span(3, 0)], [odd[0]])
    assert {row_id(1), row_id(2), row_id(3)} <= set(stored_steps(database))


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (0, 0),
        (1, 2**64 - 1),
        (2**64 - 1, 2**64 - 1),
        (START * 1000, START * 1000 + 5),
        (-1, 5),
        (-(10**19), 10**19),
    ],
)
def test_time_that_no_database_takes_costs_no_span_its_row(database: Database, start: int, end: int) -> None:
    odd = [span(number, parent)._replace(start_ns=start, end_ns=end) for number, parent in ((0, None), (1, 0))]
    save(database, [*odd, span(2, 0)], [odd[0], span(3, 0)])
    assert set(stored_steps(database)) == {row_id(1), row_id(2), row_id(3)}
    assert stored_run(database, run_id())["status"] == "completed"


def test_tokens_and_costs_at_their_limit_can_be_added_up(database: Database) -> None:
    most = {key.GEN_AI_INPUT_TOKENS: 10**15, key.GEN_AI_OUTPUT_TOKENS: 10**15, key.COST_USD: 1e15, key.ROWS_IN: 10**15}
    save(database, [span(0), *(span(number, 0, attributes=most) for number in range(1, 50))])
    run = stored_run(database, run_id())
    assert (run["tokens"], run["rows_in"], run["cost_usd"]) == (98 * 10**15, 49 * 10**15, 49e15)


def test_more_tokens_than_anybody_uses_are_null_not_an_error(database: Database) -> None:
    too_many = {key.GEN_AI_INPUT_TOKENS: 2**63 - 1, key.GEN_AI_OUTPUT_TOKENS: 2**63 - 1}
    save(database, [span(0), span(1, 0, attributes=too_many)])
    assert stored_step(database, row_id(1))["tokens"] is None


def test_text_in_the_place_of_a_number_is_read_or_null(database: Database) -> None:
    step = {key.ROWS_IN: "12", key.ROWS_OUT: "n/a", key.ROWS_AFFECTED: "True", key.COST_USD: float("nan")}
    save(database, [span(0, attributes={key.BACKGROUND: "True"}), span(1, 0, attributes=step)])
    row = stored_step(database, row_id(1))
    assert (row["rows_in"], row["rows_out"], row["rows_affected"], row["cost_usd"]) == (12, None, None, None)
    assert stored_run(database, run_id())["background"] is True


def test_nul_and_half_a_surrogate_pair_become_readable_marks(database: Database) -> None:
    metadata = {f"{key.METADATA_PREFIX}a\x00": ["x\x00", "\ud800y"], key.MODEL_TAGS: ("t\x00",)}
    save(database, [span(0), span(1, 0, name="lo\x00ad\ud800", attributes=metadata)])
    row = stored_step(database, row_id(1))
    assert row["name"] == "lo\ufffdad?"
    assert row["metadata"] == {"a\ufffd": ["x\ufffd", "?y"]}


def test_very_long_names_are_cut_so_that_every_index_takes_them(database: Database) -> None:
    long = "\U0001f600" * 10_000
    attributes = {key.MODEL_PATH: long, key.TENANT_ID: long, key.SESSION_ID: long, key.ENVIRONMENT: long}
    save(database, [span(0, name=long, attributes=attributes), span(1, 0, name=long, attributes=attributes)])
    assert stored_step(database, row_id(1))["name"] == "\U0001f600" * 512
    assert stored_run(database, run_id())["environment"] == "\U0001f600" * 512


@pytest.mark.parametrize("number", [1e22, 1e23, 1e308, 5e-324, 2**63 - 1, -(2**63) + 1, 0.1])
def test_number_in_the_metadata_is_the_same_after_it_was_stored_and_changed(database: Database, number: float) -> None:
    started = span(0, open_=True, attributes={f"{key.METADATA_PREFIX}x": [number]})
    save(database, [started], [span(1, 0)], [span(0)], [span(2, 0)])
    (found,) = stored_run(database, run_id())["metadata"]["x"]
    assert number in {found, float(found)}  # PostgreSQL writes 1e23 out as an integer


def test_metadata_that_somebody_wrote_by_hand_costs_the_run_no_end(tmp_path: Path) -> None:
    with open_database(f"sqlite:///{tmp_path}/runs.db") as database:
        save(database, [span(0, open_=True)])
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE runs SET metadata = '{see ticket'")
        save(database, [span(0)])
        run = stored_run(database, run_id())
    assert (run["status"], run["metadata"]) == ("completed", {"metadata": "{see ticket"})


def test_time_that_somebody_wrote_by_hand_is_named_where_it_refuses_a_span(tmp_path: Path) -> None:
    with open_database(f"sqlite:///{tmp_path}/runs.db") as database:
        save(database, [span(0, open_=True)])
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE runs SET started_at = 'yesterday'")
        (refused,) = save_splitting(Ingest(database), [span(0), span(0, trace=1)])
        with database.read() as connection:
            assert connection.exec_driver_sql("SELECT status FROM runs ORDER BY id").scalars().all()[-1] == "completed"
    assert "a time of a stored row is 'yesterday', which is no time; expected YYYY-MM-DD" in refused.reason


def test_strict_setting_refuses_what_cannot_be_read(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RUNS_STRICT", "true")
    with pytest.raises(MappingError, match=r"Span 0000000000000002: otel_runs\.rows_affected is 'many' \(str\)"):
        save(database, [span(0), span(1, 0, attributes={key.ROWS_AFFECTED: "many"})])
    assert stored_steps(database) == {}


def test_metadata_setting_selects_attributes_and_prompts_are_not_among_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = {"gen_ai.input.messages": "secret", "gen_ai.system_instructions": "secret", "batch.no": 7}
    save(database, [span(0, attributes=prompts)])
    monkeypatch.setenv("OTEL_RUNS_METADATA", "batch.*, app.customer")
    save(database, [span(0, trace=1, attributes=prompts)])
    assert stored_run(database, run_id())["metadata"] is None
    assert stored_run(database, run_id(1))["metadata"] == {"batch.no": 7}


def test_batch_of_no_spans_changes_nothing(database: Database) -> None:
    Ingest(database).save([])
    assert stored_steps(database) == {}


def test_one_batch_may_hold_the_same_span_many_times(database: Database) -> None:
    spans: list[Span] = [span(0), span(1, 0)] * 20
    save(database, spans)
    assert stored_run(database, run_id())["steps"] == 1
