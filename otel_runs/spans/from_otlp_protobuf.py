"""Neutral spans from OTLP protobuf.

Source: opentelemetry-proto trace/v1/trace.proto, logs/v1/logs.proto, common/v1/common.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from google.protobuf.message import DecodeError as ProtobufError
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1 import logs_pb2
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.trace.v1 import trace_pb2
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.proto.trace.v1.trace_pb2 import SpanFlags

from otel_runs import attributes as key
from otel_runs.errors import DecodeError
from otel_runs.spans.decoded import Decoded, RefusedError, named, parent_id_of, refuse_without_identity, tell
from otel_runs.spans.protobuf_attributes import UNREADABLE, attributes_from_messages, known_pairs
from otel_runs.spans.protobuf_messages import LogsData, TracesData
from otel_runs.spans.protobuf_pieces import pieces
from otel_runs.spans.protobuf_repair import repaired
from otel_runs.spans.sizes import UNBOUNDED, Allowance, require_few_fields
from otel_runs.spans.span import Attributes, Event, Link, Resource, Span, SpanKind, StatusCode
from otel_runs.spans.started import is_start, started_span

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from otel_runs.spans.limits import Limits

# By number; what is unspecified, or newer than this table, is what most spans are.
_KINDS: Final[dict[int, SpanKind]] = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}
_STATUSES: Final[dict[int, StatusCode]] = {1: "OK", 2: "ERROR"}
_HAS_IS_REMOTE: Final = int(SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
_IS_REMOTE: Final = int(SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)

_LARGE_BYTES: Final = 524_288
"""Of a body; one that has more is read piece by piece."""
PIECE_BYTES: Final = 131_072
"""Of a large body that are read at a time: some hundred spans."""


def parts_from_protobuf(signal: Literal["traces", "logs"], body: bytes, limits: Limits) -> Iterator[Decoded]:
    """What a body holds, a part at a time: the spans of a large one are never in memory all together.

    Args:
        signal: what the body is about.
        body: as of ``spans_from_protobuf`` and ``started_spans_from_protobuf_logs``.
        limits: what is read of one span at most.

    Raises:
        DecodeError: the body is no such message; always at once, before the first part.
        TooLargeError: it holds too many things for its size, or too many at all; as above.
    """
    about, read = _SIGNALS[signal]
    allowance = Allowance(len(body))
    if len(body) <= _LARGE_BYTES:
        return iter([read(body, limits, allowance)])
    try:
        cut = pieces(body, PIECE_BYTES, Allowance(len(body)))
        for piece in cut:
            require_few_fields(piece, about.official.DESCRIPTOR)
            _parsed(about, piece, limits, allowance)
    except (DecodeError, ValueError) as exc:
        msg = _no_message(body, about.kind, exc.__cause__ or exc)
        raise DecodeError(msg) from exc
    return (read(piece, limits) for piece in cut)


def spans_from_protobuf(body: bytes, limits: Limits, allowance: Allowance = UNBOUNDED) -> Decoded:
    """The spans of an ExportTraceServiceRequest or TracesData; they look the same on the wire.

    Args:
        body: the message, uncompressed.
        limits: what is read of one span at most.
        allowance: takes what the message holds.

    Raises:
        DecodeError: the body is no such message.
        TooLargeError: it holds more than is allowed.
    """
    decoded = Decoded([], [])
    parsed = _parsed(_TRACES, body, limits, allowance)
    for id_ in parsed.unreadable:
        tell(decoded.refused, f"Span {id_[:8].hex()}", UNREADABLE)
    for resource_spans in parsed.message.resource_spans:
        # One object for all its spans: the mapping reads it once.
        resource = Resource(attributes_from_messages(resource_spans.resource.attributes, limits))
        for scope_spans in resource_spans.scope_spans:
            scope_name = scope_spans.scope.name
            for span in scope_spans.spans:
                try:
                    decoded.spans.append(_span(span, resource, scope_name, limits, parsed.read))
                except RefusedError as exc:
                    tell(decoded.refused, named(span.span_id[:8].hex(), span.name), exc)
    return decoded


def started_spans_from_protobuf_logs(body: bytes, limits: Limits, allowance: Allowance = UNBOUNDED) -> Decoded:
    """The started spans that an ExportLogsServiceRequest or LogsData tells of; other records are counted as ignored.

    Args:
        body: the message, uncompressed.
        limits: what is read of one record at most.
        allowance: takes what the message holds.

    Raises:
        DecodeError: the body is no such message.
        TooLargeError: it holds more than is allowed.
    """
    spans: list[Span] = []
    refused: list[str] = []
    parsed = _parsed(_LOGS, body, limits, allowance)
    # Ours are always readable: what others log, text that is not UTF-8 among it, is ignored either way.
    ignored = len(parsed.unreadable)
    for resource_logs in parsed.message.resource_logs:
        resource = Resource(attributes_from_messages(resource_logs.resource.attributes, limits))
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                event_name = _event_name(record)
                if not is_start(event_name):
                    ignored += 1
                    continue
                try:
                    spans.append(_started(record, event_name, resource, scope_logs.scope.name, parsed.read))
                except RefusedError as exc:
                    tell(refused, f"Log record of span {record.span_id[:8].hex()}", exc)
    return Decoded(spans, refused, ignored)


_Read = Callable[[Sequence[Any]], Attributes]


class _Signal(NamedTuple):
    """How the messages of traces and logs are parsed."""

    kind: type[Any]
    whole: type[Any] | None
    """The same message with attributes as messages; None: it is never better, as most entries are ignored."""
    id_field: int
    """Number of the field in which an entry has its span's id."""
    official: type[Message]
    """The message with all that is in it."""
    fields: tuple[str, str, str]
    """Names of the fields that hold the resources, their scopes, their entries."""


