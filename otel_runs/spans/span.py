"""The neutral span: what every inlet hands to the mapping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

Scalar = str | bool | int | float
AttributeValue = Scalar | Sequence[Scalar] | Mapping[str, object] | bytes | None
Attributes = Mapping[str, object]

SpanKind = Literal["INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"]
StatusCode = Literal["UNSET", "OK", "ERROR"]

NO_ATTRIBUTES: Final[Attributes] = {}


class Event(NamedTuple):
    """Something that happened at one moment of a span, an exception for instance."""

    name: str
    time_ns: int
    attributes: Attributes


class Link(NamedTuple):
    """A reference to a span of this or another trace."""

    trace_id: str
    span_id: str
    attributes: Attributes


class Resource(NamedTuple):
    """What emitted the span; one for all spans of a provider."""

    attributes: Attributes


class Span(NamedTuple):
    """One span, finished or (with ``end_ns`` None) only started.

    Times are integer nanoseconds since the Unix epoch, UTC. Ids are lower-case hexadecimal: 32 digits for a trace, 16
    for a span. Source: opentelemetry-proto trace/v1/trace.proto, message Span.
    """

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    kind: SpanKind
    start_ns: int
    end_ns: int | None
    status: StatusCode
    status_message: str | None
    attributes: Attributes
    events: Sequence[Event]
    links: Sequence[Link]
    resource: Resource
    scope_name: str
    """Name of the instrumentation scope: which library made the span."""
    parent_is_remote: bool | None = None
    """Whether the parent is a span of another process; None where the sender does not say."""
    heartbeat_ns: int | None = None
    """Of an open span: when its process last said that it lives."""
    is_sampled: bool = True
    """False: the run tables get the span, and nobody who reads traces."""
