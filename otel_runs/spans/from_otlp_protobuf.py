"""Neutral spans from OTLP protobuf.

Source: opentelemetry-proto trace/v1/trace.proto, logs/v1/logs.proto, common/v1/common.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from google.protobuf.message import DecodeError as ProtobufError
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, LogsData
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.proto.trace.v1.trace_pb2 import SpanFlags, TracesData

from otel_runs import attributes as key
from otel_runs.errors import DecodeError
from otel_runs.spans.decoded import Decoded, RefusedError, parent_id_of, refuse_without_identity, tell
from otel_runs.spans.protobuf_pieces import pieces
from otel_runs.spans.protobuf_repair import repaired
from otel_runs.spans.span import NO_ATTRIBUTES, Attributes, Event, Link, Resource, Span, SpanKind, StatusCode
from otel_runs.spans.started import is_start, started_span

if TYPE_CHECKING:
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue

    from otel_runs.spans.limits import Limits

M = TypeVar("M", bound=Message)

# By number; what is unspecified, or newer than this table, is what most spans are.
_KINDS: Final[dict[int, SpanKind]] = {1: "INTERNAL", 2: "SERVER", 3: "CLIENT", 4: "PRODUCER", 5: "CONSUMER"}
_STATUSES: Final[dict[int, StatusCode]] = {1: "OK", 2: "ERROR"}
_HAS_IS_REMOTE: Final = int(SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK)
_IS_REMOTE: Final = int(SpanFlags.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK)

PIECE_BYTES: Final = 262_144
"""Of a large body that are read at a time: some thousand spans."""


def parts_from_protobuf(signal: Literal["traces", "logs"], body: bytes, limits: Limits) -> Iterator[Decoded]:
    """What a body holds, a part at a time: the spans of a large one are never in memory all together.

    Args:
        signal: what the body is about.
        body: as of ``spans_from_protobuf`` and ``started_spans_from_protobuf_logs``.
        limits: what is read of one span at most.

    Raises:
        DecodeError: the body is no such message; always at once, before the first part.
    """
    kind, id_field, read = _SIGNALS[signal]
    if len(body) <= 2 * PIECE_BYTES:
        return iter([read(body, limits)])
    try:
        for piece in pieces(body, PIECE_BYTES):
            _parsed(kind, piece, id_field)
    except (DecodeError, ValueError):
        return iter([read(body, limits)])  # which says what is wrong, if protobuf finds it wrong, too
    return (read(piece, limits) for piece in pieces(body, PIECE_BYTES))


def spans_from_protobuf(body: bytes, limits: Limits) -> Decoded:
    """The spans of an ExportTraceServiceRequest or TracesData; they look the same on the wire.

    Args:
        body: the message, uncompressed.
        limits: what is read of one span at most.

    Raises:
        DecodeError: the body is no such message.
    """
    decoded = Decoded([], [])
    message, unreadable = _parsed(TracesData, body, OtlpSpan.SPAN_ID_FIELD_NUMBER)
    for id_ in unreadable:
        tell(decoded.refused, f"Span {id_[:8].hex()}", _UNREADABLE)
    for resource_spans in message.resource_spans:
        # One object for all its spans: the mapping reads it once.
        resource = Resource(_attributes(resource_spans.resource.attributes, limits))
        for scope_spans in resource_spans.scope_spans:
            scope_name = scope_spans.scope.name
            for span in scope_spans.spans:
                try:
                    decoded.spans.append(_span(span, resource, scope_name, limits))
                except RefusedError as exc:
                    tell(decoded.refused, f"Span {span.span_id[:8].hex()}", exc)
    return decoded


def started_spans_from_protobuf_logs(body: bytes, limits: Limits) -> Decoded:
    """The started spans that an ExportLogsServiceRequest or LogsData tells of; other records are counted as ignored.

    Args:
        body: the message, uncompressed.
        limits: what is read of one record at most.

    Raises:
        DecodeError: the body is no such message.
    """
    spans: list[Span] = []
    refused: list[str] = []
    message, unreadable = _parsed(LogsData, body, LogRecord.SPAN_ID_FIELD_NUMBER)
    # Ours are always readable: what others log, text that is not UTF-8 among it, is ignored either way.
    ignored = len(unreadable)
    for resource_logs in message.resource_logs:
        resource = Resource(_attributes(resource_logs.resource.attributes, limits))
        for scope_logs in resource_logs.scope_logs:
            for record in scope_logs.log_records:
                event_name = _event_name(record)
                if not is_start(event_name):
                    ignored += 1
                    continue
                try:
                    spans.append(_started(record, event_name, resource, scope_logs.scope.name, limits))
                except RefusedError as exc:
                    tell(refused, f"Log record of span {record.span_id[:8].hex()}", exc)
    return Decoded(spans, refused, ignored)


_SIGNALS: Final[dict[str, tuple[type[Message], int, Callable[[bytes, Limits], Decoded]]]] = {
    "traces": (TracesData, OtlpSpan.SPAN_ID_FIELD_NUMBER, spans_from_protobuf),
    "logs": (LogsData, LogRecord.SPAN_ID_FIELD_NUMBER, started_spans_from_protobuf_logs),
}


def _parsed(kind: type[M], body: bytes, id_field: int) -> tuple[M, list[bytes]]:
    """The message, and the span ids of entries that had to be taken out of it."""
    message: M = kind()
    try:
        message.ParseFromString(body)
    except ProtobufError as exc:
        try:
            rest = repaired(body, kind, id_field)
            message.ParseFromString(rest.body)
        except (ValueError, ProtobufError):
            msg = f"The body ({len(body)} bytes) is no OTLP protobuf message {kind.__name__}: {exc}."
            raise DecodeError(msg) from exc
        return message, rest.refused
    return message, []


_UNREADABLE: Final = (
    "protobuf cannot read it: a text in it is not UTF-8, or lists and mappings are nested more than 30 levels deep."
)


def _span(span: OtlpSpan, resource: Resource, scope_name: str, limits: Limits) -> Span:
    trace_id = span.trace_id.hex()
    span_id = span.span_id.hex()
    start_ns = span.start_time_unix_nano
    refuse_without_identity(trace_id, span_id, start_ns)
    parent = parent_id_of(span.parent_span_id.hex())
    flags = span.flags
    status = span.status
    return Span(
        trace_id,
        span_id,
        parent,
        span.name[: limits.text],
        _KINDS.get(span.kind, "INTERNAL"),
        start_ns,
        span.end_time_unix_nano or None,
        _STATUSES.get(status.code, "UNSET"),
        status.message[: limits.text] or None,
        _attributes(span.attributes, limits),
        _events(span, limits),
        _links(span, limits),
        resource,
        scope_name,
        bool(flags & _IS_REMOTE) if parent is not None and flags & _HAS_IS_REMOTE else None,
    )


def _events(span: OtlpSpan, limits: Limits) -> Sequence[Event]:
    if not span.events:  # as of most spans
        return ()
    return [
        Event(event.name[: limits.text], event.time_unix_nano, _attributes(event.attributes, limits))
        for event in _last(span.events, limits.events)
    ]


def _links(span: OtlpSpan, limits: Limits) -> Sequence[Link]:
    if not span.links:
        return ()
    # Some senders leave the span id empty: the link then is to a trace.
    return [
        Link(link.trace_id.hex(), link.span_id.hex(), _attributes(link.attributes, limits))
        for link in _last(span.links, limits.links)
    ]


def _last(items: Sequence[Any], most: int) -> Sequence[Any]:
    return items if len(items) <= most else items[len(items) - most :]


def _attributes(pairs: Sequence[KeyValue], limits: Limits) -> Attributes:
    if not pairs:
        return NO_ATTRIBUTES
    if len(pairs) > limits.attributes:
        pairs = pairs[: limits.attributes]
    return _mapping(pairs, limits, limits.depth)


def _mapping(pairs: Iterable[KeyValue], limits: Limits, depth: int) -> dict[str, object]:
    """The loop in which decoding spends its time."""
    longest = limits.text
    found: dict[str, object] = {}
    for pair in pairs:
        value = pair.value
        # Only one field is set, and others read as nothing. Most values are texts, then numbers: to look for these
        # first takes two thirds of the time of ListFields, which takes two thirds of that of WhichOneof and getattr.
        if text := value.string_value:
            found[pair.key] = text if len(text) <= longest else text[:longest]
        elif number := value.int_value:
            found[pair.key] = number
        else:
            found[pair.key] = _other(value.ListFields(), limits, depth)
    return found


def _other(fields: Sequence[tuple[Any, Any]], limits: Limits, depth: int) -> object:
    """What an AnyValue holds; None where it is not reported, too deep, or of a kind that is for other signals."""
    if not fields:
        return None
    field, value = fields[0]
    number = field.number
    if number in _AS_THEY_ARE:
        return value
    if number in _TEXTS:
        return value[: limits.text]
    if depth == 0:
        return None
    if number == AnyValue.ARRAY_VALUE_FIELD_NUMBER:
        return tuple([_other(item.ListFields(), limits, depth - 1) for item in value.values])
    if number == AnyValue.KVLIST_VALUE_FIELD_NUMBER:
        return _mapping(value.values, limits, depth - 1)
    return None


_AS_THEY_ARE: Final = frozenset(
    {AnyValue.INT_VALUE_FIELD_NUMBER, AnyValue.DOUBLE_VALUE_FIELD_NUMBER, AnyValue.BOOL_VALUE_FIELD_NUMBER}
)
_TEXTS: Final = frozenset({AnyValue.STRING_VALUE_FIELD_NUMBER, AnyValue.BYTES_VALUE_FIELD_NUMBER})


def _event_name(record: LogRecord) -> str:
    name = _own_event_name(record)
    return name or next((pair.value.string_value for pair in record.attributes if pair.key == key.EVENT_NAME), "")


def _own_event_name(record: LogRecord) -> str:
    if _KNOWS_EVENT_NAMES:
        return record.event_name
    unknown = [field.data for field in UnknownFieldSet(record) if field.field_number == _EVENT_NAME_FIELD]
    return unknown[-1].decode(errors="replace") if unknown and isinstance(unknown[-1], bytes) else ""


_KNOWS_EVENT_NAMES: Final = "event_name" in LogRecord.DESCRIPTOR.fields_by_name
"""False with opentelemetry-proto before 1.30."""
_EVENT_NAME_FIELD: Final = 12


def _started(record: LogRecord, event_name: str, resource: Resource, scope_name: str, limits: Limits) -> Span:
    return started_span(
        event_name=event_name,
        trace_id=record.trace_id.hex(),
        span_id=record.span_id.hex(),
        time_ns=record.time_unix_nano or record.observed_time_unix_nano,
        attributes=dict(_attributes(record.attributes, limits)),
        resource=resource,
        scope_name=scope_name,
    )
