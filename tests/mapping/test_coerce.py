"""Values are read tolerantly: what cannot be read is NULL, never zero and never an error."""

from __future__ import annotations

import math

import orjson
import pytest
from hypothesis import example, given

from otel_runs.mapping import coerce
from tests.mapping.values import TEXTS, VALUES


@given(VALUES)
def test_count_of_anything_is_nothing_or_a_number_that_can_be_added_up(value: object) -> None:
    found = coerce.count(value)
    assert found is None or (type(found) is int and 0 <= found <= 10**15)


@given(VALUES)
def test_attempt_of_anything_is_nothing_or_a_32_bit_number_from_1_on(value: object) -> None:
    found = coerce.attempt(value)
    assert found is None or (type(found) is int and 1 <= found < 2**31)


@given(VALUES)
def test_amount_of_anything_is_nothing_or_a_float_that_can_be_added_up(value: object) -> None:
    found = coerce.amount(value)
    assert found is None or (type(found) is float and 0 <= found <= 10**15)


@given(VALUES)
@example(1e305)
def test_nanoseconds_of_anything_are_nothing_or_a_count(value: object) -> None:
    found = coerce.ns_from_seconds(value)
    assert found is None or (type(found) is int and 0 <= found <= 10**15)


@given(VALUES)
def test_truth_of_anything_is_nothing_or_a_truth_value(value: object) -> None:
    assert coerce.boolean(value) in {None, True, False}


@given(VALUES)
@example("x" * 63 + "\ud800")
def test_name_of_anything_is_nothing_or_a_short_text_that_every_database_takes(value: object) -> None:
    found = coerce.name(value)
    assert found is None or (0 < len(found) <= coerce.NAME_LENGTH and _is_clean(found))


@given(VALUES)
def test_text_of_anything_is_nothing_or_a_text_that_every_database_takes(value: object) -> None:
    found = coerce.text(value)
    assert found is None or (0 < len(found) <= coerce.TEXT_LENGTH and _is_clean(found))


@given(VALUES)
def test_names_of_anything_are_nothing_or_names(value: object) -> None:
    found = coerce.names(value)
    assert found is None or all(0 < len(name) <= coerce.NAME_LENGTH and _is_clean(name) for name in found)


@given(VALUES)
def test_plain_value_of_anything_survives_json(value: object) -> None:
    found = coerce.plain(value)
    written = orjson.dumps(found)
    assert b"\\u0000" not in written
    assert orjson.loads(written) == found


@given(TEXTS)
def test_cleaning_twice_changes_nothing_more(value: str) -> None:
    once = coerce.clean(value)
    assert _is_clean(once)
    assert coerce.clean(once) == once


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, 0),
        (12, 12),
        (12.0, 12),
        ("12", 12),
        (" 12 ", 12),
        ('"12"', 12),
        ("12.0", 12),
        ("1e3", 1000),
        (12.5, None),
        (-1, None),
        ("-1", None),
        ("twelve", None),
        ("", None),
        ("n/a", None),
        ("True", None),
        (True, None),
        (False, None),
        (math.nan, None),
        (math.inf, None),
        ("NaN", None),
        (None, None),
        ([12], None),
        (b"12", None),
        (10**15 + 1, None),
    ],
)
def test_count_reads_numbers_however_they_are_written(value: object, expected: int | None) -> None:
    assert coerce.count(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(0.25, 0.25), ("0.25", 0.25), (1, 1.0), (-0.1, None), (True, None), (math.nan, None)]
)
def test_amount_reads_numbers_however_they_are_written(value: object, expected: float | None) -> None:
    assert coerce.amount(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [(True, True), ("True", True), (" false ", False), ("yes", None), (1, None), ("", None)]
)
def test_boolean_reads_words(value: object, expected: bool | None) -> None:
    assert coerce.boolean(value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("load", "load"), (" load ", "load"), ("", None), ("N/A", None), (7, "7"), (7.5, "7.5"), (True, None)],
)
def test_name_reads_texts_and_writes_numbers_out(value: object, expected: str | None) -> None:
    assert coerce.name(value) == expected


def test_integer_longer_than_python_writes_out_is_nothing() -> None:
    assert coerce.name(10**5_000) is None
    assert coerce.plain(10**5_000) is None
    assert coerce.count(10**5_000) is None
    assert coerce.amount(10**5_000) is None


def test_integer_beyond_64_bits_in_the_metadata_is_written_out() -> None:
    assert coerce.plain(2**63 - 1) == 2**63 - 1
    assert coerce.plain(2**63) == "9223372036854775808"


def test_long_text_is_cut_with_a_mark() -> None:
    cut = coerce.text("x" * 70_000)
    assert cut is not None
    assert len(cut) == coerce.TEXT_LENGTH
    assert cut.endswith("x ... (cut)")


def test_one_text_is_a_list_of_one() -> None:
    assert coerce.names("daily") == ("daily",)
    assert coerce.names(["daily", "", 7, None]) == ("daily", "7")
    assert coerce.last_name(["stop", "length"]) == "length"
    assert coerce.last_name([]) is None


def test_empty_text_in_the_metadata_stays_an_empty_text() -> None:
    assert coerce.plain("") == ""


def test_value_deeper_than_json_libraries_go_is_cut_off_below() -> None:
    deep: object = "bottom"
    for _ in range(2_000):
        deep = [deep]
    assert b"bottom" not in orjson.dumps(coerce.plain(deep))
    assert coerce.plain([["bottom"]]) == [["bottom"]]


def _is_clean(text: str) -> bool:
    return "\x00" not in text and text.encode("utf-8").decode("utf-8") == text
