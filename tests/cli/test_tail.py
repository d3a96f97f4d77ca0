from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from rich.cells import cell_len

from otel_runs.query.results import StoredRun
from otel_runs.records import RUN_STATUSES
from otel_runs.store.engine import Database
from tests.cli.conftest import CommandLine
from tests.query.rows import Rows, at

TITLES = ("Run ID", "Name", "Status", "Started At (UTC)", "Rows In", "Rows Out", "Duration")


def _three_runs(rows: Rows) -> None:
    rows.run(0xA0EEBC99, name="window_0", started_at=at(0), rows_in=150)
    rows.run(0xB1FFC88A, name="window_1", started_at=at(13), seconds=15.23, rows_in=2000, rows_out=0)
    rows.run(0xC2DDD77B, name="window_2", started_at=at(30), seconds=3.12, status="failed", environment="production")


def test_last_runs_are_listed_oldest_first_with_dashes_for_null(rows: Rows, otel_runs: CommandLine) -> None:
    _three_runs(rows)
    assert otel_runs("tail", width=100).out.splitlines() == [
        "┏━━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━━┳━━━━━━━━━━━━━━━━━━━━━┳━━━━━━━━━┳━━━━━━━━━━┳━━━━━━━━━━┓",
        "┃ Run ID   ┃ Name     ┃ Status    ┃ Started At (UTC)    ┃ Rows In ┃ Rows Out ┃ Duration ┃",
        "┡━━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━━╇━━━━━━━━━━━━━━━━━━━━━╇━━━━━━━━━╇━━━━━━━━━━╇━━━━━━━━━━┩",
        "│ a0eebc99 │ window_0 │ completed │ 2026-01-09 14:23:15 │     150 │        - │   12.45s │",
        "│ b1ffc88a │ window_1 │ completed │ 2026-01-09 14:23:28 │   2,000 │        0 │   15.23s │",
        "│ c2ddd77b │ window_2 │ failed    │ 2026-01-09 14:23:45 │       - │        - │    3.12s │",
        "└──────────┴──────────┴───────────┴─────────────────────┴─────────┴──────────┴──────────┘",
    ]


@pytest.mark.parametrize("option", ["-n", "--n"])
def test_n_keeps_the_newest(rows: Rows, otel_runs: CommandLine, option: str) -> None:
    _three_runs(rows)
    printed = otel_runs("tail", option, "2").out
    assert ("window_0" in printed, "window_1" in printed, "window_2" in printed) == (False, True, True)


@pytest.mark.parametrize("width", [30, 40, 60, 80, 88, 100, 140, 200])
def test_table_never_leaves_the_terminal(rows: Rows, otel_runs: CommandLine, width: int) -> None:
    _three_runs(rows)
    rows.run(9, name="表" * 60, tokens=10**12, steps=10**6, rows_in=10**9, environment="a-very-long-environment")
    parent = rows.run(8)
    rows.nested_run(parent, 7, name="nested")
    assert max(cell_len(line) for line in otel_runs("tail", "--all", width=width).out.splitlines()) <= width


def test_long_name_is_cut_off_before_anything_else_is(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1, name="n" * 90)
    printed = otel_runs("tail", width=80).out
    assert "nnn…" in printed
    assert all(text in printed for text in ("00000001", "completed", "2026-01-09 14:23:16", "12.45s"))


@pytest.mark.parametrize("width", [40, 50, 60, 70])
def test_narrow_terminal_has_ids_names_and_statuses_whole(rows: Rows, otel_runs: CommandLine, width: int) -> None:
    rows.run(0x0AF76519, name="bird_strikes", rows_in=10**6, rows_out=10**6, tokens=5, environment="dev")
    lines = otel_runs("tail", width=width).out.splitlines()
    assert lines[-1].split()[:3] == ["0af76519", "bird_strikes", "completed"]
    assert max(map(cell_len, lines)) <= width


@pytest.mark.parametrize(
    ("width", "titles"),
    [
        (80, [*TITLES]),
        (72, ["Run ID", "Name", "Status", "Started At (UTC)", "Rows Out", "Duration"]),
        (60, ["Run ID", "Name", "Status", "Started At (UTC)", "Duration"]),
        (40, ["Run ID", "Name", "Status", "Duration"]),
        (38, ["Run ID", "Name", "Status"]),
    ],
)
def test_columns_that_matter_less_leave_a_narrow_terminal_first(
    rows: Rows, otel_runs: CommandLine, width: int, titles: list[str]
) -> None:
    rows.run(1, name="daily_sales", rows_in=5, rows_out=3, steps=2)
    first = otel_runs("tail", width=width).out.splitlines()[0]
    assert re.findall("|".join(map(re.escape, [*TITLES, "Steps"])), first) == titles


