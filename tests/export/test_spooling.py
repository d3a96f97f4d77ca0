"""Nothing is lost while the database is away, locked or refuses us: it waits in the spool and is stored later."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import make_url

from otel_runs.counters import stats
from otel_runs.export.exporter import RunsSpanExporter
from otel_runs.export.processor import RunsSpanProcessor
from otel_runs.export.spooling import spool_of_database
from otel_runs.spool import files
from otel_runs.spool.status import Status, status
from otel_runs.store.engine import open_database
from tests.programs import Programs, otel_runs_command
from tests.servers.postgres import PostgresServer
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("_counters_at_zero")


def spans_of(*names: str) -> list[ReadableSpan]:
    """Finished runs."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    for name in names:
        with provider.get_tracer("tests").start_as_current_span(name):
            pass
    return list(memory.get_finished_spans())


def names_in(url: str | Path) -> set[str]:
    with open_database(url) as database, database.read() as connection:
        return {name for (name,) in connection.exec_driver_sql("SELECT name FROM runs")}


def status_of(url: str | Path) -> Status:
    spool = spool_of_database(url)
    assert spool is not None
    return status(spool.folder)


@pytest.fixture(autouse=True)
def _in_a_project_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The spool of a database on a server is in the project's folder."""
    (tmp_path / ".otel_runs").mkdir()
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def locked(file: Path) -> Iterator[Callable[[], None]]:
    """The SQLite database, locked by somebody else until this is called."""
    open_database(file).close()
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    yield other.close
    other.close()


def impatient(file: Path) -> str:
    return f"sqlite:///{file}?timeout=0.05"


def test_what_came_while_sqlite_was_locked_is_stored_by_the_same_process(
    file: Path, locked: Callable[[], None]
) -> None:
    exporter = RunsSpanExporter(impatient(file), retry_seconds=0.1)
    exporter.export(spans_of("a"))
    started = time.monotonic()
    for _ in range(50):
        exporter.export(spans_of("b"))
    assert time.monotonic() - started < 5, "a database that is known to be away is not tried for each batch"
    assert (stats().spans_spooled, stats().spans_failed, stats().spans_dropped) == (51, 0, 0)

    locked()
    wait_until(lambda: status_of(file).files == 0, what="the replay")
    exporter.export(spans_of("c"))
    exporter.shutdown()

    assert names_in(file) == {"a", "b", "c"}
    assert stats().spans_stored == 1


def test_the_end_of_a_process_tries_once_more(file: Path, locked: Callable[[], None]) -> None:
    exporter = RunsSpanExporter(impatient(file), retry_seconds=0.1)
    exporter.export(spans_of("a"))
    locked()
    exporter.shutdown()

    assert names_in(file) == {"a"}


def test_what_a_process_left_is_stored_by_the_next_one_after_its_own(file: Path, locked: Callable[[], None]) -> None:
    first = RunsSpanExporter(impatient(file), retry_seconds=0.1)
    first.export(spans_of("a", "b"))
    first.shutdown()
    assert status_of(file).spans == 2
    locked()

    second = RunsSpanExporter(file)
    assert second.export(spans_of("mine")) is SpanExportResult.SUCCESS
    wait_until(lambda: status_of(file).files == 0, what="the replay")
    second.shutdown()

    assert names_in(file) == {"a", "b", "mine"}


@pytest.mark.parametrize("ending", ["", "os.kill(os.getpid(), 9)"])
def test_what_a_program_spooled_outlives_it_however_it_ends(
    programs: Programs, file: Path, locked: Callable[[], None], ending: str
) -> None:
    programs.python(
        f"""
import os, otel_runs
from opentelemetry import trace
from otel_runs.export.exporter import RunsSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(RunsSpanExporter({impatient(file)!r}, retry_seconds=0.1)))
for number in range(3):
    with provider.get_tracer("t").start_as_current_span(f"run {{number}}"):
        pass
{ending}
"""
    )
    assert status_of(file).spans == 3
    locked()

    done = programs.run(otel_runs_command("replay", "--db", str(file)))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Stored 3 spans from 1 file of the spool.\n"
    assert names_in(file) == {"run 0", "run 1", "run 2"}
    again = programs.run(otel_runs_command("replay", "--db", str(file)))
    assert (again.returncode, again.stdout) == (0, "Stored 0 spans from 0 files of the spool.\n")


def test_a_short_program_stores_what_an_earlier_one_left_without_being_asked(
    programs: Programs, file: Path, locked: Callable[[], None]
) -> None:
    pipeline = f"""
import sys, otel_runs
from opentelemetry import trace
otel_runs.configure({impatient(file)!r})
with trace.get_tracer("t").start_as_current_span(sys.argv[1]):
    pass
"""
    programs.python(pipeline, "first", environ={"OTEL_RUNS_FLUSH_TIMEOUT": "2"})
    assert status_of(file).spans == 1
    locked()

    done = programs.python(pipeline, "second")

    assert done.returncode == 0
    assert names_in(file) == {"first", "second"}
    assert status_of(file).files == 0


