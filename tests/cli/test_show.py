from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from rich.cells import cell_len

from otel_runs.query.results import StoredModelRun, StoredRun
from otel_runs.store import tables
from tests.cli.conftest import CommandLine
from tests.query.rows import Rows, at

ERROR: Final = """ValueError: Prompt exceeds model context limit
Traceback (most recent call last):
  File "/app/pipeline.py", line 42, in load
    send(prompt)
ValueError: Prompt exceeds model context limit"""


def _failed_run(rows: Rows) -> str:
    run = rows.run(
        0x0AF76519,
        started_at=at(0),
        seconds=3.12,
        status="failed",
        stop_reason="error",
        status_source="reaper",
        error=ERROR,
        error_type="ValueError",
        rows_in=3180,
        tokens=1800,
        input_tokens=1500,
        output_tokens=300,
        cost_usd=0.031,
        llm_calls=2,
        ttft_ns=350_000_000,
        retry_count=1,
        steps=6,
        steps_expected=8,
        code_ref="a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6e7f8a9b0-dirty",
        config_hash="sha256:c0ffee",
        input_fingerprint="sha256:feed",
        environment="production",
        service_name="shop",
        tenant_id="acme",
        session_id="s-1",
        external_id="airflow-2026-01-09",
        metadata={"customer": "ACME", "sizes": [1, 2]},
    )
    rows.model_run(
        run, 1, "extract", starts=0, seconds=0.4, status="failed", error="ConnectionResetError: gone\nTraceback"
    )
    rows.model_run(run, 2, "extract", starts=0.4, seconds=0.6, attempt=2, rows_out=3180)
    rows.model_run(run, 3, "clean", starts=1, seconds=0.5, rows_in=3180, rows_out=2901)
    window = rows.nested_run(run, 0xB7AD6B71, name="window_1", started_at=at(1.5), seconds=1.4)
    rows.model_run(window, 4, "summarise", starts=1.6, kind="llm", llm_model="gpt-4o", tokens=900)
    rows.model_run(run, 5, "load", starts=2.9, seconds=0.2, status="failed", error=ERROR, rows_affected=0)
    rows.model_run(run, 6, "notify", starts=3.1, seconds=0, status="skipped", stop_reason="dependency failed")
    return run


def test_details_name_everything_that_was_reported(rows: Rows, otel_runs: CommandLine) -> None:
    run = _failed_run(rows)
    printed = otel_runs("show", "0af76519").out
    for text in (
        f"Run ID         {run}",
        "Your ID        airflow-2026-01-09",
        "✘ failed  (stop reason: error, according to: reaper)",
        "Environment    production",
        "Service        shop",
        "Tenant         acme",
        "Session        s-1",
        "Started        2026-01-09 14:23:15.000 UTC",
        "Finished       2026-01-09 14:23:18.120 UTC",
        "Duration       3.12s",
        "Steps          6, 2 of 8 are missing",
        "Rows In        3,180",
        "LLM Calls      2",
        "Tokens         1,800 (1,500 in, 300 out)",
        "Cost           $0.03",
        "First token    after 0.35s",
        "Retries        1",
        "Git commit     a1b2c3d4e5f6a7b8c9d0e1f2a3b4c5d6e7f8a9b0-dirty",
        "Config         sha256:c0ffee",
        "Input          sha256:feed",
        "customer       ACME",
        "sizes          [1,2]",
        f"http://localhost:16686/trace/{run.replace('-', '')}",
    ):
        assert text in printed


def test_what_was_not_reported_is_left_out(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1)
    printed = otel_runs("show", "00000001").out
    assert not [
        text for text in ("Rows", "Tokens", "Cost", "Git", "Metadata", "Error", "Steps", "None") if text in printed
    ]


def test_ending_that_says_nothing_new_is_not_repeated(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1, stop_reason="completed", status_source="span")
    assert "✔ completed\n" in otel_runs("show").out


