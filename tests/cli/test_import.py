"""``otel-runs import``: what it prints, and its exit code."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from otel_runs.importer.importer import Counts
from otel_runs.store.engine import Database
from tests.cli.conftest import CommandLine
from tests.ingest.stored import stored_runs
from tests.waiting import wait_until

FILES = Path(__file__).parents[1] / "importer" / "files"
WHOLE = FILES / "collector.jsonl"


def test_import_says_what_it_stored_and_what_it_skipped(otel_runs: CommandLine, history: Database) -> None:
    done = otel_runs("import", str(WHOLE), str(FILES / "jaeger-search.json"))
    assert (done.code, done.err) == (0, "")
    assert done.out == (
        "Imported 20 spans and the start of 2 spans from 2 files. "
        "Skipped 1 log record and 2 batches of metrics or profiles.\n"
    )
    assert len(stored_runs(history)) == 3


def test_run_of_an_imported_file_is_shown(otel_runs: CommandLine, history: Database) -> None:
    otel_runs("import", str(WHOLE))
    assert "ValueError: no rows" in otel_runs("show", "night-1").out


def test_what_cannot_be_read_is_told_and_makes_the_exit_code_1(
    otel_runs: CommandLine, history: Database, tmp_path: Path
) -> None:
    path = tmp_path / "traces"
    path.write_bytes(b"nonsense\n" + WHOLE.read_bytes())
    done = otel_runs("import", str(path), str(tmp_path))
    assert done.code == 1
    nonsense = "9 bytes that are neither JSON nor an OTLP protobuf message with spans, log records or metrics."
    assert done.err.splitlines() == [
        f"{path}, line 1: {nonsense}",
        f"{tmp_path} is a folder; expected files. Name those in it: {tmp_path / '*'}",
    ]
    assert done.out.endswith("Could not read 2 lines, messages or files.\n")


def test_what_acts_on_a_terminal_is_shown_instead(otel_runs: CommandLine, history: Database, tmp_path: Path) -> None:
    path = tmp_path / "traces"
    path.write_text('{"\\u001b[2J": 1}\n')
    done = otel_runs("import", str(path))
    assert "\x1b" not in done.err
    assert "it has the fields" in done.err


def test_many_problems_are_counted_and_not_all_shown(otel_runs: CommandLine, history: Database, tmp_path: Path) -> None:
    path = tmp_path / "traces"
    path.write_bytes(b'{"x": 1}\n' * 1_234)
    done = otel_runs("import", str(path))
    assert len(done.err.splitlines()) == 51
    assert done.err.endswith("1,184 problems more are counted and not shown.\n")
    assert done.out == "Imported 0 spans from 1 file. Could not read 1,234 lines, messages or files.\n"


def test_json_holds_every_count(otel_runs: CommandLine, history: Database) -> None:
    done = otel_runs("import", "--json", str(WHOLE))
    assert Counts(**json.loads(done.out)) == Counts(files=1, spans=10, started=2, log_records=1, other_signals=2)


def test_bar_is_for_terminals_only(otel_runs: CommandLine, history: Database) -> None:
    assert "Importing" not in otel_runs("import", str(WHOLE)).err
    assert "Importing" in otel_runs("import", str(WHOLE), width=100).err


def test_bar_of_a_missing_file_costs_nothing(otel_runs: CommandLine, history: Database, tmp_path: Path) -> None:
    done = otel_runs("import", str(tmp_path / "nowhere"), str(WHOLE), width=100)
    assert (done.code, "cannot be opened" in done.err) == (1, True)


@pytest.mark.parametrize("name", ["collector.jsonl", "collector-proto.zstd", "jaeger-trace-1.json"])
def test_standard_input_is_read_like_a_file(tmp_path: Path, name: str) -> None:
    program = shutil.which("otel-runs", path=str(Path(sys.executable).parent))
    assert program is not None
    command = [program, "import", "--db", str(tmp_path / "runs.db"), "-"]
    done = subprocess.run(
        command, input=(FILES / name).read_bytes(), capture_output=True, check=False, timeout=60, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"Imported ")


def test_pipe_that_is_named_like_a_file_is_read(tmp_path: Path) -> None:
    program = shutil.which("otel-runs", path=str(Path(sys.executable).parent))
    line = f"{program} import --db {tmp_path / 'runs.db'} <(gzip -c {WHOLE}) {WHOLE}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=False, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"Imported 20 spans and the start of 4 spans from 2 files.")


def test_killed_import_is_repeated_and_leaves_every_span_once(tmp_path: Path) -> None:
    program = shutil.which("otel-runs", path=str(Path(sys.executable).parent))
    assert program is not None
    database = tmp_path / "runs.db"
    command = [program, "import", "--db", str(database)]
    lines = [_line(number) for number in range(6_000)]
    with subprocess.Popen([*command, "-"], stdin=subprocess.PIPE, cwd=tmp_path) as killed:
        assert killed.stdin is not None
        killed.stdin.write(b"".join(lines[:5_000]))  # and then it waits for more
        killed.stdin.flush()
        wait_until(lambda: _count_in(database) > 0, what="the first transaction")
        killed.kill()
    assert 0 < _count_in(database) < len(lines)

    path = tmp_path / "traces.jsonl"
    path.write_bytes(b"".join(lines))
    subprocess.run([*command, str(path)], check=True, capture_output=True, timeout=60, cwd=tmp_path)
    assert _count_in(database) == len(lines)


def _line(number: int) -> bytes:
    times = {"startTimeUnixNano": str(10**18), "endTimeUnixNano": str(10**18 + 1)}
    span = {"traceId": f"{number + 1:016x}{'ab' * 8}", "spanId": "cd" * 8, "name": "nightly", **times}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode() + b"\n"


def _count_in(database: Path) -> int:
    if not database.exists():
        return 0
    with closing(sqlite3.connect(database, timeout=30)) as connection:
        made = connection.execute("SELECT COUNT(*) FROM sqlite_schema WHERE name = 'runs'").fetchone()[0]
        return int(connection.execute("SELECT COUNT(*) FROM runs").fetchone()[0]) if made else 0


def test_database_that_takes_nothing_is_the_error(otel_runs: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "runs.db"
    path.write_bytes(b"no database" * 100)
    done = otel_runs("import", "--db", str(path), str(WHOLE))
    assert done.code == 1
    assert "is not an SQLite database" in done.err


def test_import_without_a_file_is_a_wrong_command_line(otel_runs: CommandLine) -> None:
    assert otel_runs("import").code == 2
