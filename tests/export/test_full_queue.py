"""The queue: full, or not empty at the end."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from otel_runs.counters import stats
from otel_runs.export.exporter import RunsSpanExporter
from otel_runs.export.processor import RunsSpanProcessor
from tests.export.away import status_of
from tests.export.spans import spans_of
from tests.stored_names import names_in
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("_counters_at_zero", "_in_a_project_of_its_own")


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

    assert [name for name in names_in(file) if name != "replay"] == sorted(span.name for span in spans)


def replayed(file: Path) -> bool:
    """Store what the process could not in its last seconds."""
    exporter = RunsSpanExporter(file)
    exporter.export(spans_of("replay"))
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
    assert exporter.is_busy.wait(30)

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
