from __future__ import annotations

import pytest

from otel_runs.errors import AmbiguousIdError, NotFoundError
from otel_runs.mapping.coerce import clean
from otel_runs.query.runs import CANDIDATES_TOLD, get_run
from tests.query.rows import Rows, span, trace


def test_run_is_found_by_id_trace_id_or_the_beginning_of_one(rows: Rows) -> None:
    run = rows.run(0x0AF76519)
    rows.run(0xA0EEBC99)
    asked = (
        "0af76519-9c0b-4ef8-bb6d-6bb9bd380a11",
        "0AF76519-9C0B-4EF8-BB6D-6BB9BD380A11",
        "0af765199c0b4ef8bb6d6bb9bd380a11",
        "0af76519",
        "0af76519-",
        "0af76519-9c0b-4e",
        "0af765199c0b4e",
        "0",
        "  0af76519\n",
    )
    assert {text: get_run(rows.database, text).id for text in asked} == dict.fromkeys(asked, run)


def test_run_is_found_by_the_users_own_id(rows: Rows) -> None:
    run = rows.run(1, external_id="airflow/2026-01-09 %_")
    rows.run(2, external_id="airflow/2026-01-09 xy")
    assert get_run(rows.database, "airflow/2026-01-09 %_").id == run


def test_capitals_of_the_users_own_id_count(rows: Rows) -> None:
    capitals, small = rows.run(1, external_id="Nightly-A0EE"), rows.run(2, external_id="nightly-a0ee")
    assert get_run(rows.database, "Nightly-A0EE").id == capitals
    assert get_run(rows.database, "nightly-a0ee").id == small


def test_the_users_own_id_wins_over_the_beginning_of_another_run(rows: Rows) -> None:
    rows.run(0xA0EEBC99)
    own = rows.run(1, external_id="a0ee")
    assert get_run(rows.database, "a0ee").id == own


def test_prefix_means_the_top_level_run_though_its_nested_runs_begin_alike(rows: Rows) -> None:
    run = rows.run(0x0AF76519)
    rows.nested_run(run, 7)
    rows.nested_run(run, 8)
    assert get_run(rows.database, "0af76519").id == run


def test_nested_run_is_found_by_its_id_the_beginning_of_it_or_its_span_id(rows: Rows) -> None:
    run = rows.run(0x0AF76519)
    nested = rows.nested_run(run, 0xB7AD6B71)
    rows.nested_run(run, 0xC8AD6B71)
    asked = (nested, nested[:25], "b7ad6b71", span(0xB7AD6B71))
    assert [get_run(rows.database, text).id for text in asked] == [nested] * 4


def test_run_of_several_traces_is_found_by_each_of_them(rows: Rows) -> None:
    run = rows.run(1, run_key="nightly", id="5f0b9d0e-0000-5000-8000-000000000000")
    rows.model_run(run, 9, trace_id=trace(0xFEED))
    assert get_run(rows.database, trace(1)).id == run
    assert get_run(rows.database, trace(0xFEED)).id == run


def test_what_fits_no_run_is_not_found_and_the_message_quotes_it(rows: Rows) -> None:
    rows.run(0x0AF76519)
    for asked in ("ffff", "", "zz", "%", "_", "0af7%", "a" * 33, "'; DROP TABLE runs; --", "é", "\x1b[31m"):
        with pytest.raises(NotFoundError) as caught:
            get_run(rows.database, asked)
        assert repr(asked) in str(caught.value)
        assert "otel-runs tail" in str(caught.value)


def test_ambiguous_prefix_tells_the_candidates(rows: Rows) -> None:
    ids = (rows.run(0xAB000001, name="first"), rows.run(0xAB000002, name="second", status="failed"))
    rows.run(0xAC000001)
    with pytest.raises(AmbiguousIdError) as caught:
        get_run(rows.database, "ab")
    assert caught.value.candidates == ids
    message = str(caught.value)
    assert all(text in message for text in (*ids, "first", "second", "failed", "2026-"))


def test_many_candidates_are_told_in_part(rows: Rows) -> None:
    for number in range(CANDIDATES_TOLD + 1):
        rows.run(0xAB000000 + number)
    with pytest.raises(AmbiguousIdError, match=r"\n  \.\.\.$") as caught:
        get_run(rows.database, "ab")
    assert len(caught.value.candidates) == CANDIDATES_TOLD


def test_an_id_of_the_users_own_given_twice_is_ambiguous(rows: Rows) -> None:
    ids = tuple(rows.run(number, external_id="again") for number in (1, 2))
    with pytest.raises(AmbiguousIdError) as caught:
        get_run(rows.database, "again")
    assert caught.value.candidates == ids


@pytest.mark.parametrize("asked", ["\udcff", "\x00", "a\x00b", "1\udcff"])
def test_what_no_database_can_be_asked_for_is_not_found(rows: Rows, asked: str) -> None:
    rows.run(1)
    with pytest.raises(NotFoundError, match="No run is called"):
        get_run(rows.database, asked)


def test_own_id_is_found_by_the_bytes_that_it_was_given_with(rows: Rows) -> None:
    run = rows.run(1, external_id=clean("nightly \udcff"))
    assert get_run(rows.database, "nightly \udcff").id == run
