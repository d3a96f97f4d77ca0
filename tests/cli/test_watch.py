from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len

from otel_runs.cli import looking
from otel_runs.store.engine import Database
from tests.cli.conftest import CommandLine
from tests.query.rows import Rows, at


def ago(seconds: float) -> datetime:
    return datetime.now(UTC) - timedelta(seconds=seconds)


def a_run_that_goes_on(rows: Rows) -> str:
    """Seventy seconds into a run that takes two minutes and has four steps."""
    for number in range(1, 4):
        earlier = rows.run(number, seconds=120.0)
        for step in range(4):
            rows.model_run(earlier, 10 * number + step, "embed", seconds=30.0)
    run = rows.run(
        0xA0EEBC99, seconds=None, started_at=ago(70), heartbeat_at=ago(4), rows_in=12000, tokens=1234, cost_usd=0.5
    )
    rows.model_run(run, 101, "embed", started_at=ago(70))
    rows.model_run(run, 102, "embed", started_at=ago(20), seconds=None)
    return run


def test_line_tells_steps_time_what_runs_and_totals(rows: Rows, otel_runs: CommandLine) -> None:
    a_run_that_goes_on(rows)
    outcome = otel_runs("watch", "--timeout", "0")
    line = outcome.out
    assert re.search(r"1m 1\ds of about 2m 00s", line)  # seconds pass while it looks
    for text in ("a0eebc99  daily_sales  running", "1 of 4 steps", "now: embed"):
        assert text in line
    for text in ("rows 12,000 → -", "tokens 1,234", "cost $0.50"):
        assert text in line
    assert "no sign of life" not in line


def test_terminal_shows_how_much_is_left_and_on_how_many_runs_that_rests(rows: Rows, otel_runs: CommandLine) -> None:
    a_run_that_goes_on(rows)
    printed = otel_runs("watch", "--timeout", "0", width=100).out
    for text in ("1 of 4 steps", "25.0%", "s left (the median of 3 earlier runs)", "Sign of life", "of about 30.00s"):
        assert text in printed
    assert "━" * 10 in printed


def test_all_running_steps_are_counted_however_many_are_shown(rows: Rows, otel_runs: CommandLine) -> None:
    run = rows.run(1, seconds=None, started_at=ago(70))
    rows.model_run(run, 1, "done", started_at=ago(70))
    for number in range(2, 32):
        rows.model_run(run, number, f"embed_{number}", started_at=ago(60 - number), seconds=None)
    assert "now: embed_29, embed_30, embed_31 and 27 more" in otel_runs("watch", "--timeout", "0").out
    assert "and 22 more" in otel_runs("watch", "--timeout", "0", width=100).out


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_nothing_leaves_the_terminal(rows: Rows, otel_runs: CommandLine, width: int) -> None:
    run = a_run_that_goes_on(rows)
    rows.model_run(run, 103, "表" * 60, started_at=ago(20), seconds=None)
    printed = otel_runs("watch", "--timeout", "0", width=width).out
    visible = [line.split("\x1b[2K")[-1].replace("\x1b[?25l", "") for line in printed.splitlines()]
    assert max(cell_len(line) for line in visible if "\x1b" not in line) <= width


def test_run_that_takes_longer_than_usual_is_told_so(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1, seconds=10.0)
    rows.run(2, seconds=None, started_at=ago(70))
    printed = otel_runs("watch", "--timeout", "0").out
    assert re.search(r"1m 0\ds more than usual", printed)


def test_first_run_of_its_kind_counts_what_was_seen_so_far_and_expects_nothing(
    rows: Rows, otel_runs: CommandLine
) -> None:
    run = rows.run(1, seconds=None, started_at=ago(5))
    rows.model_run(run, 2)
    outcome = otel_runs("watch", "--timeout", "0", "--json")
    look = json.loads(outcome.out)
    assert (look["steps_ended"], look["steps_seen"], look["steps_known"]) == (1, 1, 1)
    assert (look["expected_seconds"], look["remaining_seconds"], look["expected_from_runs"]) == (None, None, 0)
    assert "1 of 1 steps so far" in otel_runs("watch", "--timeout", "0").out
    assert "%" not in otel_runs("watch", "--timeout", "0", width=100).out


