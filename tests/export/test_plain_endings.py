"""A plain span says how it ended where OpenTelemetry itself says nothing."""

from __future__ import annotations

import asyncio
import gc
import signal
import weakref
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from otel_runs.export.lifecycle import LifecycleProcessor
from otel_runs.export.open_spans import OpenSpans
from otel_runs.instrument.endings import Skip


class Pipeline:
    def __init__(self) -> None:
        provider = TracerProvider(shutdown_on_exit=False)
        self._exporter = InMemorySpanExporter()
        self.open_spans = OpenSpans()
        for processor in (LifecycleProcessor(self.open_spans), SimpleSpanProcessor(self._exporter)):
            provider.add_span_processor(processor)
        self.tracer = provider.get_tracer("t")
        self.span = self.tracer.start_as_current_span

    def ended(self, name: str) -> ReadableSpan:
        (span,) = (span for span in self._exporter.get_finished_spans() if span.name == name)
        return span

    def ending(self, name: str) -> tuple[Any, Any, StatusCode]:
        span = self.ended(name)
        attributes = span.attributes or {}
        return attributes.get("otel_runs.status"), attributes.get("otel_runs.stop_reason"), span.status.status_code


UNSAID = (None, None, StatusCode.UNSET)


@pytest.mark.parametrize(
    ("exc", "ending"),
    [
        (KeyboardInterrupt(), ("cancelled", "signal:SIGINT", StatusCode.UNSET)),
        (SystemExit(0), UNSAID),
        (SystemExit(3), ("failed", "exit:3", StatusCode.ERROR)),
        (asyncio.CancelledError(), ("cancelled", "cancelled", StatusCode.UNSET)),
        (GeneratorExit(), UNSAID),
        (Skip("unchanged"), UNSAID),
        (ValueError("bad"), (None, None, StatusCode.ERROR)),
    ],
    ids=lambda value: repr(value) if isinstance(value, BaseException) else None,
)
def test_what_leaves_a_plain_span_is_its_ending(exc: BaseException, ending: tuple[Any, Any, StatusCode]) -> None:
    pipeline = Pipeline()
    with pytest.raises(type(exc)), pipeline.span("nightly"), pipeline.span("load"):
        raise exc

    assert pipeline.ending("nightly") == pipeline.ending("load") == ending
    assert (pipeline.ended("nightly").attributes or {})["otel_runs.steps_expected"] == 1


def test_a_span_of_the_clean_up_has_not_been_interrupted() -> None:
    pipeline = Pipeline()
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        with pipeline.span("clean up"):
            pass

    assert pipeline.ending("clean up") == UNSAID


def test_what_a_span_says_itself_stands() -> None:
    pipeline = Pipeline()
    with pytest.raises(KeyboardInterrupt), pipeline.span("load") as span:
        span.set_attribute("otel_runs.status", "skipped")
        raise KeyboardInterrupt

    assert pipeline.ending("load")[0] == "skipped"


def test_a_span_that_has_ended_is_gone_without_the_garbage_collector() -> None:
    pipeline = Pipeline()
    gc.disable()
    try:
        span = pipeline.tracer.start_span("load")
        gone = weakref.ref(span)
        span.end()
        del span
        assert gone() is None
    finally:
        gc.enable()


def test_a_span_that_nobody_holds_and_nobody_ends_is_forgotten() -> None:
    pipeline = Pipeline()
    gone = [weakref.ref(pipeline.tracer.start_span(name)) for name in ("load", "store")]
    gc.collect()

    assert [span() for span in gone] == [None, None]
    assert pipeline.open_spans.list_() == []


def test_a_span_that_nobody_holds_when_it_is_ended_ends_all_the_same() -> None:
    pipeline = Pipeline()
    pipeline.tracer.start_span("event").end()

    assert pipeline.ended("event").end_time is not None
