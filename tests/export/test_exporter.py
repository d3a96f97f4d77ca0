from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

from otel_runs.counters import stats
from otel_runs.errors import StoreError
from otel_runs.export.exporter import RunsSpanExporter
from otel_runs.store.engine import open_database
from tests.at_once import at_once
from tests.stored_names import names_in
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("_counters_at_zero")

TEXT_IS_NO_DATABASE = b"this is a text, not a database" * 100


def spans_of(names: list[str]) -> list[ReadableSpan]:
    """Finished spans: the first name is the run, the others its steps."""
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    tracer = provider.get_tracer("tests")
    with tracer.start_as_current_span(names[0]):
        for name in names[1:]:
            with tracer.start_as_current_span(name):
                pass
    return list(memory.get_finished_spans())


@pytest.fixture
def exporter(file: Path) -> Iterator[RunsSpanExporter]:
    exporter = RunsSpanExporter(file, retry_seconds=0.3)
    yield exporter
    exporter.shutdown()


def test_spans_are_committed_when_export_returns(database_url_for_test: str) -> None:
    exporter = RunsSpanExporter(database_url_for_test)

    result = exporter.export(spans_of(["nightly", "extract", "load"]))

    with open_database(database_url_for_test, create=False) as database, database.read() as connection:
        runs = connection.exec_driver_sql("SELECT name, status, steps FROM runs").all()
        steps = connection.exec_driver_sql("SELECT name FROM model_runs ORDER BY name").all()
    exporter.shutdown()
    assert result is SpanExportResult.SUCCESS
    assert [tuple(run) for run in runs] == [("nightly", "completed", 2)]
    assert [tuple(step) for step in steps] == [("extract",), ("load",)]


def test_making_an_exporter_opens_nothing(file: Path) -> None:
    RunsSpanExporter(file)
    RunsSpanExporter("postgresql://nobody@256.0.0.1/nowhere")
    RunsSpanExporter("no such driver://x")

    assert not file.exists()


def test_stock_processors_of_anyones_provider_take_the_exporter(file: Path) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(RunsSpanExporter(file)))
    with provider.get_tracer("tests").start_as_current_span("mine"):
        pass

    provider.shutdown()

    assert names_in(file) == ["mine"]


def test_counters_tell_what_was_stored(exporter: RunsSpanExporter) -> None:
    exporter.export(spans_of(["a", "b", "c"]))

    told = stats()
    assert (told.spans_received, told.spans_stored, told.spans_failed, told.export_errors) == (3, 3, 0, 0)