def test_silence_is_told(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1, seconds=None, started_at=ago(300), heartbeat_at=ago(130))
    assert "no sign of life for 2m 1" in otel_runs("watch", "--timeout", "0").out
    assert "2m 1" in otel_runs("watch", "--timeout", "0", width=100).out


def test_clock_ahead_of_ours_gives_no_negative_time_and_is_told(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1, seconds=None, started_at=ago(-3650))
    look = json.loads(otel_runs("watch", "--timeout", "0", "--json").out)
    assert look["elapsed_seconds"] == 0
    assert 3600 < look["clock_ahead_seconds"] < 3650
    assert "the run's clock is ahead of this machine's by 1h 00m" in otel_runs("watch", "--timeout", "0", width=100).out


def test_run_that_has_ended_is_shown_at_once_as_show_does(rows: Rows, otel_runs: CommandLine) -> None:
    run = rows.run(1, status="failed", error="ValueError: no rows")
    rows.model_run(run, 2)
    watched, shown = otel_runs("watch", run), otel_runs("show", run)
    assert watched.code == 3
    assert (watched.out, shown.code) == (shown.out, 0)


@pytest.mark.parametrize(("status", "code"), [("completed", 0), ("degraded", 0), ("failed", 3), ("cancelled", 3)])
def test_exit_code_says_how_the_run_ended(rows: Rows, otel_runs: CommandLine, status: str, code: int) -> None:
    assert otel_runs("watch", rows.run(1, status=status)).code == code


def test_latest_of_the_running_runs_is_watched(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1, name="older", seconds=None, started_at=at(0))
    rows.run(2, name="newer", seconds=None, started_at=at(1))
    rows.run(3, name="ended", started_at=at(2))
    assert json.loads(otel_runs("watch", "--json", "--timeout", "0").out)["run"]["name"] == "newer"


def test_time_that_is_up_is_exit_code_4_and_told(rows: Rows, otel_runs: CommandLine) -> None:
    nothing = otel_runs("watch", "--timeout", "0")
    assert (nothing.code, "no run was found" in nothing.err) == (4, True)
    rows.run(1, seconds=None)
    outcome = otel_runs("watch", "--timeout", "0")
    assert (outcome.code, "has not ended" in outcome.err) == (4, True)


def test_unknown_run_is_an_error(history: Database, otel_runs: CommandLine) -> None:
    outcome = otel_runs("watch", "nobody")
    assert (outcome.code, "No run is called 'nobody'" in outcome.err) == (1, True)


def test_text_from_outside_does_not_act_on_the_terminal(rows: Rows, otel_runs: CommandLine) -> None:
    run = rows.run(1, name="a\x1b[31mb", seconds=None, started_at=ago(1))
    rows.model_run(run, 2, "c\x1b[2Jd", seconds=None, started_at=ago(1))
    for width in (None, 100):
        printed = otel_runs("watch", "--timeout", "0", width=width).out
        assert "\x1b[31m" not in printed
        assert "\x1b[2J" not in printed


def test_interval_belongs_to_follow(history: Database, otel_runs: CommandLine) -> None:
    outcome = otel_runs("tail", "--interval", "1")
    assert (outcome.code, "--interval belongs to --follow" in outcome.err) == (2, True)


def test_pause_after_a_slow_look_is_bounded(history: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    clock = iter(range(0, 10_000, 100))  # every look takes 100 seconds
    monkeypatch.setattr("otel_runs.cli.looking.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("otel_runs.cli.looking.time.sleep", pauses.append)
    watched = looking.Looking(None, interval=0.5, timeout=None)
    assert watched.until(lambda _: len(pauses) == 3)
    assert pauses == [looking.LONGEST_PAUSE] * 3
