"""Nothing is lost while the database is away, locked or refuses us: it waits in the spool and is stored later."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from sqlalchemy import make_url

from otel_runs.counters import stats
from otel_runs.export.exporter import RunsSpanExporter
from otel_runs.store.engine import open_database
from tests.conftest import NewPostgresUrl
from tests.export.away import impatient, status_of
from tests.export.spans import spans_of
from tests.faults.small_disk import small_disk
from tests.programs import Programs, otel_runs_command
from tests.servers.ports import free_port
from tests.servers.postgres import PostgresServer
from tests.stored_names import names_in
from tests.systems import needs_fork
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("_counters_at_zero", "_in_a_project_of_its_own")


def test_what_came_while_sqlite_was_locked_is_stored_by_the_same_process(
    file: Path, locked: Callable[[], None]
) -> None:
    exporter = RunsSpanExporter(impatient(file), retry_seconds=0.5)
    exporter.export(spans_of("a"))
    started = time.monotonic()
    for _ in range(50):
        exporter.export(spans_of("b"))
    assert time.monotonic() - started < 20, "a database that is known to be away is not tried for each batch"
    assert (stats().spans_spooled, stats().spans_failed, stats().spans_dropped) == (51, 0, 0)

    locked()
    wait_until(lambda: status_of(file).files == 0, what="the replay")
    exporter.export(spans_of("c"))
    exporter.shutdown()

    assert names_in(file) == ["a", *["b"] * 50, "c"]
    assert stats().spans_stored == 1


def test_the_end_of_a_process_tries_once_more(file: Path, locked: Callable[[], None]) -> None:
    exporter = RunsSpanExporter(impatient(file), retry_seconds=0.1)
    exporter.export(spans_of("a"))
    locked()
    exporter.shutdown()

    assert names_in(file) == ["a"]


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

    assert names_in(file) == ["a", "b", "mine"]


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
    assert done.stdout == "Stored 3 spans from 1 file of the spool runs.db-spool.\n"
    assert names_in(file) == ["run 0", "run 1", "run 2"]
    again = programs.run(otel_runs_command("replay", "--db", str(file)))
    assert (again.returncode, again.stdout) == (0, "Stored 0 spans from 0 files of the spool runs.db-spool.\n")


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
    assert names_in(file) == ["first", "second"]
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

    assert names_in(own_postgres.url) == sorted(["before", "after", *(f"during {number}" for number in range(20))])


@needs_fork
def test_a_forked_child_does_not_try_a_database_that_its_parent_knows_to_be_away(programs: Programs) -> None:
    """It would try for ten seconds, as would each process of a pool that has one for each task."""
    done = programs.python(
        f"""
        import os
        from opentelemetry.sdk.trace import TracerProvider
        from otel_runs import RunsSpanExporter, stats
        from otel_runs.export.processor import RunsSpanProcessor
        processor = RunsSpanProcessor(
            RunsSpanExporter("postgresql://nobody@127.0.0.1:{free_port()}/none", retry_seconds=0.1)
        )
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(processor)
        tracer = provider.get_tracer("t")
        def work(name):
            with tracer.start_as_current_span(name):
                pass
            assert processor.force_flush()
            print(name, stats().spans_spooled, stats().export_errors > 0, flush=True)
        work("parent")
        child = os.fork()
        if child == 0:
            work("child")
            os._exit(0)
        os.waitpid(child, 0)
        processor.shutdown()
        """
    )

    assert (done.returncode, done.stdout) == (0, "parent 1 True\nchild 1 False\n"), done.stderr


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

    assert names_in(right) == ["a", "b"]


def test_what_waits_because_of_a_bad_option_in_the_url_is_stored_once_that_is_corrected(
    programs: Programs, new_postgres_url: NewPostgresUrl
) -> None:
    url = new_postgres_url()  # it ends with options, which name its schema
    pipeline = """
import sys
from otel_runs.export.exporter import RunsSpanExporter
from tests.export.spans import spans_of
exporter = RunsSpanExporter(sys.argv[1], retry_seconds=0)
exporter.export(spans_of("a"))
exporter.shutdown()
"""
    (programs.folder / ".otel_runs").mkdir(exist_ok=True)
    done = programs.python(pipeline, f"{url}%20-cstatement_timeot%3D9000")
    assert "statement_timeot" in done.stderr
    assert status_of(url).spans == 1

    done = programs.run(otel_runs_command("replay", "--db", f"{url}%20-cstatement_timeout%3D9000"))

    assert (done.returncode, done.stdout.partition(" of the spool")[0]) == (0, "Stored 1 span from 1 file")
    assert names_in(url) == ["a"]


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
    ("name", "value", "expected"),
    [
        ("OTEL_RUNS_SPOOL_FSYNC", "Batch", "batch or never"),
        ("OTEL_RUNS_SPOOL_MAX_BYTES", "1GiB", "a whole number, 0 or more"),
    ],
)
def test_a_setting_that_cannot_be_used_is_told_once_and_the_default_taken(
    programs: Programs, file: Path, locked: Callable[[], None], name: str, value: str, expected: str
) -> None:
    program = f"""
from otel_runs.export.exporter import RunsSpanExporter
from tests.export.spans import spans_of
for name in ("a", "b"):
    exporter = RunsSpanExporter({impatient(file)!r}, retry_seconds=0)
    exporter.export(spans_of(name))
    exporter.shutdown()
