"""``otel-runs replay``: what waits in a spool is stored when it is asked for, and the command says what it did."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from otel_runs.export.exporter import RunsSpanExporter
from otel_runs.export.spooling import spool_of_database, spool_of_endpoint
from otel_runs.spool import files
from tests.export.away import impatient, status_of
from tests.export.spans import spans_of
from tests.programs import Programs, otel_runs_command
from tests.spool.spans import some_spans
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
    assert done.stdout == "Stored 0 spans from 1 file of the spool runs.db-spool. Put 1 span or line in quarantine.\n"
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


@pytest.mark.parametrize(
    ("destination", "said"),
    [
        (("--db", "mysql://x/y"), "names 'mysql'; expected the path of an SQLite file"),
        (("--db", "foo:bar"), "'foo:bar' is neither a URL nor a path; expected"),
        (("--db", "nowhere/runs.db"), "nowhere of the run database does not exist, and no spans wait"),
        (("--otlp-endpoint", "garbage"), "'garbage' is no address; expected http://host:4318"),
    ],
    ids=["mysql", "scheme", "folder", "endpoint"],
)
def test_a_destination_that_cannot_be_is_refused_though_nothing_waits_for_it(
    programs: Programs, destination: tuple[str, str], said: str
) -> None:
    done = programs.run(otel_runs_command("replay", *destination))
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr


def test_the_usual_database_need_not_be_there_yet(programs: Programs) -> None:
    done = programs.run(otel_runs_command("replay"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Stored 0 spans from 0 files of the spool .otel_runs/runs.db-spool.\n"


def test_the_exit_code_is_1_while_a_living_process_still_writes_a_file(programs: Programs, file: Path) -> None:
    spool = spool_of_database(file)
    assert spool is not None
    spool.append(some_spans(2))

    done = programs.run(otel_runs_command("replay", "--db", str(file), "--json"))
    told = programs.run(otel_runs_command("replay", "--db", str(file)))
    spool.rotate()
    last = programs.run(otel_runs_command("replay", "--db", str(file)))

    assert (done.returncode, told.returncode, last.returncode) == (1, 1, 0)
    told_of = {"left_files": 1, "left_spans": 2, "folder": f"{file}-spool"}
    assert json.loads(done.stdout) == {"files": 0, "spans": 0, "started": 0, "quarantined": 0, **told_of}
    assert told.stdout.endswith("Left 2 spans in 1 file that others write or replay now.\n")


def test_spools_of_other_urls_in_which_spans_wait_are_named(programs: Programs) -> None:
    (programs.folder / ".otel_runs").mkdir(exist_ok=True)
    url, endpoint = "postgresql://me@wrong.example/runs", "http://a.example:4318"
    for spool in (spool_of_database(url), spool_of_endpoint(endpoint)):
        assert spool is not None
        spool.append(some_spans(1))
        spool.rotate()
    [of_endpoint, of_database] = sorted((programs.folder / ".otel_runs" / "spool").iterdir())

    done = programs.run(otel_runs_command("replay", "--db", "runs.db"))

    assert (done.returncode, done.stdout) == (0, "Stored 0 spans from 0 files of the spool runs.db-spool.\n")
    first, second = done.stderr.splitlines()
    assert first.startswith(f"{of_endpoint} holds 1 file for another URL; replay with --otlp-endpoint URL")
    assert second.startswith(f"{of_database} holds 1 file for another URL; replay with --db URL")


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