_TRACES: Final = _Signal(
    TracesData,
    trace_pb2.TracesData,
    OtlpSpan.SPAN_ID_FIELD_NUMBER,
    trace_pb2.TracesData,
    ("resource_spans", "scope_spans", "spans"),
)
_LOGS: Final = _Signal(
    LogsData, None, LogRecord.SPAN_ID_FIELD_NUMBER, logs_pb2.LogsData, ("resource_logs", "scope_logs", "log_records")
)
_SIGNALS: Final[dict[str, tuple[_Signal, Callable[..., Decoded]]]] = {
    "traces": (_TRACES, spans_from_protobuf),
    "logs": (_LOGS, started_spans_from_protobuf_logs),
}


class _Parsed(NamedTuple):
    """A body of which nothing can be wrong any more but single entries."""

    message: Any
    read: _Read
    """Reads attributes of entries."""
    unreadable: list[bytes]
    """The span ids of entries that had to be taken out."""


def _parsed(signal: _Signal, body: bytes, limits: Limits, allowance: Allowance) -> _Parsed:
    known = known_pairs(limits)
    kind, read = signal.kind, known.attributes
    if signal.whole is not None and known.rests(len(body)):
        kind, read = signal.whole, partial(attributes_from_messages, limits=limits)
    message = kind()
    unreadable: list[bytes] = []
    try:
        message.ParseFromString(body)
    except ProtobufError as exc:
        try:
            rest = repaired(body, kind, signal.id_field, allowance)  # counts what it walks through, all that is there
            message.ParseFromString(rest.body)
        except (ValueError, ProtobufError):
            raise DecodeError(_no_message(body, kind, exc)) from exc
        unreadable = rest.refused
    else:
        _count(message, signal, allowance)
    return _Parsed(message, read, unreadable)


def _no_message(body: bytes, kind: type[Any], why: BaseException) -> str:
    return f"The body ({len(body)} bytes) is no OTLP protobuf message {kind.__name__}: {str(why).rstrip('.')}."


