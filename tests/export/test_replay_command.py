"""``otel-runs replay``: what waits in a spool is stored when it is asked for, and the command says what it did."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_runs.export.exporter import RunsSpanExporter
from otel_runs.spool import files
from tests.export.away import impatient, status_of
from tests.export.spans import spans_of
from tests.programs import Programs, otel_runs_command
from tests.stored_names import names_in

pytestmark = pytest.mark.usefixtures("_counters_at_zero", "_in_a_project_of_its_own")


def test_two_processes_that_replay_one_spool_at_once_do_no_harm(
    programs: Programs, file: Path, locked: Callable[[], None]
) -> None:
    for number in range(4):
        exporter = RunsSpanExporter(impatient(file), retry_seconds=0)
        exporter.export(spans_of(*(f"run {number}.{index}" for index in range(50))))
        exporter.shutdown()
    assert status_of(file).files == 4
    locked()

    command = otel_runs_command("replay", "--json", "--db", str(file))
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, env=programs.environ()) for _ in range(2)]
    told = [json.loads(process.communicate(timeout=60)[0]) for process in processes]

    assert sum(each["spans"] for each in told) == 200
    assert len(names_in(file)) == 200
    assert status_of(file).files == 0


def test_what_is_refused_for_good_is_quarantined_and_the_command_says_so(programs: Programs, file: Path) -> None:
    folder = file.with_name("runs.db-spool")
    folder.mkdir()
    (folder / "20260101T000000.000000-1-abcd.jsonl").write_text("no JSON\n")

    done = programs.run(otel_runs_command("replay", "--db", str(file)))

    assert done.returncode == 1
    assert done.stdout == "Stored 0 spans from 1 file of the spool. Put 1 span or line in quarantine.\n"
    assert str(folder / "quarantine") in done.stderr
    assert status_of(file)[1:] == (0, 0, 0, None, 1, 0)


def test_the_command_says_that_the_database_is_away_and_leaves_the_spool(
    programs: Programs, file: Path, locked: Callable[[], None]
) -> None:
    exporter = RunsSpanExporter(impatient(file), retry_seconds=0)
    exporter.export(spans_of("a"))
    exporter.shutdown()

    done = programs.run(otel_runs_command("replay", "--db", impatient(file)))

    assert done.returncode == 1
    assert "locked" in done.stderr
    assert status_of(file).spans == 1
    locked()


def test_files_of_a_spool_are_complete_lines_that_import_reads(
    programs: Programs, file: Path, locked: Callable[[], None], tmp_path: Path
) -> None:
    exporter = RunsSpanExporter(impatient(file), retry_seconds=0)
    exporter.export(spans_of("a", "b"))
    exporter.shutdown()
    [path] = files.paths_in(file.with_name("runs.db-spool"))

    done = programs.run(otel_runs_command("import", "--db", str(tmp_path / "other.db"), str(path)))

    assert (done.returncode, done.stdout) == (0, "Imported 2 spans from 1 file.\n")
    locked()