def test_tree_shows_steps_in_order_with_bars_in_their_place(rows: Rows, otel_runs: CommandLine) -> None:
    _failed_run(rows)
    printed = otel_runs("show", "0af76519", width=100).out
    tree = printed[printed.index("\nSteps  ") + 1 : printed.index("╭─ Error")].rstrip().splitlines()
    assert tree == [
        "Steps                                  Rows  Tokens  Duration  0                               3.12s",
        "├─ ✘ extract                              -       -     0.40s  ━━━━━",
        "│    ConnectionResetError: gone",
        "├─ ✔ extract attempt 2                3,180       -     0.60s      ╺━━━━━━━",
        "├─ ✔ clean                    3,180 → 2,901       -     0.50s             ╺━━━━━━",
        "├─ ✔ window_1 run b7ad6b71                -       -     1.40s                   ╺━━━━━━━━━━━━━━━━╸",
        "│  └─ ✔ summarise llm gpt-4o              -     900     0.50s                    ╺━━━━━━",
        "├─ ✘ load                                 0       -     0.20s                                    ━━━",
        "│    ValueError: Prompt exceeds model context limit",
        "└─ ↷ notify                               -       -      <1ms                                      ╺",
        "     dependency failed",
    ]


@pytest.mark.parametrize("width", [50, 80, 100, 140])
def test_nothing_leaves_the_terminal(rows: Rows, otel_runs: CommandLine, width: int) -> None:
    run = _failed_run(rows)
    rows.model_run(run, 7, "表" * 50, starts=1, status="failed", error="e" * 300)
    assert max(cell_len(line) for line in otel_runs("show", run, width=width).out.splitlines()) <= width


def test_error_is_shown_in_full(rows: Rows, otel_runs: CommandLine) -> None:
    _failed_run(rows)
    assert otel_runs("show", "0af76519").out.endswith("Error: ValueError\n" + ERROR + "\n")


def test_run_that_survived_a_failure_shows_the_errors_of_its_steps(rows: Rows, otel_runs: CommandLine) -> None:
    run = rows.run(1, status="degraded")
    rows.model_run(run, 1, "extract", status="failed", error=ERROR, error_type="ValueError")
    assert otel_runs("show", run).out.endswith("Error in extract: ValueError\n" + ERROR + "\n")


def test_error_without_a_type_is_headed_by_the_stop_reason_not_by_the_name(rows: Rows, otel_runs: CommandLine) -> None:
    error = "the process ended with exit code 5"
    run = rows.run(1, name="nightly", status="failed", stop_reason="exit:5", error=error)
    assert otel_runs("show", run).out.endswith(f"Error: exit:5\n{error}\n")


def test_degraded_run_says_in_words_what_that_is(rows: Rows, otel_runs: CommandLine) -> None:
    printed = otel_runs("show", rows.run(1, status="degraded", stop_reason="completed")).out
    assert "degraded\n               it came to its end, but a step failed on the way\n" in printed


def test_without_an_id_the_latest_run_is_shown(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1, name="older")
    newest = rows.run(2, name="newest")
    rows.nested_run(newest, 3, name="nested_and_newer")
    assert otel_runs("show").out.startswith("newest\n")


def test_running_run_says_that_its_numbers_are_so_far(rows: Rows, otel_runs: CommandLine) -> None:
    run = rows.run(1, seconds=None, heartbeat_at=at(1))
    rows.model_run(run, 1, seconds=None)
    printed = otel_runs("show", run).out
    assert "▶ running" in printed
    assert "so far" in printed
    assert "Steps          1 so far" in printed
    assert "Sign of life" in printed


@pytest.mark.parametrize(
    ("steps", "expected", "told"),
    [
        (6, 6, "6, all of them recorded\n"),
        (6, 8, "6, 2 of 8 are missing\n"),
        (6, None, "6, unknown whether that is all\n"),
    ],
)
def test_completeness_is_told_in_words(
    rows: Rows, otel_runs: CommandLine, steps: int, expected: int | None, told: str
) -> None:
    rows.run(1, steps=steps, steps_expected=expected)
    assert f"Steps          {told}" in otel_runs("show").out


def test_step_whose_parent_is_not_here_stands_at_the_top(rows: Rows, otel_runs: CommandLine) -> None:
    run = rows.run(1)
    rows.model_run(run, 1, "orphan", parent_id="00000001-9c0b-4ef8-dead-000000000000")
    assert "└─ ✔ orphan" in otel_runs("show", run).out


def test_steps_that_hang_on_each_other_are_all_shown(rows: Rows, otel_runs: CommandLine) -> None:
    run = rows.run(1)
    first = rows.model_run(run, 1, "first")
    second = rows.model_run(run, 2, "second", parent_id=first)
    with rows.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE model_runs SET parent_id = '{second}' WHERE id = '{first}'")
    printed = otel_runs("show", run).out
    assert (printed.count("first"), printed.count("second")) == (1, 1)


