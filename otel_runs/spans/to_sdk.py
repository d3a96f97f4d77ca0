"""The SDK's finished spans from neutral ones, to be exported once more."""

from __future__ import annotations

from typing import Any, Final

from opentelemetry.sdk.resources import Resource as SdkResource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from otel_runs.spans.span import Attributes, Span

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_NOT_SAMPLED: Final = TraceFlags(TraceFlags.DEFAULT)


def sdk_span(span: Span) -> ReadableSpan:
    """One finished span as an SDK hands it to an exporter, as far as the neutral one knows it.

    The neutral shape knows neither trace state nor the version of the scope.

    Args:
        span: ended.
    """
    parent = None
    if span.parent_span_id is not None:
        parent = _context(span.trace_id, span.parent_span_id, is_remote=span.parent_is_remote is True)
    is_error = span.status == "ERROR"
    return ReadableSpan(
        span.name,
        _context(span.trace_id, span.span_id, _SAMPLED if span.is_sampled else _NOT_SAMPLED),
        parent=parent,
        resource=SdkResource(_attributes(span.resource.attributes)),
        attributes=_attributes(span.attributes),
        events=[Event(event.name, _attributes(event.attributes), event.time_ns) for event in span.events],
        links=[Link(_context(link.trace_id, link.span_id), _attributes(link.attributes)) for link in span.links],
        kind=SpanKind[span.kind],
        status=Status(StatusCode[span.status], span.status_message if is_error else None),
        start_time=span.start_ns,
        end_time=span.end_ns,
        instrumentation_scope=InstrumentationScope(span.scope_name),
    )


def _context(trace_id: str, span_id: str, flags: TraceFlags = _SAMPLED, *, is_remote: bool = False) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote, flags)


def _attributes(attributes: Attributes) -> Any:
    """Any, because the SDK's type of attributes is narrower than what it takes."""
    return dict(attributes)
