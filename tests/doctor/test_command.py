"""``otel-runs doctor``: what it prints, its exit code, and databases that cannot be read."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from otel_runs.cli.app import app
from otel_runs.store import migrations
from otel_runs.store.engine import Database, open_database
from tests.query.rows import Rows


def doctor(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        app(["doctor", *arguments], prog_name="otel-runs")
    return int(ended.value.code or 0), capsys.readouterr().out


def checks(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[tuple[str, str]]]:
    code, printed = doctor(capsys, *arguments, "--json")
    return code, [(finding["severity"], finding["check"]) for finding in json.loads(printed)]


def test_all_is_well(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    url = database.url.render_as_string(hide_password=False)
    Rows(database).run(1)
    code, printed = doctor(capsys, "--db", url)
    assert (code, printed.startswith("Nothing is wrong with the environment and ")) == (0, True)
    assert checks(capsys, "--db", url) == (0, [])


def test_findings_say_what_is_what_it_means_and_what_to_do_the_worst_first(
    database: Database, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database.url.render_as_string(hide_password=False)
    Rows(database).run(1, steps=1, steps_expected=4, name="a\x1b[31mb")
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    code, printed = doctor(capsys, "--db", url)
    assert (code, "\x1b" in printed) == (1, False)
    lines = printed.splitlines()
    assert [line.split("]")[0] for line in lines[::3]] == ["error [sdk-disabled", "warning [missing-steps"]
    assert lines[1] == "  OpenTelemetry makes no spans, so no run is recorded."
    assert lines[2] == "  Do: unset OTEL_SDK_DISABLED"
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "60")
    assert "\x1b[31mb" not in doctor(capsys, "--db", url)[1]


def test_history_that_is_not_there_yet_is_a_note_and_no_fault(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checks(capsys, "--db", str(tmp_path / "nothing.db")) == (0, [("note", "database")])
    assert list(tmp_path.iterdir()) == []


def test_server_that_does_not_answer_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, printed = doctor(capsys, "--db", "postgresql://me:hunter2@127.0.0.1:1/runs")
    assert (code, "cannot be reached" in printed, "hunter2" in printed) == (1, True, False)


def test_pending_migrations_are_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.db"
    open_database(path).close()
    monkeypatch.setattr(migrations, "REVISIONS", ("0001", "0002"))
    monkeypatch.setattr(migrations, "HEAD", "0002")
    assert checks(capsys, "--db", str(path)) == (1, [("error", "migrations")])
    printed = doctor(capsys, "--db", str(path))[1]
    assert "is at revision 0001; this version needs 0002" in printed
    assert "otel-runs db upgrade" in printed


def test_missing_view_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "runs.db"
    open_database(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP VIEW v_model_stats")
    assert checks(capsys, "--db", str(path)) == (1, [("error", "database")])


def test_bad_database_in_the_environment_is_told_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RUNS_DB", "mysql://host/runs")
    assert checks(capsys) == (1, [("error", "bad-value")])
    assert checks(capsys, "--db", "oracle://host/runs") == (1, [("error", "bad-value"), ("error", "database")])


def test_database_none_is_a_note(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RUNS_DB", "none")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")
    assert checks(capsys) == (0, [("note", "database")])


def test_file_of_another_program_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no database " * 100)
    assert checks(capsys, "--db", str(path)) == (1, [("error", "database")])