def test_wide_terminal_shows_steps_tokens_and_environment(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1, steps=7, tokens=1234, environment="production")
    narrow, wide = otel_runs("tail", width=92).out, otel_runs("tail", width=140).out
    assert [title in narrow for title in ("Steps", "Tokens", "Env")] == [False, False, False]
    assert [text in wide for text in ("Steps", "Tokens", "Env", "7", "1,234", "production")] == [True] * 6


def test_column_that_nobody_reports_is_left_out_of_a_terminal_but_not_of_a_pipe(
    rows: Rows, otel_runs: CommandLine
) -> None:
    rows.run(1)
    assert "Tokens" not in otel_runs("tail", width=200).out
    assert "Tokens" in otel_runs("tail").out


def test_pipe_gets_whole_plain_lines_without_colours(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(0xA0EEBC99, name="n" * 300)
    title, line = otel_runs("tail").out.splitlines()
    assert line.split() == ["a0eebc99", "n" * 300, "completed", "2026-01-09", *line.split()[4:]]
    assert title.startswith("Run ID    Name ")
    assert not re.search("[\x1b│┃━]", title + line)
    assert line == line.rstrip()


@pytest.mark.parametrize(
    ("status", "code"), [("completed", 32), ("failed", 31), ("running", 33), ("degraded", 35), ("cancelled", 2)]
)
def test_status_has_its_colour(rows: Rows, otel_runs: CommandLine, status: str, code: int) -> None:
    rows.run(1, status=status)
    assert f"\x1b[{code}m{status}" in otel_runs("tail", width=100, colours=True).out


def test_no_color_is_minded(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1, status="failed")
    assert "\x1b[31m" not in otel_runs("tail", width=100).out


def test_running_run_shows_its_time_so_far(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1, seconds=None, started_at=datetime.now(UTC) - timedelta(minutes=5))
    assert re.search(r"running .* 5m 0\ds", otel_runs("tail").out)


def test_run_that_ended_without_a_known_duration_shows_none(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1, seconds=None, status="cancelled")
    assert otel_runs("tail").out.splitlines()[1].split()[5:8] == ["-", "-", "-"]


def test_filters_choose_runs(rows: Rows, otel_runs: CommandLine) -> None:
    _three_runs(rows)

    def listed(*arguments: str) -> list[str]:
        return [run["name"] for run in json.loads(otel_runs("tail", "--json", *arguments).out)]

    assert listed("--status", "failed", "--status", "running") == ["window_2"]
    assert listed("--name", "window_1") == ["window_1"]
    assert listed("--name", "window_*") == ["window_0", "window_1", "window_2"]
    assert listed("--env", "production") == ["window_2"]


def test_nested_runs_are_listed_only_when_asked_for_under_the_short_form_of_their_span(
    rows: Rows, otel_runs: CommandLine
) -> None:
    rows.nested_run(rows.run(0xA0EEBC99), 0xB7AD6B71, name="window_1")
    assert "window_1" not in otel_runs("tail").out
    assert "└ b7ad6b71  window_1" in otel_runs("tail", "--all").out
    assert otel_runs("show", "b7ad6b71").code == 0


@pytest.mark.parametrize(
    "arguments",
    [("tail", "-n", str(2**63)), ("show", "--limit", str(2**31)), ("tail", "-f", "--interval", "1e12")],
)
def test_number_that_nothing_can_hold_is_wrong_usage(
    rows: Rows, otel_runs: CommandLine, arguments: tuple[str, ...]
) -> None:
    assert otel_runs(*arguments).code == 2
    rows.run(1)
    assert otel_runs("tail", "-n", str(2**31 - 1)).code == 0


@pytest.mark.parametrize("written", ["{no json", "[1,2]", "5"])
def test_metadata_that_is_no_object_hides_no_run(rows: Rows, otel_runs: CommandLine, written: str) -> None:
    rows.run(1, name="written by hand")
    rows.run(2, name="another")
    _write_by_hand(rows.database, "metadata", written)
    printed = otel_runs("tail").out
    assert ("written by hand" in printed, "another" in printed) == (True, True)
    assert written in otel_runs("show", "00000001").out


@pytest.mark.parametrize("written", ["o'clock", "2026-13-01 00:00:00"])
def test_time_that_is_none_is_an_error_that_finds_the_row(rows: Rows, otel_runs: CommandLine, written: str) -> None:
    run = rows.run(1)
    _write_by_hand(rows.database, "completed_at", written)
    outcome = otel_runs("tail")
    assert (outcome.code, "runs.completed_at" in outcome.err) == (1, True)
    with rows.database.read() as connection:
        query = outcome.err.partition("Find the row: ")[2].strip()
        assert connection.exec_driver_sql(query).scalars().all() == [run]


@pytest.mark.parametrize("command", [("models",), ("show", "00000001"), ("watch", "00000001")])
def test_time_of_a_step_that_is_none_is_an_error_that_finds_the_row(
    rows: Rows, otel_runs: CommandLine, command: tuple[str, ...]
) -> None:
    step = rows.model_run(rows.run(1, seconds=None), 1, seconds=None)
    _write_by_hand(rows.database, "started_at", "yesterday", table="model_runs")
    outcome = otel_runs(*command)
    assert (outcome.code, "model_runs.started_at" in outcome.err) == (1, True)
    with rows.database.read() as connection:
        query = outcome.err.partition("Find the row: ")[2].strip()
        assert connection.exec_driver_sql(query).scalars().all() == [step]


def _write_by_hand(database: Database, column: str, text: str, table: str = "runs") -> None:
    with database.write() as connection:
        connection.exec_driver_sql(f"UPDATE {table} SET {column} = ? WHERE id LIKE '00000001%'", (text,))


def test_unknown_status_is_wrong_usage_and_the_known_ones_are_told(history: Database, otel_runs: CommandLine) -> None:
    outcome = otel_runs("tail", "--status", "done")
    assert outcome.code == 2
    assert all(text in outcome.err for text in ("'done'", *RUN_STATUSES))


def test_json_holds_every_column_and_whole_ids(rows: Rows, otel_runs: CommandLine) -> None:
    run = rows.run(1, metadata={"customer": "ACME"}, rows_in=0)
    (found,) = json.loads(otel_runs("tail", "--json").out)
    assert list(found) == list(StoredRun._fields)
    assert (found["id"], found["rows_in"], found["rows_out"]) == (run, 0, None)
    assert (found["started_at"], found["metadata"]) == ("2026-01-09T14:23:16.000000Z", {"customer": "ACME"})


def test_no_history_yet_is_a_hint_and_exit_0_and_creates_nothing(
    otel_runs: CommandLine, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("empty")
    monkeypatch.chdir(folder)
    for command in ("tail", "models"):
        outcome = otel_runs(command)
        assert (outcome.code, outcome.out) == (0, "")
        assert str(folder / ".otel_runs" / "runs.db") in outcome.err
        assert "otel-runs demo" in outcome.err
        assert otel_runs(command, "--json").out == "[]\n"
    assert list(folder.iterdir()) == []


def test_history_without_runs_is_the_same_hint(history: Database, otel_runs: CommandLine) -> None:
    outcome = otel_runs("tail")
    assert (outcome.code, outcome.out) == (0, "")
    assert "otel-runs demo" in outcome.err


def test_filters_that_fit_nothing_say_so(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1)
    outcome = otel_runs("tail", "--name", "nobody")
    assert (outcome.code, outcome.out) == (0, "")
    assert "No run fits" in outcome.err


def test_follow_prints_the_last_runs_and_ends_after_its_timeout(rows: Rows, otel_runs: CommandLine) -> None:
    _three_runs(rows)
    outcome = otel_runs("tail", "-n", "2", "--follow", "--timeout", "0")
    assert outcome.code == 0
    assert [line.split()[0] for line in outcome.out.splitlines()] == ["Run", "b1ffc88a", "c2ddd77b"]


def test_follow_ends_when_its_time_is_up_and_not_an_interval_later(rows: Rows, otel_runs: CommandLine) -> None:
    began = time.monotonic()
    assert otel_runs("tail", "--follow", "--timeout", "1", "--interval", "100").code == 0
    assert 1 <= time.monotonic() - began < 50


def test_follow_waits_for_a_history_that_is_not_there(otel_runs: CommandLine) -> None:
    outcome = otel_runs("tail", "--follow", "--timeout", "0")
    assert (outcome.code, outcome.out) == (0, "")
    assert "No runs yet" in outcome.err


def test_timeout_without_follow_is_wrong_usage(history: Database, otel_runs: CommandLine) -> None:
    outcome = otel_runs("tail", "--timeout", "1")
    assert outcome.code == 2
    assert "--follow" in outcome.err


def test_every_database_lists_the_same(database: Database, otel_runs: CommandLine) -> None:
    _three_runs(Rows(database))
    url = database.url.render_as_string(hide_password=False)
    assert [line.split()[1] for line in otel_runs("--db", url, "tail").out.splitlines()[1:]] == [
        "window_0",
        "window_1",
        "window_2",
    ]
    assert otel_runs("show", "a0ee", "--db", url).code == 0
    assert otel_runs("models", "--db", url).code == 0


def test_a_run_with_missing_steps_tells_of_how_many(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1, steps=6, steps_expected=8)
    rows.run(2, steps=7, steps_expected=7)
    printed = otel_runs("tail", width=160).out
    assert " 6 of 8 " in printed
    assert " 7 of 7 " not in printed
