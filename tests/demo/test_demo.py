"""The demo, run as a newcomer runs it, in a directory of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_runs.demo import pipeline
from otel_runs.store.engine import Database, open_database
from tests.servers.missing import sqlite3_shell

SCRIPT = Path(sys.executable).with_name("otel-runs")


def environment(**own: str) -> dict[str, str]:
    """This process's environment without what would change where runs go."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    # A busy machine may need longer than a pipeline would wait.
    return {**inherited, "COLUMNS": "120", "OTEL_RUNS_FLUSH_TIMEOUT": "60", **own}


def otel_runs(folder: Path, *arguments: str, **own: str) -> str:
    command = [str(SCRIPT), *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment(**own), capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the demo has run once."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "shown.txt").write_text(otel_runs(folder, "demo", OTEL_RUNS_DB=str(folder / "real.db")), encoding="utf-8")
    return folder


@pytest.fixture
def demo(folder: Path) -> Iterator[Database]:
    """The history that the demo left there."""
    with open_database(folder / ".otel_runs/demo.db", create=False) as database:
        yield database


def ask(database: Database, sql: str) -> list[tuple[Any, ...]]:
    with database.read() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(sql)]


def test_demo_leaves_two_runs_of_which_the_second_worked_on_more(demo: Database) -> None:
    runs = ask(demo, "SELECT name, status, rows_in, rows_out, steps, retry_count FROM runs ORDER BY started_at")
    assert runs == [
        ("bird_strikes", "completed", 2006, 1332, 6, 0),
        ("bird_strikes", "completed", 3101, 2041, 7, 1),
    ]


def test_demo_retries_the_download_that_broke_off(demo: Database) -> None:
    attempts = ask(
        demo,
        "SELECT attempt, status, error_type, rows_out FROM model_runs WHERE name = 'extract' ORDER BY started_at",
    )
    assert attempts == [
        (1, "success", None, 2006),
        (1, "failed", "ConnectionResetError", None),
        (2, "success", None, 3101),
    ]


def test_demo_skips_the_airports_when_there_is_no_new_one(demo: Database) -> None:
    steps = ask(
        demo,
        "SELECT status, stop_reason, rows_affected FROM model_runs WHERE name = 'load_airports' ORDER BY started_at",
    )
    assert steps == [("success", "completed", 50), ("skipped", "unchanged", None)]


def test_demo_models_depend_on_each_other(demo: Database) -> None:
    models = ask(demo, "SELECT path, kind, materialized FROM models WHERE kind = 'model' ORDER BY path")
    assert models == [("birds.phases", "model", "table"), ("birds.years", "model", "table")]
    edges = ask(
        demo,
        "SELECT child.path, parent.path FROM dependencies "
        "JOIN models child ON child.id = model_id JOIN models parent ON parent.id = parent_id",
    )
    assert edges == [("birds.years", "birds.phases")]


def test_demo_models_state_the_rows_they_wrote(demo: Database) -> None:
    rows = ask(
        demo,
        "SELECT name, rows_affected FROM model_runs WHERE kind = 'model' OR name = 'load' ORDER BY started_at",
    )
    assert rows == [("load", 1332), ("phases", 11), ("years", 2), ("load", 2041), ("phases", 18), ("years", 3)]


def test_demo_outside_a_git_repository_has_no_code_ref(demo: Database) -> None:
    assert ask(demo, "SELECT DISTINCT code_ref, environment FROM runs") == [(None, "default")]


def test_demo_leaves_the_same_history_on_every_database(
    demo: Database, tmp_path: Path, database_url_for_test: str
) -> None:
    otel_runs(tmp_path, "demo", "--db", database_url_for_test)
    history = (
        "SELECT r.name, r.status, r.rows_in, r.steps, m.path, m.kind, mr.attempt, mr.status, mr.stop_reason, "
        "mr.error_type, mr.rows_in, mr.rows_out, mr.rows_affected "
        "FROM runs r JOIN model_runs mr ON mr.run_id = r.id JOIN models m ON m.id = mr.model_id "
        "ORDER BY mr.started_at, mr.attempt"
    )
    with open_database(database_url_for_test, create=False) as database:
        assert ask(database, history) == ask(demo, history)


def test_demo_shows_its_runs_and_says_how_to_look_further(folder: Path) -> None:
    shown = (folder / "shown.txt").read_text(encoding="utf-8")
    for expected in ("bird_strikes", "3,101", "ConnectionResetError", "unchanged", "otel-runs show --db .otel_runs/"):
        assert expected in shown


@pytest.mark.parametrize("folders", [(), (SCRIPT.parent,)], ids=["not in the path", "in the path"])
def test_commands_that_the_demo_prints_can_be_typed(tmp_path: Path, folders: tuple[Path, ...]) -> None:
    search = os.pathsep.join(map(str, (*folders, "/usr/bin", "/bin")))
    further = otel_runs(tmp_path, "demo", "--db", "it's mine.db", PATH=search).partition("Look further:\n")[2]
    commands = [line.strip() for line in further.splitlines() if line.startswith("  ")]
    assert [f"{command} " in further for command in ("tail", "show", "models", "sqlite3")] == [True] * 4
    for command in commands:
        if command.startswith("sqlite3"):
            sqlite3_shell()
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment(PATH=search), capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), command
        assert "bird" in done.stdout


def test_demo_keeps_out_of_the_history_of_real_runs(folder: Path) -> None:
    assert [str(path.relative_to(folder)) for path in folder.rglob("*.db")] == [".otel_runs/demo.db"]


def test_demo_pipeline_runs_without_a_provider_and_records_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    pipeline.main()
    assert list(tmp_path.iterdir()) == []


def test_demo_pipeline_copied_to_a_file_of_ones_own_records_its_runs(tmp_path: Path) -> None:
    copy = tmp_path / "pipeline.py"
    copy.write_text(Path(pipeline.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / pipeline.SOURCE.name).write_bytes(pipeline.SOURCE.read_bytes())
    subprocess.run([sys.executable, str(copy)], cwd=tmp_path, env=environment(), timeout=60, check=True)
    with open_database(tmp_path / ".otel_runs/runs.db", create=False) as database:
        assert ask(database, "SELECT status FROM runs") == [("completed",), ("completed",)]
