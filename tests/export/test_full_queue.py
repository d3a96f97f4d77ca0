"""The queue: full, or not empty at the end."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_runs.counters import stats
from otel_runs.export import queue_log
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


class InTurns(SpanExporter):
    """Takes a batch whenever it is let."""

    def __init__(self) -> None:
        self.turns = threading.Semaphore(0)
        self.taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        assert self.turns.acquire(timeout=60)
        self.taken += len(spans)
        return SpanExportResult.SUCCESS


def test_a_burst_that_keeps_the_queue_full_is_told_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_log, "FULL_AGAIN_SECONDS", 0.0)
    exporter = InTurns()
    processor = RunsSpanProcessor(exporter, max_queue_size=50, max_batch_size=10)
    [span] = spans_of("run")

    def fill() -> None:
        for _ in range(70):
            processor.on_end(span)

    fill()
    for turn in range(1, 4):
        exporter.turns.release()
        wait_until(lambda taken=10 * turn: exporter.taken == taken, what="a batch")  # type: ignore[misc]  # of this turn
        fill()
    assert len(told(caplog)) == 1

    exporter.turns.release(1_000)
    assert processor.force_flush()
    while exporter.turns.acquire(blocking=False):
        pass
    fill()
    assert len(told(caplog)) == 2, "the queue was empty, so this is another burst"
    exporter.turns.release(1_000)
    processor.shutdown()


def test_bursts_that_follow_each_other_at_once_are_told_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    exporter = InTurns()
    processor = RunsSpanProcessor(exporter, max_queue_size=50, max_batch_size=10)
    [span] = spans_of("run")
    for _ in range(3):
        for _ in range(70):
            processor.on_end(span)
        exporter.turns.release(100)
        assert processor.force_flush()
        while exporter.turns.acquire(blocking=False):
            pass
    exporter.turns.release(100)
    processor.shutdown()

    assert stats().spans_dropped > 0
    assert len(told(caplog)) == 1


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [text for text in caplog.messages if "wait to be stored" in text]


def test_spans_after_the_shutdown_are_told_ever_more_seldom_and_all_counted(caplog: pytest.LogCaptureFixture) -> None:
    processor = RunsSpanProcessor(InMemorySpanExporter())
    processor.shutdown()
    [span] = spans_of("late")
    for _ in range(1_000):
        processor.on_end(span)

    assert stats().spans_dropped == 1_000
    assert caplog.messages == [
        "1 span is not stored: ended after the shutdown (said again at 10).",
        "10 spans are not stored: ended after the shutdown (said again at 100).",
        "100 spans are not stored: ended after the shutdown (said again at 1,000).",
        "1,000 spans are not stored: ended after the shutdown (said again at 10,000).",
    ]


class Hasty(RunsSpanExporter):
    """Begins to store, and then waits, as for a database that does not answer."""

    def __init__(self, file: Path) -> None:
        super().__init__(file)
        self.let_go = threading.Event()
        self.is_busy = threading.Event()

    def _export(self, spans: Sequence[ReadableSpan]) -> Exception | None:
        self.is_busy.set()
        self.let_go.wait(60)
        return super()._export(spans)


def test_spans_that_are_spooled_out_of_the_exporters_hands_are_received_once(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_RUNS_FLUSH_TIMEOUT", "0.3")
    exporter = Hasty(file)
    processor = RunsSpanProcessor(exporter, max_batch_size=1)
    first, second = spans_of("first", "second")
    processor.on_end(first)
    assert exporter.is_busy.wait(30)
    processor.on_end(second)

    processor.shutdown()

    assert (stats().spans_received, stats().spans_spooled) == (2, 2)
    assert caplog.messages == ["2 spans are not stored in time (no answer); kept in the spool."]
    exporter.let_go.set()


class Raising(InMemorySpanExporter):
    """Somebody else's, that raises what it is told to."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error: BaseException | None = error
        self.raised = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self.error is not None:
            self.raised += 1
            raise self.error
        return super().export(spans)


@pytest.mark.parametrize(("error", "dropped"), [(ValueError("no"), 0), (SystemExit(1), 1)])
def test_whatever_an_exporter_raises_is_told_once_and_later_spans_are_exported(
    error: BaseException, dropped: int, caplog: pytest.LogCaptureFixture
) -> None:
    """An exporter that raises an exception may have stored some; one that wants to end the thread has not."""
    exporter = Raising(error)
    processor = RunsSpanProcessor(exporter)
    for span in spans_of("a", "b", "c"):
        processor.on_end(span)
        assert processor.force_flush()
    assert exporter.raised == 3
    exporter.error = None
    for span in spans_of("d"):
        processor.on_end(span)
    processor.shutdown()

    assert [span.name for span in exporter.get_finished_spans()] == ["d"]
    assert (stats().export_errors, stats().spans_dropped) == (3, 3 * dropped)
    # Of all messages: a replay of the test before may still say what it has stored.
    assert caplog.messages.count("An exporter failed; not said again until it succeeds.") == 1
