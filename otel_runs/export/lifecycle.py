"""What this process notes of each span from its start to its end. One processor: each costs a span a microsecond."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from otel_runs.attributes import KIND, PARENT_RUN
from otel_runs.export.endings import hook_end
from otel_runs.instrument.place import attributes_of
from otel_runs.instrument.stamp import stamp

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from otel_runs.export.open_spans import OpenSpans

_NO_ATTRIBUTES: Final[dict[str, Any]] = {}


class LifecycleProcessor(SpanProcessor):
    """Stamps spans, knows those that are open, and has them say at their end what only this process knows.

    It goes before the processors that export.
    """

    def __init__(self, open_spans: OpenSpans) -> None:
        """Note what happens in a registry that others read, too."""
        self._open_spans = open_spans
        self.is_shut_down = False
        """Whether the provider was, and with it all that export."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Stamp the span, remember it, and stand at its end where it will have something to say."""
        attributes = attributes_of(span) or _NO_ATTRIBUTES
        if PARENT_RUN not in attributes:
            stamp(span, attributes, parent_context)
        run = self._open_spans.add(span, attributes)
        is_plain = KIND not in attributes  # a decorator knows how its span ended
        if is_plain or run is not None:
            hook_end(span, run, is_plain=is_plain)

    def on_end(self, span: ReadableSpan) -> None:
        """Forget the span, and count it in its run."""
        self._open_spans.remove(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  as SpanProcessor
        """Nothing waits here. Said, because older SDKs take None for a failure, and flush nobody after it."""
        return True

    def shutdown(self) -> None:
        """Remember that the provider was shut down."""
        self.is_shut_down = True