def _count(message: Any, signal: _Signal, allowance: Allowance) -> None:
    """Let the allowance take what a message holds; of spans only their number is looked at."""
    resources, scopes, entries = signal.fields
    for of_resource in getattr(message, resources):
        of_scopes = getattr(of_resource, scopes)
        allowance.take(1 + len(of_scopes))
        for of_scope in of_scopes:
            allowance.take(len(getattr(of_scope, entries)))


_new: Final = tuple.__new__


def _span(span: Any, resource: Resource, scope_name: str, limits: Limits, read: _Read) -> Span:
    trace_id = span.trace_id.hex()
    span_id = span.span_id.hex()
    start_ns = span.start_time_unix_nano
    refuse_without_identity(trace_id, span_id, start_ns)
    parent = parent_id_of(span.parent_span_id.hex())
    flags = span.flags
    status = span.status
    # Not Span(...): the constructor that NamedTuple writes is Python, and takes 0.3 us more.
    return _new(
        Span,
        (
            trace_id,
            span_id,
            parent,
            span.name[: limits.text],
            _KINDS.get(span.kind, "INTERNAL"),
            start_ns,
            span.end_time_unix_nano or None,
            _STATUSES.get(status.code, "UNSET"),
            status.message[: limits.text] or None,
            read(span.attributes),
            _events(span, limits, read),
            _links(span, limits, read),
            resource,
            scope_name,
            bool(flags & _IS_REMOTE) if parent is not None and flags & _HAS_IS_REMOTE else None,
            None,
            True,
        ),
    )


def _events(span: Any, limits: Limits, read: _Read) -> Sequence[Event]:
    events = span.events
    if not events:  # as of most spans
        return ()
    return [
        Event(event.name[: limits.text], event.time_unix_nano, read(event.attributes))
        for event in _last(events, limits.events)
    ]


def _links(span: Any, limits: Limits, read: _Read) -> Sequence[Link]:
    links = span.links
    if not links:
        return ()
    # Some senders leave the span id empty: the link then is to a trace.
    return [Link(link.trace_id.hex(), link.span_id.hex(), read(link.attributes)) for link in _last(links, limits.links)]


def _last(items: Sequence[Any], most: int) -> Sequence[Any]:
    return items if len(items) <= most else items[len(items) - most :]


def _event_name(record: Any) -> str:
    return _own_event_name(record) or next(filter(None, map(_told_event_name, record.attributes)), "")


def _own_event_name(record: Any) -> str:
    if _KNOWS_EVENT_NAMES:
        return str(record.event_name)
    unknown = [field.data for field in UnknownFieldSet(record) if field.field_number == _EVENT_NAME_FIELD]
    return unknown[-1].decode(errors="replace") if unknown and isinstance(unknown[-1], bytes) else ""


_KNOWS_EVENT_NAMES: Final = "event_name" in LogRecord.DESCRIPTOR.fields_by_name
"""False with opentelemetry-proto before 1.30."""
_EVENT_NAME_FIELD: Final = 12
_EVENT_NAME: Final = key.EVENT_NAME.encode()


def _told_event_name(pair: bytes) -> str:
    """The name that an attribute tells, from senders older than the field; "" of another attribute."""
    if _EVENT_NAME not in pair:
        return ""
    try:
        message = KeyValue.FromString(pair)
    except ProtobufError:
        return ""
    return message.value.string_value if message.key == key.EVENT_NAME else ""


def _started(record: Any, event_name: str, resource: Resource, scope_name: str, read: _Read) -> Span:
    return started_span(
        event_name=event_name,
        trace_id=record.trace_id.hex(),
        span_id=record.span_id.hex(),
        time_ns=record.time_unix_nano or record.observed_time_unix_nano,
        attributes=dict(read(record.attributes)),
        resource=resource,
        scope_name=scope_name,
    )
