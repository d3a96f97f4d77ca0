"""Finished spans as a pipeline leaves them, made by the real SDK."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from otel_runs.id_generator import TimeOrderedIdGenerator
from otel_runs.instrument.stamp import StampProcessor

BATCH = 2_000
"""Spans a call of the exporter, as ``RunsSpanProcessor`` hands them over."""
MODELS = 40
"""Different models that the steps execute."""


def pipeline_spans(traces: int, steps: int) -> Sequence[ReadableSpan]:
    """Spans of some runs in the order in which they end: steps first, the run's own span last.

    Args:
        traces: number of runs.
        steps: spans below each run's own.
    """
    finished = InMemorySpanExporter()
    provider = TracerProvider(
        resource=Resource({"service.name": "nightly", "deployment.environment.name": "prod"}),
        id_generator=TimeOrderedIdGenerator(),
    )
    provider.add_span_processor(StampProcessor())  # as configure() does
    provider.add_span_processor(SimpleSpanProcessor(finished))
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
    return finished.get_finished_spans()
