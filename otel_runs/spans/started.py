"""Spans that have only started, and ended ones that no sampler has taken, from the log records that tell of them.

A span travels over OTLP when it has ended. Log records tell earlier, and disturb nobody who reads traces alone. A
heartbeat is the start of a run told again, with the time at which its process was still alive.
"""

from __future__ import annotations

from typing import Final, cast

from otel_runs import attributes as key
from otel_runs.spans.decoded import RefusedError, parent_id_of, refuse_without_identity, shown
from otel_runs.spans.ended import End, end_from_attributes
from otel_runs.spans.span import Resource, Span, SpanKind

_EVENTS: Final = frozenset(
    {key.EVENT_RUN_STARTED, key.EVENT_STEP_STARTED, key.EVENT_RUN_HEARTBEAT, key.EVENT_SPAN_ENDED}
)
_LATER: Final = frozenset({key.EVENT_RUN_HEARTBEAT, key.EVENT_SPAN_ENDED})
"""Those whose time is not the start."""
_BEATS: Final = frozenset({key.EVENT_RUN_STARTED, key.EVENT_RUN_HEARTBEAT})
_HEX_DIGITS: Final = frozenset("0123456789abcdef")
_KINDS: Final = frozenset({"INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"})


def is_start(event_name: object) -> bool:
    """Whether log records of this event name tell of a span."""
    return event_name in _EVENTS


def started_span(
    *,
    event_name: str,
    trace_id: str,
    span_id: str,
    time_ns: int,
    attributes: dict[str, object],
    resource: Resource,
    scope_name: str,
) -> Span:
    """The span that a log record tells of; it has no end, unless the record is about that.

    Args:
        event_name: of the record; ``is_start`` takes it.
        trace_id: hexadecimal digits.
        span_id: as trace_id.
        time_ns: of the record: when the span started; of a heartbeat, when its process was alive; of an ended span,
            when it ended.
        attributes: of the record: the span's own, and what attributes.py says of such records. These are taken out.
        resource: what emitted the record.
        scope_name: of the scope that emitted it.

    Raises:
        RefusedError: the record does not say which span started when, or a step does not name its parent.
    """
    refuse_without_identity(trace_id, span_id, time_ns)
    attributes.pop(key.EVENT_NAME, None)
    start = attributes.pop(key.SPAN_START, None)
    parent = _parent(attributes.pop(key.SPAN_PARENT_ID, ""))
    if parent is None and event_name == key.EVENT_STEP_STARTED:
        msg = (
            f"{event_name} without {key.SPAN_PARENT_ID}; expected 16 hexadecimal digits: "
            f"a step without a parent would be a run."
        )
        raise RefusedError(msg)
    name = attributes.pop(key.SPAN_NAME, None)
    kind = attributes.pop(key.SPAN_KIND, None)
    is_remote = attributes.pop(key.SPAN_PARENT_IS_REMOTE, None)
    is_ended = event_name == key.EVENT_SPAN_ENDED
    end = end_from_attributes(attributes, time_ns) if is_ended else _OPEN
    return Span(
        trace_id,
        span_id,
        parent,
        name if isinstance(name, str) else "",
        cast("SpanKind", kind) if isinstance(kind, str) and kind in _KINDS else "INTERNAL",
        _told_start(start, event_name) if event_name in _LATER else time_ns,
        time_ns if is_ended else None,
        end.status,
        end.status_message,
        attributes,
        end.events,
        (),
        resource,
        scope_name,
        is_remote if isinstance(is_remote, bool) and parent is not None else None,
        time_ns if event_name in _BEATS else None,
        not is_ended,
    )


_OPEN: Final = End("UNSET", None, ())


def _told_start(value: object, event_name: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    told = "without it" if value is None else f"with {shown(value)}"
    msg = f"{event_name} {told}; expected {key.SPAN_START}, the start in nanoseconds since 1970."
    raise RefusedError(msg)


def _parent(value: object) -> str | None:
    parent = parent_id_of(value.lower() if isinstance(value, str) else shown(value))
    if parent is not None and not set(parent) <= _HEX_DIGITS:
        msg = f"{key.SPAN_PARENT_ID} is {shown(value)}; expected 16 hexadecimal digits."
        raise RefusedError(msg)
    return parent
