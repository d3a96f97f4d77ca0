"""Neutral spans from the SDK's finished spans."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_runs.spans.span import NO_ATTRIBUTES, Event, Link, Resource, Span

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource as SdkResource
    from opentelemetry.sdk.trace import ReadableSpan

    from otel_runs.spans.span import Attributes, SpanKind, StatusCode


class SdkSpans:
    """Turns SDK spans into neutral ones; remembers the resource, which all spans of a provider share."""

    def __init__(self) -> None:
        self._sdk_resource: SdkResource | None = None
        self._resource = Resource(NO_ATTRIBUTES)

    def span_from_sdk(self, span: ReadableSpan) -> Span:
        """One neutral span.

        Args:
            span: a span of any TracerProvider; ``end_time`` may be missing (a span only started).

        Raises:
            ValueError: the span has no context or no start time; the SDK makes no such span.

        Source: opentelemetry.sdk.trace.ReadableSpan.
        """
        context = span.get_span_context()
        start = span.start_time
        if context is None or start is None:
            msg = f"span {span.name!r} has no context or no start time; expected a span started by a TracerProvider"
            raise ValueError(msg)
        if span.resource is not self._sdk_resource:
            self._resource = Resource(dict(span.resource.attributes))
            self._sdk_resource = span.resource
        parent = span.parent
        kind: SpanKind = span.kind.name
        status: StatusCode = span.status.status_code.name
        scope = span.instrumentation_scope
        return Span(
            f"{context.trace_id:032x}",
            f"{context.span_id:016x}",
            f"{parent.span_id:016x}" if parent is not None and parent.span_id else None,
            span.name,
            kind,
            start,
            span.end_time,
            status,
            span.status.description,
            _copied(span.attributes),
            [Event(event.name, event.timestamp, _copied(event.attributes)) for event in span.events],
            [
                Link(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}", _copied(link.attributes))
                for link in span.links
            ],
            self._resource,
            scope.name if scope is not None else "",
            scope.version if scope is not None else None,
            context.trace_state.to_header() if context.trace_state else None,
            parent.is_remote if parent is not None else None,
        )


def _copied(attributes: object) -> Attributes:
    # The SDK's own class looks every key up in Python; its copy() hands out the dictionary inside (0.2 us instead of 3).
    if not attributes:
        return NO_ATTRIBUTES
    copied = attributes.copy() if hasattr(attributes, "copy") else dict(attributes)  # type: ignore[call-overload]
    return copied if isinstance(copied, dict) else dict(copied)