def test_tree_deeper_than_pythons_stack_is_drawn(rows: Rows, otel_runs: CommandLine) -> None:
    run = rows.run(1)
    model_run = rows.model_run(run, 1, "level")
    with rows.database.write() as connection:
        values = dict(connection.execute(tables.model_runs.select()).mappings().one())
        levels = []
        parent = model_run
        for depth in range(2000):
            levels.append({**values, "id": f"level-{depth}", "parent_id": parent})
            parent = f"level-{depth}"
        connection.execute(tables.model_runs.insert(), levels)
    outcome = otel_runs("show", run, "--limit", "0", width=100)
    assert outcome.out.count("level") == 2001
    assert max(map(cell_len, outcome.out.splitlines())) <= 100


def test_limit_bounds_the_tree_and_says_what_is_hidden(rows: Rows, otel_runs: CommandLine) -> None:
    run = rows.run(1)
    for number in range(6):
        rows.model_run(run, number, f"step_{number}", starts=number, status="failed" if number == 5 else "success")
    printed = otel_runs("show", run, "--limit", "2").out
    assert [f"step_{number}" in printed for number in range(6)] == [True, False, False, False, False, True]
    assert "4 more steps are not shown; --limit 0 shows all." in printed
    everything = otel_runs("show", run, "--limit", "0").out
    assert all(f"step_{number}" in everything for number in range(6))
    assert "not shown" not in everything


def test_json_holds_everything(rows: Rows, otel_runs: CommandLine) -> None:
    run = _failed_run(rows)
    found = json.loads(otel_runs("show", run, "--json").out)
    assert list(found)[: len(StoredRun._fields)] == list(StoredRun._fields)
    assert (found["id"], found["error"], found["completeness"]) == (run, ERROR, "partial")
    assert [nested["name"] for nested in found["nested_runs"]] == ["window_1"]
    assert [step["name"] for step in found["model_runs"]] == [
        "extract",
        "extract",
        "clean",
        "summarise",
        "load",
        "notify",
    ]
    assert list(found["model_runs"][0]) == list(StoredModelRun._fields)
    assert (found["hidden_runs"], found["hidden_model_runs"], found["hidden_failures"]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("status", "code"),
    [("completed", 0), ("degraded", 0), ("failed", 3), ("cancelled", 3), ("running", 4), ("created", 4)],
)
def test_exit_status_says_how_the_run_ended(rows: Rows, otel_runs: CommandLine, status: str, code: int) -> None:
    rows.run(1, status=status)
    assert otel_runs("show", "--exit-status").code == code
    assert otel_runs("show", "--exit-status", "--json").code == code
    assert otel_runs("show").code == 0


def test_unknown_id_is_an_error_that_quotes_it(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1)
    outcome = otel_runs("show", "ffff")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("Error: No run is called 'ffff'")


def test_ambiguous_prefix_is_an_error_that_lists_the_candidates(rows: Rows, otel_runs: CommandLine) -> None:
    ids = [rows.run(number) for number in (1, 2)]
    outcome = otel_runs("show", "0000")
    assert outcome.code == 1
    assert all(run in outcome.err for run in ids)


def test_name_with_a_line_end_makes_no_candidate_of_its_own(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1, name="one\n  00000003-9c0b-4ef8-bb6d-6bb9bd380a11  forged\u2028line")
    rows.run(2)
    lines = otel_runs("show", "0000").err.splitlines()
    assert [line.split()[0][:8] for line in lines[1:]] == ["00000001", "00000002"]


def test_no_history_is_an_error_for_show(otel_runs: CommandLine) -> None:
    outcome = otel_runs("show")
    assert (outcome.code, outcome.out) == (1, "")
    assert "No runs yet" in outcome.err


