from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from otel_runs.store import migrations
from otel_runs.store.engine import open_database
from tests.cli.conftest import CommandLine
from tests.programs import Programs, otel_runs_command


def test_upgrade_creates_and_then_says_that_all_is_well(tmp_path: Path, otel_runs: CommandLine) -> None:
    path = tmp_path / "new" / "runs.db"
    first, second = (otel_runs("db", "upgrade", "--db", str(path)) for _ in range(2))
    assert (first.code, second.code) == (0, 0)
    assert first.out.startswith(f"Created {path} (revision ")
    assert second.out.startswith(f"{path} is up to date")


def test_check_is_0_when_all_is_well(tmp_path: Path, otel_runs: CommandLine) -> None:
    path = tmp_path / "runs.db"
    open_database(path).close()
    outcome = otel_runs("db", "check", "--db", str(path))
    assert outcome.code == 0
    assert "is up to date" in outcome.out


def test_check_is_1_where_there_is_nothing_and_creates_nothing(tmp_path: Path, otel_runs: CommandLine) -> None:
    path = tmp_path / "runs.db"
    outcome = otel_runs("db", "check", "--db", str(path))
    assert (outcome.code, outcome.out) == (1, "")
    assert "no run history yet" in outcome.err
    assert not path.exists()


def test_check_is_1_where_a_part_is_missing(tmp_path: Path, otel_runs: CommandLine) -> None:
    path = tmp_path / "runs.db"
    open_database(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("DROP VIEW v_model_stats")
    outcome = otel_runs("db", "check", "--db", str(path))
    assert outcome.code == 1
    assert "lacks v_model_stats" in outcome.err


def test_check_is_1_where_migrations_are_pending_and_says_what_does_them(
    tmp_path: Path, otel_runs: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.db"
    open_database(path).close()
    monkeypatch.setattr(migrations, "REVISIONS", ("0001", "0002"))
    monkeypatch.setattr(migrations, "HEAD", "0002")
    outcome = otel_runs("db", "check", "--db", str(path))
    assert (outcome.code, outcome.out) == (1, "")
    told = f"{path} is at revision 0001, this version needs 0002; run: otel-runs db upgrade"
    assert told in outcome.err.replace("\n", " ")


@pytest.mark.parametrize("command", [("tail",), ("show",), ("models",), ("db", "check"), ("db", "upgrade")])
def test_foreign_file_is_refused_and_left_as_it_is(
    tmp_path: Path, otel_runs: CommandLine, command: tuple[str, ...]
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("These are notes, not a database.\n" * 100)
    outcome = otel_runs(*command, "--db", str(path))
    assert (outcome.code, outcome.out) == (1, "")
    assert "not an SQLite database" in outcome.err
    assert "Traceback" not in outcome.err
    assert path.read_text() == "These are notes, not a database.\n" * 100


def test_tables_of_another_program_are_refused(tmp_path: Path, otel_runs: CommandLine) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE runs (id)")
    outcome = otel_runs("tail", "--db", str(path))
    assert outcome.code == 1
    assert f"{path} has tables of another program named runs" in outcome.err.replace("\n", " ")


def test_newer_schema_is_refused_with_what_to_do(tmp_path: Path, otel_runs: CommandLine) -> None:
    path = tmp_path / "runs.db"
    open_database(path).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (table,) = connection.execute(
            "SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE c.name = 'version_num'"
        ).fetchone()
        connection.execute(f"UPDATE {table} SET version_num = '9999'")
    for command in (("tail",), ("show",), ("db", "check"), ("db", "upgrade")):
        outcome = otel_runs(*command, "--db", str(path))
        assert outcome.code == 1
        assert f"run database {path} was written by a newer otel_runs" in outcome.err.replace("\n", " ")
        assert "pip install --upgrade otel-runs" in outcome.err


def test_missing_permission_is_told(programs: Programs) -> None:
    path = programs.folder / "runs.db"
    open_database(path).close()
    path.chmod(0)
    # Root may read everything, but for the capabilities that this takes away.
    unprivileged = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    outcome = programs.run([*unprivileged, *otel_runs_command("tail", "--db", str(path))])
    assert outcome.returncode == 1
    assert "permission" in outcome.stderr


def test_url_that_cannot_be_used_is_told_without_its_password(otel_runs: CommandLine) -> None:
    for command in (("tail",), ("db", "path"), ("db", "check")):
        outcome = otel_runs(*command, "--db", "mysql://me:secret@host/db")
        assert outcome.code == 1
        assert "secret" not in outcome.err
        assert "sqlite" in outcome.err


def test_path_is_printed_whole_and_alone(otel_runs: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / ("deep" * 30) / "runs.db"
    assert otel_runs("db", "path", "--db", str(path), width=40).out == f"{path}\n"
    assert otel_runs("--db", str(path), "db", "path").out == f"{path}\n"


def test_path_hides_a_password(otel_runs: CommandLine) -> None:
    printed = otel_runs("db", "path", "--db", "postgresql://me:secret@host/db").out
    assert "secret" not in printed
    assert "host/db" in printed


def test_option_of_the_command_wins_over_the_global_one_and_that_over_the_environment(
    otel_runs: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RUNS_DB", str(tmp_path / "c.db"))
    assert otel_runs("db", "path").out == f"{tmp_path / 'c.db'}\n"
    assert otel_runs("--db", "b.db", "db", "path").out == f"{tmp_path / 'b.db'}\n"
    assert otel_runs("--db", "b.db", "db", "path", "--db", "a.db").out == f"{tmp_path / 'a.db'}\n"
