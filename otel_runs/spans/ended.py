"""What a log record says of a span's end. So travel spans that a sampler left out: whoever reads traces gets none.

The record's time is the end. Of the span's events only the exception is told that becomes the row's error, and no link.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, cast

from otel_runs import attributes as key
from otel_runs.spans.span import Event, Span, StatusCode

_EXCEPTION: Final = "exception"
"""Name of the event. Source: semantic conventions, exceptions in spans."""
_TOLD: Final = (key.EXCEPTION_TYPE, key.EXCEPTION_MESSAGE, key.EXCEPTION_STACKTRACE)
_STATUSES: Final = frozenset({"OK", "ERROR"})


class End(NamedTuple):
    """How a span ended."""

    status: StatusCode
    status_message: str | None
    events: Sequence[Event]


def attributes_from_end(span: Span) -> dict[str, object]:
    """What the record of an ended span says besides what every record of a span does."""
    about: dict[str, object] = {key.SPAN_START: span.start_ns, key.SPAN_STATUS: span.status}
    if span.status_message is not None:
        about[key.SPAN_STATUS_MESSAGE] = span.status_message
    last = next((event for event in reversed(span.events) if event.name == _EXCEPTION), None)
    if last is not None:
        about[key.SPAN_EXCEPTION] = {name: last.attributes[name] for name in _TOLD if name in last.attributes}
    return about


def end_from_attributes(attributes: dict[str, object], end_ns: int) -> End:
    """How a span ended, by its record's attributes, which are taken out. What cannot be read is left out.

    Args:
        attributes: of the record.
        end_ns: when it ended.
    """
    status, message = attributes.pop(key.SPAN_STATUS, None), attributes.pop(key.SPAN_STATUS_MESSAGE, None)
    exception = attributes.pop(key.SPAN_EXCEPTION, None)
    return End(
        cast("StatusCode", status) if isinstance(status, str) and status in _STATUSES else "UNSET",
        message if isinstance(message, str) and message else None,
        [Event(_EXCEPTION, end_ns, exception)] if isinstance(exception, Mapping) else (),
    )