"""
    done = programs.python(program, environ={name: value})

    assert done.stderr.count(f"{name} is '{value}': expected {expected}.") == 1
    assert done.stderr.count("Taking the default.") == 1
    assert status_of(file).spans == 2
    locked()


@pytest.mark.parametrize(
    ("name", "start"),
    [(b"key", None), (5, None), (None, None), ("load", 1.76e18)],
    ids=["bytes", "number", "None", "float time"],
)
def test_a_span_with_an_odd_name_or_time_has_the_same_row_through_the_spool(
    tmp_path: Path, file: Path, locked: Callable[[], None], name: Any, start: Any
) -> None:
    span = odd_span(name, start_time=start)
    exporter = RunsSpanExporter(impatient(file), retry_seconds=0.1)
    exporter.export([span])
    assert (stats().spans_spooled, stats().spans_failed) == (1, 0)
    locked()
    exporter.shutdown()
    direct = RunsSpanExporter(tmp_path / "direct.db")
    assert direct.export([span]) is SpanExportResult.SUCCESS
    direct.shutdown()

    assert row_of(file) == row_of(tmp_path / "direct.db")


def odd_span(name: Any, **options: Any) -> ReadableSpan:
    """A span as the SDK makes it of arguments that are of no type it asks for."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    provider.get_tracer("t").start_span(name, **options).end()
    [span] = memory.get_finished_spans()
    return span


def row_of(file: Path) -> tuple[object, ...]:
    with open_database(file) as database, database.read() as connection:
        return tuple(connection.exec_driver_sql("SELECT id, name, started_at, completed_at FROM runs").one())


def test_a_span_that_cannot_be_read_costs_no_other_and_is_counted_and_told_once(
    file: Path, locked: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    bad = odd_span("bad", kind="SERVER")
    exporter = RunsSpanExporter(impatient(file), retry_seconds=0.1)
    assert exporter.export([*spans_of("a"), bad, *spans_of("b")]) is SpanExportResult.FAILURE
    assert exporter.spool([bad, *spans_of("c")])
    locked()
    exporter.shutdown()

    assert names_in(file) == ["a", "b", "c"]
    assert (stats().spans_received, stats().spans_spooled, stats().spans_failed) == (5, 3, 2)
    assert caplog.text.count("span 'bad' cannot be read: KeyError('SERVER'). It is lost") == 1


def test_a_process_that_is_killed_while_it_spools_many_keeps_the_first_and_the_last(
    programs: Programs, file: Path
) -> None:
    """A run's own span comes last, and says how the run ended."""
    done = programs.python(
        f"""
import os
from opentelemetry.sdk.trace import ReadableSpan
from otel_runs.export.exporter import RunsSpanExporter
from tests.export.spans import spans_of
class Deadly(ReadableSpan):
    @property
    def context(self):
        os.kill(os.getpid(), 9)
steps = spans_of(*(f"step {{number}}" for number in range(3_000)))
spans = [*steps[:2_000], Deadly("deadly"), *steps[2_000:], *spans_of("nightly")]
RunsSpanExporter({str(file)!r}).spool(spans, patience=1)
"""
    )
    assert done.returncode == -9
    assert "3002 spans are being spooled to" in done.stderr
    assert programs.run(otel_runs_command("replay", "--db", str(file))).returncode == 0

    names = set(names_in(file))
    assert names > {f"step {number}" for number in range(1_500)} | {"nightly"}
    assert "step 2500" not in names


def test_a_wrong_url_is_not_spooled_since_the_right_one_would_never_find_it(tmp_path: Path) -> None:
    exporter = RunsSpanExporter("mysql://somewhere/else")
    exporter.export(spans_of("a"))
    exporter.shutdown()
    assert (stats().spans_failed, stats().spans_spooled) == (1, 0)
    assert not list(tmp_path.rglob("*.jsonl"))


def test_spans_that_neither_database_nor_spool_takes_are_told_as_dropped_at_last(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()  # so that nothing can be below it
    exporter = RunsSpanExporter(tmp_path / "file" / "runs.db", retry_seconds=0.1)

    assert exporter.export(spans_of("a")) is SpanExportResult.FAILURE

    first, last = (record.getMessage() for record in caplog.records if record.levelname == "ERROR")
    assert "1 span could not be stored: StoreAccessError" in first
    assert "1 span is dropped" in last
    assert (stats().spans_spooled, stats().spans_dropped) == (0, 1)


def test_spans_wait_for_a_driver_that_is_not_installed(
    new_postgres_url: NewPostgresUrl, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    url = new_postgres_url()
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "psycopg", None)
        exporter = RunsSpanExporter(url)
        assert exporter.export(spans_of("a")) is SpanExportResult.FAILURE
        exporter.shutdown()
    assert "pip install 'otel-runs[postgres]'" in caplog.text
    assert (stats().spans_spooled, stats().spans_failed) == (1, 0)

    exporter = RunsSpanExporter(url)
    exporter.export(spans_of("b"))
    exporter.shutdown()

    assert status_of(url).files == 0
    with open_database(url) as database, database.read() as connection:
        assert sorted(connection.exec_driver_sql("SELECT name FROM runs").scalars()) == ["a", "b"]


def test_a_full_disk_keeps_the_pipeline_running_and_counts_what_is_lost(tmp_path: Path, programs: Programs) -> None:
    with small_disk(tmp_path / "disk", "2m") as disk:
        done = programs.python(
            f"""
import otel_runs
from opentelemetry import trace
from otel_runs.export.exporter import RunsSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from otel_runs.export.processor import RunsSpanProcessor
provider = TracerProvider()
provider.add_span_processor(RunsSpanProcessor(RunsSpanExporter({str(disk.folder / "runs.db")!r}, retry_seconds=0.1)))
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
