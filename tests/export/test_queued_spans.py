"""What a span weighs while it waits, and that nobody else misses anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util import BoundedList

from otel_runs.export.processor import RunsSpanProcessor


class Pipeline:
    """A provider with our queue between two processors of others."""

    def __init__(self) -> None:
        self.before, self.queued, self.after = InMemorySpanExporter(), InMemorySpanExporter(), InMemorySpanExporter()
        self.queue = RunsSpanProcessor(self.queued)
        self.provider = TracerProvider(span_limits=SpanLimits(max_events=1, max_links=1), shutdown_on_exit=False)
        for processor in (SimpleSpanProcessor(self.before), self.queue, SimpleSpanProcessor(self.after)):
            self.provider.add_span_processor(processor)
        self.tracer = self.provider.get_tracer("t")

    def seen(self) -> list[ReadableSpan]:
        """The one span, as each of the three has it."""
        assert self.queue.force_flush()
        return [span for exporter in (self.before, self.queued, self.after) for span in exporter.get_finished_spans()]


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    made = Pipeline()
    yield made
    made.provider.shutdown()


def test_a_span_without_events_and_links_waits_without_the_lists_for_them(pipeline: Pipeline) -> None:
    pipeline.tracer.start_span("load").end()

    _, queued, _ = pipeline.seen()
    held = [queued._events, queued._links]
    assert [type(each) for each in held] == [list, list], "the SDK keeps them in another way now: see _lighten"
    for span in pipeline.seen():
        assert (span.events, span.links, span.dropped_events, span.dropped_links) == ((), (), 0, 0)
        assert '"events": [],' in span.to_json()


def test_events_and_links_are_kept_and_so_are_the_counts_of_those_that_were_dropped(pipeline: Pipeline) -> None:
    links = [trace.Link(trace.SpanContext(number, 2, is_remote=True)) for number in (1, 2)]
    span = pipeline.tracer.start_span("load", links=links)
    for name in ("first", "second"):
        span.add_event(name)
    span.end()

    for seen in pipeline.seen():
        assert [event.name for event in seen.events] == ["second"]
        assert [link.context.trace_id for link in seen.links] == [2]
        assert (seen.dropped_events, seen.dropped_links) == (1, 1)


def test_lists_that_are_empty_because_all_was_dropped_say_so() -> None:
    queued = InMemorySpanExporter()
    provider = TracerProvider(span_limits=SpanLimits(max_events=0), shutdown_on_exit=False)
    provider.add_span_processor(RunsSpanProcessor(queued))
    span = provider.get_tracer("t").start_span("load")
    span.add_event("happened")
    span.end()
    provider.shutdown()

    [found] = queued.get_finished_spans()
    assert isinstance(found._events, BoundedList)
    assert (found.events, found.dropped_events) == ((), 1)


def test_a_span_that_no_tracer_made_is_queued_as_it_is(pipeline: Pipeline) -> None:
    context = trace.SpanContext(1, 2, is_remote=False, trace_flags=trace.TraceFlags(trace.TraceFlags.SAMPLED))
    made = ReadableSpan("load", context)
    pipeline.queue.on_end(made)

    assert pipeline.seen() == [made]
    assert made.events == ()
