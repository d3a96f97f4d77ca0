"""What became of one request, file or line of OTLP."""

from __future__ import annotations

from typing import Final, NamedTuple

from otel_runs.spans.span import Span

_NO_TRACE: Final = "0" * 32
_NO_SPAN: Final = "0" * 16
_TRACE_DIGITS: Final = 32
_SPAN_DIGITS: Final = 16
_SHOWN: Final = 40
_TOLD: Final = 100
_FURTHER: Final = "A further span cannot be kept, as those before it."


class Decoded(NamedTuple):
    """The spans that could be read, and why others could not."""

    spans: list[Span]
    refused: list[str]
    """One message a span (or log record of ours) that is not among ``spans``: which and why. Of very many, only the
    first ones say that."""
    ignored: int = 0
    """Log records that are not ours; to ignore them is no fault."""


class RefusedError(ValueError):
    """One span cannot be kept; the others can. The message says why; who collects it says which span."""


def tell(refused: list[str], which: str, why: object) -> None:
    """Add a message. Beyond some, one text stands for all: a request may hold millions of bad spans."""
    refused.append(f"{which}: {why}" if len(refused) < _TOLD else _FURTHER)


def shown(value: object) -> str:
    """A value as a message shows it: not longer than a line."""
    try:
        text = repr(value)
    except RecursionError:  # JSON may be nested deeper than Python calls itself
        text = "nested too deep to be shown"
    return f"{text if len(text) <= _SHOWN else text[:_SHOWN] + '...'} ({type(value).__name__})"


def named(span_id: str, name: object) -> str:
    """Which span a message is about: its id, or where it has none its name.

    ASCII: a half surrogate pair could not be sent back in the answer.
    """
    if span_id or not isinstance(name, str):
        return f"Span {span_id or None}"
    return f"Span named {name[:_SHOWN]!a}"


def refuse_without_identity(trace_id: str, span_id: str, start_ns: int) -> None:
    """Refuse a span that has no place or time.

    Args:
        trace_id: hexadecimal digits, of any number.
        span_id: as trace_id.
        start_ns: nanoseconds since the epoch; 0 is a missing time.

    Raises:
        RefusedError: an id has the wrong length or is all zero, or the start is missing.

    Source: opentelemetry-proto trace/v1/trace.proto: such ids are invalid, the start is required.
    """
    if len(trace_id) != _TRACE_DIGITS or trace_id == _NO_TRACE:
        msg = f"trace_id is {shown(trace_id)}; expected 16 bytes, not all zero."
        raise RefusedError(msg)
    if len(span_id) != _SPAN_DIGITS or span_id == _NO_SPAN:
        msg = f"span_id is {shown(span_id)}; expected 8 bytes, not all zero."
        raise RefusedError(msg)
    if not start_ns:
        msg = "the start time is missing or 0; expected nanoseconds since 1970."
        raise RefusedError(msg)


def parent_id_of(parent: str) -> str | None:
    """The parent's span id; None of a root span, whose parent is empty or, from some senders, all zero.

    Raises:
        RefusedError: the parent's id has another length. To call the span a root would make a run of it.
    """
    if len(parent) == _SPAN_DIGITS and parent != _NO_SPAN:
        return parent
    if not parent or parent == _NO_SPAN:
        return None
    msg = f"parent_span_id is {shown(parent)}; expected 8 bytes, or none of a root span."
    raise RefusedError(msg)