def test_a_postgres_that_is_stopped_and_started_again_misses_nothing(own_postgres: PostgresServer) -> None:
    exporter = RunsSpanExporter(own_postgres.url, retry_seconds=0.2)
    exporter.export(spans_of("before"))
    own_postgres.crash()
    for number in range(20):
        exporter.export(spans_of(f"during {number}"))
    assert status_of(own_postgres.url).spans == 20
    own_postgres.restart()
    wait_until(lambda: status_of(own_postgres.url).files == 0, what="the replay")
    exporter.export(spans_of("after"))
    exporter.shutdown()

    assert names_in(own_postgres.url) == {"before", "after", *(f"during {number}" for number in range(20))}


def test_a_wrong_password_is_an_outage_too_and_stays_out_of_names_and_files(
    own_postgres: PostgresServer, tmp_path: Path
) -> None:
    with psycopg.connect(own_postgres.url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE ROLE needs_password LOGIN SUPERUSER PASSWORD 'right-secret'")
    wrong, right = (
        make_url(own_postgres.url)
        .set(username="needs_password", password=f"{which}-secret")
        .render_as_string(hide_password=False)
        for which in ("wrong", "right")
    )
    exporter = RunsSpanExporter(wrong, retry_seconds=0.2)
    exporter.export(spans_of("a"))
    exporter.shutdown()
    spooled = [path for path in tmp_path.rglob("*") if "spool" in str(path)]
    assert status_of(wrong).spans == 1
    assert not [path for path in spooled if "secret" in str(path) or (path.is_file() and "secret" in path.read_text())]

    repaired = RunsSpanExporter(right)
    repaired.export(spans_of("b"))
    wait_until(lambda: status_of(right).files == 0, what="the replay")
    repaired.shutdown()

    assert names_in(right) == {"a", "b"}


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


def test_spool_off_counts_what_is_lost(
    file: Path, locked: Callable[[], None], monkeypatch: pytest.MonkeyPatch, programs: Programs
) -> None:
    monkeypatch.setenv("OTEL_RUNS_SPOOL", "off")
    exporter = RunsSpanExporter(impatient(file), retry_seconds=0)
    exporter.export(spans_of("a"))
    exporter.shutdown()

    assert (stats().spans_failed, stats().spans_spooled) == (1, 0)
    assert not file.with_name("runs.db-spool").exists()
    done = programs.run(otel_runs_command("replay"), environ={"OTEL_RUNS_SPOOL": "off"})
    assert done.returncode == 1
    assert "OTEL_RUNS_SPOOL is off" in done.stderr
    locked()


@pytest.mark.parametrize(
    ("name", "value"), [("OTEL_RUNS_SPOOL_FSYNC", "sometimes"), ("OTEL_RUNS_SPOOL_MAX_BYTES", "1 GB")]
)
def test_a_setting_that_cannot_be_used_is_told_and_the_pipeline_goes_on(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    exporter = RunsSpanExporter(file)
    assert exporter.export(spans_of("a")) is SpanExportResult.SUCCESS
    exporter.shutdown()
    assert f"{name} is '{value}'" in caplog.text


def test_a_wrong_url_is_not_spooled_since_the_right_one_would_never_find_it(tmp_path: Path) -> None:
    exporter = RunsSpanExporter("mysql://somewhere/else")
    exporter.export(spans_of("a"))
    exporter.shutdown()
    assert (stats().spans_failed, stats().spans_spooled) == (1, 0)
    assert not list(tmp_path.rglob("*.jsonl"))


# Which spool: of one database only, however it is called.

HERE = "postgresql://me:secret@db.example/runs"


@pytest.mark.parametrize(
    "same",
    [
        "postgresql+psycopg://me:other@db.example/runs",
        "postgres://me@db.example:5432/runs",
        "postgresql://me:p%40ss@db.example/runs?sslmode=require&password=x",
    ],
)
def test_a_database_has_one_spool_however_its_url_is_written(same: str) -> None:
    one, other = spool_of_database(HERE), spool_of_database(same)
    assert one is not None
    assert other is not None
    assert one.folder == other.folder


@pytest.mark.parametrize(
    "different",
    [
        "postgresql://me@db.example/runs2",
        "postgresql://me@other.example/runs",
        "postgresql://me@db.example:6432/runs",
        "postgresql://me@db.example/runs?options=-csearch_path%3Dtenant",
        "postgresql://you@db.example/runs",
    ],
)
def test_two_databases_never_share_a_spool(different: str) -> None:
    one, other = spool_of_database(HERE), spool_of_database(different)
    assert one is not None
    assert other is not None
    assert one.folder != other.folder


@pytest.mark.parametrize(
    "url", [HERE, "postgresql://me:se:cr@et/secret@db.example/runs", "postgresql://db.example/runs?password=secret"]
)
def test_no_password_is_in_the_name_of_a_spool(url: str) -> None:
    spool = spool_of_database(url)
    assert spool is not None
    assert "secret" not in str(spool.folder)


def test_sqlite_has_its_spool_beside_the_file_and_all_have_it_where_the_setting_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [
        found.folder for found in map(spool_of_database, ("a.db", f"sqlite:///{tmp_path}/a.db?timeout=1")) if found
    ]
    assert folders == [tmp_path / "a.db-spool"] * 2
    [server] = [found.folder for found in [spool_of_database(HERE)] if found]
    assert server.parent == tmp_path / ".otel_runs" / "spool"
    assert server.name.startswith("runs-")
    monkeypatch.setenv("OTEL_RUNS_SPOOL", "elsewhere")
    names = ["a.db", "sub/a.db", HERE]
    moved = {found.folder for found in map(spool_of_database, names) if found}
    assert {folder.parent for folder in moved} == {tmp_path / "elsewhere"}
    assert len(moved) == 3


# The queue: full, or not empty at the end.


class Hanging(RunsSpanExporter):
    """Stores nothing until it is let go, as a server that does not answer."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.let_go = threading.Event()
        self.is_busy = threading.Event()

    def export(self, spans: object) -> SpanExportResult:
        self.is_busy.set()
        self.let_go.wait(60)
        return super().export(spans)  # type: ignore[arg-type]  # as it came


class HangingForOthers(SpanExporter):
    """The same of somebody else's, who has no spool."""

    def __init__(self) -> None:
        self.let_go = threading.Event()

    def export(self, spans: object) -> SpanExportResult:
        self.let_go.wait(60)
        return SpanExportResult.SUCCESS


def test_a_full_queue_spills_its_oldest_spans_and_none_is_lost(file: Path) -> None:
    exporter = Hanging(file)
    processor = RunsSpanProcessor(exporter, max_queue_size=500, max_batch_size=10)
    spans = spans_of(*(f"run {number}" for number in range(3_000)))
    for span in spans:
        processor.on_end(span)
    assert stats().spans_spooled > 1_000
    assert stats().spans_dropped == 0

    exporter.let_go.set()
    processor.shutdown()
    wait_until(lambda: replayed(file), what="the replay")

    assert len(names_in(file)) == 3_000


def replayed(file: Path) -> bool:
    """Store what the process could not in its last seconds."""
    exporter = RunsSpanExporter(file)
    exporter.export(spans_of("run 0"))
    exporter.shutdown()
    return status_of(file).files == 0


def test_what_is_left_at_the_end_is_spooled_with_what_the_exporter_holds(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RUNS_FLUSH_TIMEOUT", "0.3")
    exporter = Hanging(file)
    processor = RunsSpanProcessor(exporter, max_batch_size=10)
    for span in spans_of(*(f"run {number}" for number in range(35))):
        processor.on_end(span)
    exporter.is_busy.wait(30)

    processor.shutdown()

    assert (status_of(file).spans, stats().spans_dropped) == (35, 0)
    exporter.let_go.set()


def test_a_full_queue_of_an_exporter_without_a_spool_drops_the_oldest_one_by_one() -> None:
    exporter = HangingForOthers()
    processor = RunsSpanProcessor(exporter, max_queue_size=50, max_batch_size=10)
    for span in spans_of(*(f"run {number}" for number in range(200))):
        processor.on_end(span)

    assert 130 <= stats().spans_dropped <= 150
    exporter.let_go.set()
    processor.shutdown()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() != 0, reason="only root mounts file systems")
def test_a_full_disk_keeps_the_pipeline_running_and_counts_what_is_lost(tmp_path: Path, programs: Programs) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mount.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mount.stderr.decode().strip()}")
    try:
        done = programs.python(
            f"""
import otel_runs
from opentelemetry import trace
from otel_runs.export.exporter import RunsSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from otel_runs.export.processor import RunsSpanProcessor
provider = TracerProvider()
provider.add_span_processor(RunsSpanProcessor(RunsSpanExporter({str(disk / "runs.db")!r}, retry_seconds=0.1)))
for number in range(20_000):
    with provider.get_tracer("t").start_as_current_span(f"run {{number}}"):
        pass
provider.shutdown()
told = otel_runs.stats()
print(told.spans_stored, told.spans_spooled, told.spans_dropped, told.spans_failed)
"""
        )
        stored, spooled, dropped, failed = map(int, done.stdout.split())
        assert done.returncode == 0
        assert stored + spooled + dropped + failed == 20_000
        assert dropped > 0
        assert "No space left" in done.stderr
    finally:
        subprocess.run(["umount", str(disk)], check=True)


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
