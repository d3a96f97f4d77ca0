"""Stamps the spans of others as they start. Apart from place.py, because it needs a span of the SDK's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import get_current_span

from otel_runs.attributes import PARENT_RUN, RUN_KEY
from otel_runs.instrument.place import stamps_below

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span


def stamp(span: Span, attributes: Mapping[str, Any], parent_context: Context | None) -> None:
    """Stamp a span that others have made: a plain one, or one of an instrumented library.

    Nothing happens where it has a stamp, or names a run of its own by key.

    Args:
        span: has just started.
        attributes: of the span.
        parent_context: that it was started in.
    """
    if span.parent is None or span.parent.is_remote or PARENT_RUN in attributes or RUN_KEY in attributes:
        return
    stamps = stamps_below(get_current_span(parent_context))
    if stamps:
        span.set_attributes(stamps)