def test_trace_link_comes_from_its_template_and_can_be_clicked(
    rows: Rows, otel_runs: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = rows.run(1)
    monkeypatch.setenv("OTEL_RUNS_TRACE_URL", "https://traces.example/{trace_id}?span={span_id}")
    address = f"https://traces.example/{run.replace('-', '')}?span=0000000100f067aa"
    assert address in otel_runs("show").out
    assert f";{address}\x1b\\" in otel_runs("show", width=140, colours=True).out


def test_link_template_that_names_no_trace_is_told_and_the_default_taken(
    rows: Rows, otel_runs: CommandLine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = rows.run(1)
    monkeypatch.setenv("OTEL_RUNS_TRACE_URL", "http://jaeger:16686")
    outcome = otel_runs("show")
    assert f"http://localhost:16686/trace/{run.replace('-', '')}" in outcome.out
    assert "OTEL_RUNS_TRACE_URL is 'http://jaeger:16686': expected {trace_id} in it" in caplog.text


def test_no_link_is_made_of_something_that_is_no_trace_id(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1, trace_id="../../evil\x1b[31m")
    printed = otel_runs("show", width=120, colours=True).out
    assert "http://" not in printed
    assert r"../../evil\e[31m" in printed


EVIL: Final = "\x1b[31m[red]evil[/red]\x1b]0;title\x07\x9b2J\r\n\u202e :smile:"


def test_escape_sequences_and_markup_from_outside_are_shown_not_obeyed(rows: Rows, otel_runs: CommandLine) -> None:
    evil: dict[str, Any] = {"name": EVIL, "error": EVIL, "error_type": EVIL, "stop_reason": EVIL, "status": "failed"}
    where: dict[str, Any] = {"environment": EVIL, "service_name": EVIL, "external_id": EVIL, "code_ref": EVIL}
    run = rows.run(1, **evil, **where, metadata={EVIL: EVIL, "n": [EVIL]})
    rows.run(2, **evil, **where)
    rows.nested_run(run, 2, **evil)
    rows.model_run(run, 3, **evil)
    rows.model_run(run, 4, EVIL, kind="llm", llm_model=EVIL)
    for command in ("tail --all", "models", f"show {run}", f"show {run} --json", "show 0", "show"):
        for width in (None, 120):
            outcome = otel_runs(*command.split(), *([EVIL] if command == "show" else []), width=width)
            assert not set(outcome.out + outcome.err) & set("\x1b\x07\x9b\r\u202e"), command
    printed = otel_runs("show", run, width=200).out
    assert r"\e[31m[red]evil[/red]\e]0;title" in printed
    assert ":smile:" in printed


def test_lost_run_says_in_words_since_when_nothing_was_heard_of_it(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1, seconds=3, status="failed", stop_reason="lost", status_source="reaper", heartbeat_at=at(2))
    printed = otel_runs("show").out
    assert "failed  (stop reason: lost, according to: reaper)" in printed
    assert "no sign of life since 2026-01-09 14:23:19.000 UTC: presumed dead; if it ends after all" in printed


def test_run_that_a_signal_ended_says_which_one(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1, status="cancelled", stop_reason="signal:SIGTERM", status_source="signal")
    assert "its process was ended by SIGTERM while it ran" in otel_runs("show").out


def test_running_run_tells_of_a_long_silence_only(rows: Rows, otel_runs: CommandLine) -> None:
    rows.run(1, seconds=None, heartbeat_at=datetime.now(UTC) - timedelta(seconds=20))
    assert "no sign of life" not in otel_runs("show").out
    rows.run(2, seconds=None, heartbeat_at=datetime.now(UTC) - timedelta(seconds=130))
    assert "no sign of life for 2m 1" in otel_runs("show").out


def test_running_run_that_only_its_parts_tell_of_says_why_it_may_stay_so(rows: Rows, otel_runs: CommandLine) -> None:
    told = "only its parts have come, not its own span; for good, if something else has set TRACEPARENT"
    rows.run(1, seconds=None)
    assert told not in otel_runs("show").out
    rows.run(2, seconds=None, root_span_id=None, run_key="2026-01-09")
    assert told not in otel_runs("show").out, "a run with a key has no span of its own"
    rows.run(3, seconds=None, root_span_id=None)
    assert told in otel_runs("show").out


def test_running_steps_show_their_time_so_far_and_a_bar_to_now(rows: Rows, otel_runs: CommandLine) -> None:
    began = datetime.now(UTC) - timedelta(seconds=100)
    run = rows.run(1, seconds=None, started_at=began)
    rows.model_run(run, 2, "load", seconds=None, started_at=began + timedelta(seconds=50))
    line = next(line for line in otel_runs("show").out.splitlines() if "load" in line)
    assert re.search(r"▶ load +5\d\.\d\ds +[╺━]{20,}", line)