def test_a_failing_database_never_raises_and_is_counted_and_logged_once(
    file: Path, exporter: RunsSpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    file.write_bytes(TEXT_IS_NO_DATABASE)

    results = [exporter.export(spans_of(["a", "b"])) for _ in range(3)]

    told = stats()
    assert results == [SpanExportResult.FAILURE] * 3
    assert (told.spans_received, told.spans_stored, told.spans_failed, told.spans_spooled) == (6, 0, 0, 6)
    assert told.export_errors >= 1
    assert told.last_error is not None
    assert str(file) in told.last_error
    assert told.last_error_at is not None
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert str(file) in errors[0].getMessage()


def test_recovery_is_logged_and_a_new_outage_is_logged_again(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    exporter = RunsSpanExporter(f"sqlite:///{file}?timeout=0.05", retry_seconds=0.1)
    exporter.export(spans_of(["a"]))
    for _ in range(2):
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            assert exporter.export(spans_of(["b"])) is SpanExportResult.FAILURE
        other.close()
        wait_until(lambda: exporter.export(spans_of(["c"])) is SpanExportResult.SUCCESS, what="recovery")
    exporter.shutdown()

    levels = [record.levelname for record in caplog.records if record.name == "otel_runs.export.exporter"]
    assert levels == ["ERROR", "WARNING", "ERROR", "WARNING"]
    assert set(names_in(file)) == {"a", "b", "c"}, "what came during the outage has been stored after it"


def test_an_unreadable_url_fails_the_export_not_the_pipeline(caplog: pytest.LogCaptureFixture) -> None:
    exporter = RunsSpanExporter("mysql://somewhere/else")

    assert exporter.export(spans_of(["a"])) is SpanExportResult.FAILURE
    assert "mysql" in caplog.text


def test_strict_raises_what_is_otherwise_counted(
    file: Path, exporter: RunsSpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RUNS_STRICT", "true")
    file.write_bytes(TEXT_IS_NO_DATABASE)

    with pytest.raises(StoreError, match=str(file)):
        exporter.export(spans_of(["a"]))


def spans_that_claim_one_row() -> list[ReadableSpan]:
    """Two runs whose trace ids begin alike, each with a step of the same span id."""
    spans = []
    for last in (1, 2):
        trace = (0xABABABABABABABAB << 64) + last
        parent = SpanContext(trace, 1, is_remote=False)
        for name, number in (("run", 1), ("step", 2)):
            context = SpanContext(trace, number, is_remote=False)
            above = parent if name == "step" else None
            spans.append(ReadableSpan(f"{name} {last}", context, above, start_time=1, end_time=2))
    return spans


def test_span_that_cannot_be_stored_costs_no_other_its_row(
    file: Path, exporter: RunsSpanExporter, caplog: pytest.LogCaptureFixture
) -> None:
    batch = [*spans_of(["nightly", "load"]), *spans_that_claim_one_row()]

    assert exporter.export(batch) is SpanExportResult.FAILURE

    told = stats()
    assert (told.spans_received, told.spans_stored, told.spans_failed, told.spans_quarantined) == (6, 5, 0, 1)
    assert {"nightly", "load", "run 1", "run 2"} < set(names_in(file))
    assert "1 span could not be stored: StoreValueError" in caplog.text


def test_strict_raises_what_a_single_span_was_refused_for(
    exporter: RunsSpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_RUNS_STRICT", "true")

    with pytest.raises(StoreError):
        exporter.export(spans_that_claim_one_row())


def test_a_lock_that_goes_away_in_time_costs_nothing_but_time(file: Path) -> None:
    open_database(file).close()
    exporter = RunsSpanExporter(f"sqlite:///{file}?timeout=0.05", retry_seconds=20)
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")

    def let_go() -> None:
        wait_until(lambda: stats().export_errors > 0, what="an attempt that fails")
        other.rollback()

    release = threading.Thread(target=let_go)
    release.start()

    result = exporter.export(spans_of(["a"]))

    release.join()
    other.close()
    exporter.shutdown()
    assert result is SpanExportResult.SUCCESS
    assert names_in(file) == ["a"]
    assert stats().export_errors >= 1, "the attempts in between are counted"


def test_a_lock_that_stays_ends_in_a_bounded_time(file: Path) -> None:
    open_database(file).close()
    exporter = RunsSpanExporter(f"sqlite:///{file}?timeout=0.05", retry_seconds=0.5)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    started = time.monotonic()

    result = exporter.export(spans_of(["a", "b"]))

    other.close()
    exporter.shutdown()
    assert result is SpanExportResult.FAILURE
    assert time.monotonic() - started < 10
    assert (stats().spans_failed, stats().spans_spooled) == (0, 2)


def test_shutdown_ends_the_waiting_for_a_locked_database(file: Path) -> None:
    open_database(file).close()
    exporter = RunsSpanExporter(f"sqlite:///{file}?timeout=0.05", retry_seconds=60)
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    results: list[SpanExportResult] = []
    thread = threading.Thread(target=lambda: results.append(exporter.export(spans_of(["a"]))))
    thread.start()
    wait_until(lambda: stats().export_errors > 0, what="an attempt that fails")

    exporter.shutdown()

    thread.join(10)
    other.close()
    assert results == [SpanExportResult.FAILURE]


def test_shutdown_and_flush_may_be_called_twice(file: Path) -> None:
    exporter = RunsSpanExporter(file)
    exporter.export(spans_of(["a"]))

    for _ in range(2):
        exporter.shutdown()
        assert exporter.force_flush()


def test_several_threads_may_export_at_once(file: Path, exporter: RunsSpanExporter) -> None:
    batches = [spans_of([f"run {number}", f"step {number}"]) for number in range(8)]
    at_once(*(partial(exporter.export, batch) for batch in batches))

    assert len(names_in(file)) == 16
    assert stats().spans_stored == 16
