"""The processor that stamps the spans of others. Apart from place.py, because it needs the SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.trace import get_current_span

from otel_runs.attributes import PARENT_RUN, RUN_KEY
from otel_runs.instrument.place import attributes_of, stamps_below

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span


class StampProcessor(SpanProcessor):
    """Stamps the spans that others make: plain ones, and those of instrumented libraries.

    It goes before the processors that export.
    """

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Stamp a span, unless it has a stamp or names a run of its own by key."""
        if span.parent is None or span.parent.is_remote:
            return
        attributes = attributes_of(span) or {}
        if PARENT_RUN in attributes or RUN_KEY in attributes:
            return
        stamps = stamps_below(get_current_span(parent_context))
        if stamps:
            span.set_attributes(stamps)
