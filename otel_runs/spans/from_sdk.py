"""Neutral spans from the SDK's finished spans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace

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
            span: a span of any TracerProvider; ``end_time`` may be missing (a span only started). An open span's events
                and links are left out: its thread may be adding one.

        Raises:
            ValueError: the span has no context or no start time; the SDK makes no such span.

        Source: opentelemetry.sdk.trace.ReadableSpan.
        """
        context = span.get_span_context()
        start, end = span.start_time, span.end_time  # the SDK's properties are functions, 0.1 us each
        if context is None or start is None:
            msg = f"span {span.name!r} has no context or no start time; expected a span started by a TracerProvider"
            raise ValueError(msg)
        if span.resource is not self._sdk_resource:
            self._resource = Resource(dict(span.resource.attributes))
            self._sdk_resource = span.resource
        parent = span.parent
        is_open = end is None
        scope = span.instrumentation_scope
        status = span.status
        return Span(
            _hex(context.trace_id, 16),
            _hex(context.span_id, 8),
            _hex(parent.span_id, 8) if parent is not None and parent.span_id else None,
            span.name,
            _KINDS[span.kind.value],
            start,
            end,
            _STATUSES[status.status_code.value],
            status.description or None,  # as over OTLP, where nothing and an empty text are one
            _copied(span.attributes),
            () if is_open else _events(span),
            () if is_open else _links(span),
            self._resource,
            scope.name if scope is not None else "",
            parent.is_remote if parent is not None else None,
            None,
            bool(context.trace_flags & _SAMPLED),
        )


def _by_value(enumeration: type[Enum]) -> dict[int, Any]:
    return {member.value: member.name for member in enumeration}


# By value: before Python 3.12 an enumeration's ``name`` is looked up in Python.
_KINDS: Final[dict[int, SpanKind]] = _by_value(trace.SpanKind)
_STATUSES: Final[dict[int, StatusCode]] = _by_value(trace.StatusCode)

_SAMPLED: Final = int(trace.TraceFlags.SAMPLED)


def _hex(number: int, size: int) -> str:
    # Five times as fast as formatting with "032x".
    return number.to_bytes(size, "big").hex()


def _events(span: ReadableSpan) -> Sequence[Event]:
    # The SDK's property copies its list in Python, 1 us; most spans have no event, and then the list itself tells.
    if not getattr(span, "_events", True):
        return ()
    return [Event(event.name, event.timestamp, _copied(event.attributes)) for event in span.events]


def _links(span: ReadableSpan) -> Sequence[Link]:
    if not getattr(span, "_links", True):
        return ()
    return [
        Link(_hex(link.context.trace_id, 16), _hex(link.context.span_id, 8), _copied(link.attributes))
        for link in span.links
    ]


def _copied(attributes: Mapping[str, Any] | None) -> Attributes:
    # The SDK's own class looks every key up in Python; its copy() hands out the dictionary inside (0.8 us, not 4).
    if not attributes:
        return NO_ATTRIBUTES
    copy = getattr(attributes, "copy", None)
    copied = dict(attributes) if copy is None else copy()
    return copied if isinstance(copied, dict) else dict(copied)
