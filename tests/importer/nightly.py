"""The pipeline whose telemetry the files hold: two nights that ended, the second in an error, and one that started."""

from __future__ import annotations

from itertools import count
from typing import Final

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from otel_runs import attributes as key
from otel_runs.spans import span as neutral
from otel_runs.spans.from_sdk import SdkSpans

START: Final = 1_760_000_000_000_000_000
SECOND: Final = 1_000_000_000
SERVICE: Final = {"service.name": "shop"}


class _Ids(IdGenerator):
    """1, 2, 3 and so on, behind digits that look like ids."""

    def __init__(self) -> None:
        self._spans, self._traces = count(1), count(1)

    def generate_span_id(self) -> int:
        return 0x00F067AA0BA90000 + next(self._spans)

    def generate_trace_id(self) -> int:
        return 0x0AF7651916CD43DD8448EB2100000000 + next(self._traces)


def spans() -> list[neutral.Span]:
    """What the exporter of such a process hands on, and what its log records tell of."""
    finished = InMemorySpanExporter()
    whole = Resource({**SERVICE, "deployment.environment.name": "prod", "vcs.ref.head.revision": "c" * 40})
    provider = TracerProvider(resource=whole, id_generator=_Ids())
    provider.add_span_processor(SimpleSpanProcessor(finished))
    tracer = provider.get_tracer("shop.etl", "1.2")
    for night in (0, 1):
        _night(tracer, night)
    adapter = SdkSpans()
    ended = [adapter.span_from_sdk(each) for each in finished.get_finished_spans()]
    started = [adapter.span_from_sdk(each) for each in _started()]
    # The start of a run is its first sign of life.
    return [*ended, *(each._replace(heartbeat_ns=each.start_ns) for each in started)]


def _night(tracer: trace.Tracer, night: int) -> None:
    begin = START + night * 60 * SECOND
    failed = Status(StatusCode.ERROR, "ValueError: no rows")
    root = tracer.start_span(
        "nightly",
        start_time=begin + 123,
        attributes={
            key.KIND: "run",
            key.RUN_ID: f"night-{night}",
            f"{key.METADATA_PREFIX}region": "eu",
            key.STEPS_EXPECTED: 3,
        },
    )
    below = trace.set_span_in_context(root)
    load = tracer.start_span(
        "load",
        below,
        start_time=begin + SECOND,
        attributes={
            key.KIND: "model",
            key.MODEL_PATH: "shop.orders",
            key.ROWS_AFFECTED: 70491,
            key.MODEL_DEPENDS_ON: ["raw.orders", "raw.items"],
            key.MODEL_TAGS: ["daily"],
        },
    )
    tracer.start_span(
        "SELECT",
        trace.set_span_in_context(load),
        kind=SpanKind.CLIENT,
        start_time=begin + SECOND + 5_000,
        attributes={"db.system.name": "postgresql", key.DB_RETURNED_ROWS: 12},
    ).end(begin + SECOND + 900_000)
    load.end(begin + 3 * SECOND + 456_789)
    tracer.start_span(
        "chat gpt",
        below,
        kind=SpanKind.CLIENT,
        start_time=begin + 4 * SECOND,
        attributes={
            key.GEN_AI_OPERATION: "chat",
            key.GEN_AI_PROVIDER: "openai",
            key.GEN_AI_REQUEST_MODEL: "gpt-4o",
            key.GEN_AI_INPUT_TOKENS: 1315,
            key.GEN_AI_OUTPUT_TOKENS: 209,
            key.COST_USD: 0.0125,
            key.GEN_AI_FINISH_REASONS: ["stop"],
        },
    ).end(begin + 5 * SECOND)
    report = tracer.start_span(
        "report",
        below,
        start_time=begin + 6 * SECOND,
        links=[Link(load.get_span_context(), {"why": "reads"})],
        attributes={key.KIND: "step"},
    )
    if night == 1:
        raised = {
            key.EXCEPTION_TYPE: "ValueError",
            key.EXCEPTION_MESSAGE: "no rows",
            key.EXCEPTION_STACKTRACE: "Traceback: no rows",
        }
        report.add_event("exception", raised, timestamp=begin + 7 * SECOND)
        report.set_status(failed)
        root.set_status(failed)
    report.end(begin + 7 * SECOND + 1_000)
    root.end(begin + 8 * SECOND + 7)


def _started() -> list[ReadableSpan]:
    """The third night; its process is another one, of which only the service is known."""
    ids = _Ids()
    for _ in range(10):
        ids.generate_span_id()
    for _ in range(2):
        ids.generate_trace_id()
    tracer = TracerProvider(resource=Resource(SERVICE), id_generator=ids).get_tracer("otel_runs")
    begin = START + 120 * SECOND
    root = tracer.start_span("nightly", start_time=begin, attributes={key.KIND: "run", key.RUN_ID: "night-2"})
    below = trace.set_span_in_context(root)
    load = tracer.start_span("load", below, start_time=begin + SECOND, attributes={key.KIND: "step"})
    return [each for each in (root, load) if isinstance(each, Span)]
