from __future__ import annotations

import json
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_runs.cli.output import UNICODE, json_text
from otel_runs.cli.text import cost, count, duration, many_lines, one_line, percent, short_id, time
from otel_runs.cli.timeline import Interval, bar, interval
from tests.query.rows import at

DANGEROUS = [*range(0x20), *range(0x7F, 0xA0), 0x061C, 0x200E, 0x200F, *range(0x2028, 0x202F), *range(0x2066, 0x206A)]


def test_one_line_leaves_nothing_that_a_terminal_acts_on() -> None:
    shown = one_line("".join(map(chr, DANGEROUS)))
    assert not {ord(character) for character in shown} & set(DANGEROUS)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("Größe 表 😀", "Größe 表 😀"),
        ("\x1b[31mred", r"\e[31mred"),
        ("a\nb\tc\rd", r"a\nb\tc\rd"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202etxt.exe", r"\u202etxt.exe"),
    ],
)
def test_one_line_shows_control_characters_and_keeps_the_rest(text: str, shown: str) -> None:
    assert one_line(text) == shown


def test_many_lines_keeps_line_ends_and_tabs_only() -> None:
    assert many_lines("a\r\n\tb\x1b\x07\r") == "a\n\tb\\e\\x07\\r"


@given(st.text())
def test_json_for_the_terminal_reads_as_what_was_written(text: str) -> None:
    printed = json_text({"text": text})
    assert json.loads(printed) == {"text": text}
    assert not {ord(character) for character in printed} & (set(DANGEROUS) - {ord("\n")})


def test_json_times_are_utc_with_microseconds_and_z() -> None:
    assert json.loads(json_text([at(0), at(0.5)])) == ["2026-01-09T14:23:15.000000Z", "2026-01-09T14:23:15.500000Z"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (None, "-"),
        (0.0, "<1ms"),
        (0.0004, "<1ms"),
        (0.085, "85ms"),
        (0.1, "0.10s"),
        (12.45, "12.45s"),
        (59.99, "59.99s"),
        (59.999, "1m 00s"),
        (185, "3m 05s"),
        (3599.7, "1h 00m"),
        (8040, "2h 14m"),
        (97_200, "1d 03h"),
    ],
)
def test_durations(seconds: float | None, shown: str) -> None:
    assert duration(seconds) == shown


@pytest.mark.parametrize(
    ("rate", "shown"), [(None, "-"), (0.0, "0.0%"), (66.7, "66.7%"), (99.96, "99.9%"), (100.0, "100%")]
)
def test_only_a_full_rate_is_shown_as_100_percent(rate: float | None, shown: str) -> None:
    assert percent(rate) == shown


def test_numbers_part_their_thousands_and_null_is_a_dash() -> None:
    assert (count(1234567), count(0), count(None)) == ("1,234,567", "0", "-")


def test_small_costs_keep_the_digits_that_count() -> None:
    assert (cost(None), cost(0), cost(0.00312), cost(1234.5)) == ("-", "$0.00", "$0.0031", "$1,234.50")


def test_time_and_id_as_lists_show_them() -> None:
    assert time(at(0)) == "2026-01-09 14:23:15"
    assert short_id("0af76519-16cd-43dd-8448-eb211c80319c") == "0af76519"


WHOLE = Interval(at(0), at(10))


@pytest.mark.parametrize(
    ("start", "end", "before", "drawn"),
    [
        (0, 10, 0, "━━━━━━━━━━"),
        (0, 5, 0, "━━━━━"),
        (5, 10, 5, "━━━━━"),
        (0.5, 2.5, 0, "╺━╸"),
        (0, 0, 0, "╸"),
        (10, 10, 9, "╺"),
        (3.5, 3.51, 3, "╺"),
        (-5, -1, 0, "╸"),
        (20, 30, 9, "╺"),
        (-5, 30, 0, "━━━━━━━━━━"),
    ],
)
def test_bar_lies_where_the_step_lay_in_the_time_of_the_run(start: float, end: float, before: int, drawn: str) -> None:
    assert bar(WHOLE, Interval(at(start), at(end)), 10, UNICODE) == (before, drawn)


@given(st.floats(-5, 15), st.floats(0, 20), st.integers(1, 80), st.floats(0, 10))
def test_bar_is_never_empty_and_never_leaves_its_line(start: float, length: float, width: int, whole: float) -> None:
    found = bar(Interval(at(0), at(whole)), Interval(at(start), at(start + length)), width, UNICODE)
    assert found.before >= 0
    assert 1 <= len(found.drawn) <= width - found.before


def test_what_still_runs_ends_now_and_never_before_its_start() -> None:
    assert interval(at(0), None, None, at(7)) == (at(0), at(7))
    assert interval(at(9), None, None, at(7)) == (at(9), at(9))
    assert interval(at(0), None, 2_000_000_000, at(7)).end == at(0) + timedelta(seconds=2)
