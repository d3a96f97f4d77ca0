"""Finished spans as a pipeline leaves them, made by the real SDK."""

from __future__ import annotations

from collections.abc import Iterator

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider

from otel_runs.export.id_generator import TimeOrderedIdGenerator
from otel_runs.export.lifecycle import LifecycleProcessor
from otel_runs.export.open_spans import OpenSpans

BATCH = 2_000
"""Spans a call of the exporter, as ``RunsSpanProcessor`` hands them over."""
MODELS = 40
"""Different models that the steps execute."""


class _Collected(SpanProcessor):
    def __init__(self) -> None:
        self.spans: list[ReadableSpan] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.spans.append(span)


def pipeline_batches(traces: int, steps: int) -> Iterator[list[ReadableSpan]]:
    """Spans of some runs in the order in which they end, steps first, in batches.

    A batch is made when it is asked for, as in a pipeline, where spans are exported half a second after they end: the
    objects of a hundred thousand spans that wait would be out of the processor's caches, and twice as slow to read.

    Args:
        traces: number of runs.
        steps: spans below each run's own.
    """
    finished = _Collected()
    provider = TracerProvider(
        resource=Resource({"service.name": "nightly", "deployment.environment.name": "prod"}),
        id_generator=TimeOrderedIdGenerator(),
    )
    provider.add_span_processor(LifecycleProcessor(OpenSpans()))  # as configure() does
    provider.add_span_processor(finished)
    tracer = provider.get_tracer("bench")
    for _ in range(traces):
        with tracer.start_as_current_span("nightly", attributes={"otel_runs.kind": "run"}):
            for number in range(steps):
                model = number % MODELS
                attributes: dict[str, str | int] = {
                    "otel_runs.kind": "model",
                    "otel_runs.model.path": f"marts.model_{model}",
                    "otel_runs.rows_in": number,
                    "otel_runs.rows_out": number,
                    "otel_runs.metadata.part": f"part-{number}",
                }
                with tracer.start_as_current_span(f"model_{model}", attributes=attributes):
                    pass
                if len(finished.spans) >= BATCH:
                    yield finished.spans
                    finished.spans = []
    yield finished.spans
