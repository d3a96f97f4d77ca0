"""What log records tell of spans, for those who write such records: ``started.py`` reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from otel_runs import attributes as key
from otel_runs.spans.ended import attributes_from_end
from otel_runs.spans.span import Span


class Told(NamedTuple):
    """One log record, in no format yet."""

    span: Span
    event_name: str
    time_ns: int
    about: dict[str, object]
    """Its attributes, but for the span's own."""


Tell = Callable[[Span], Told | None]
"""What a record of one kind tells of a span; None where there is nothing of that kind to tell."""


def start_from_span(span: Span) -> Told:
    """That it has started."""
    return _told(span, key.EVENT_RUN_STARTED if _is_run(span) else key.EVENT_STEP_STARTED, span.start_ns, {})


def heartbeat_from_span(span: Span) -> Told | None:
    """That the process of a run lives."""
    if span.heartbeat_ns is None:
        return None
    return _told(span, key.EVENT_RUN_HEARTBEAT, span.heartbeat_ns, {key.SPAN_START: span.start_ns})


def end_from_span(span: Span) -> Told | None:
    """That it has ended, and how."""
    if span.end_ns is None:
        return None
    return _told(span, key.EVENT_SPAN_ENDED, span.end_ns, attributes_from_end(span))


def latest_from_span(span: Span) -> Told:
    """The latest that is known of it, which says all that came before, too."""
    lives = _is_run(span) and span.heartbeat_ns is not None and span.heartbeat_ns > span.start_ns
    return end_from_span(span) or (lives and heartbeat_from_span(span)) or start_from_span(span)


def _told(span: Span, event_name: str, time_ns: int, more: dict[str, object]) -> Told:
    about: dict[str, object] = {key.SPAN_NAME: span.name, key.SPAN_KIND: span.kind, **more}
    if span.parent_span_id is not None:
        about[key.SPAN_PARENT_ID] = span.parent_span_id
        if span.parent_is_remote is not None:
            about[key.SPAN_PARENT_IS_REMOTE] = span.parent_is_remote
    return Told(span, event_name, time_ns, about)


def _is_run(span: Span) -> bool:
    return span.parent_span_id is None or span.attributes.get(key.KIND) == "run"
