"""What one piece of a file holds: spans, started spans, or what is not ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError as ProtobufError
from google.protobuf.message import Message
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from otel_runs.errors import DecodeError
from otel_runs.importer.pieces import LARGEST
from otel_runs.importer.sources import ZSTD, zstd_decompressed
from otel_runs.spans.decoded import Decoded
from otel_runs.spans.from_jaeger import spans_from_jaeger
from otel_runs.spans.from_otlp_json import json_from_bytes, spans_from_document, started_spans_from_document
from otel_runs.spans.from_otlp_protobuf import spans_from_protobuf, started_spans_from_protobuf_logs
from otel_runs.spans.limits import Limits


class Contents(NamedTuple):
    """What a piece holds."""

    traces: Decoded
    logs: Decoded
    others: int = 0
    """Signals in it that are neither traces nor logs: metrics, profiles."""


_SPAN_ID_BYTES: Final = 8
_NOTHING: Final = Decoded([], [])
_OTHER_FIELDS: Final = frozenset({"resourceMetrics", "resourceProfiles"})
_TRACE_FIELDS: Final = frozenset({"resourceSpans"})
_LOG_FIELDS: Final = frozenset({"resourceLogs"})
_JAEGER_FIELDS: Final = frozenset({"data", "spans"})


def contents_of(body: bytes, limits: Limits, name: str) -> Contents:
    """Read a piece of a file.

    Args:
        body: JSON or protobuf, perhaps compressed with zstd.
        limits: what is read of one span at most.
        name: of the file, for messages.

    Raises:
        DecodeError: it cannot be read, or is nothing that is known.
    """
    if body.startswith(ZSTD):
        body = zstd_decompressed(body, LARGEST, name)
    if body.lstrip().startswith(b"{"):
        try:
            return _from_json(body, limits)
        except DecodeError:
            if body.startswith(b"{"):  # no protobuf message of ours begins so
                raise
    if body.lstrip().startswith(b"["):
        msg = (
            'it is a list of JSON, as Zipkin and jq write it; expected an object a line: {"resourceSpans": ...} '
            '(OTLP) or {"data": ...} (Jaeger). jq -c ".[]" writes the objects of a list so.'
        )
        raise DecodeError(msg)
    return _from_protobuf(body, limits)


def _from_json(body: bytes, limits: Limits) -> Contents:
    document = json_from_bytes(body)
    fields = document.keys()
    if fields & _JAEGER_FIELDS:
        return Contents(spans_from_jaeger(document, limits), _NOTHING)
    known = fields & (_TRACE_FIELDS | _LOG_FIELDS | _OTHER_FIELDS)
    if fields and not known:
        names = ", ".join(sorted(fields)[:5])
        msg = f"it has the fields {names[:200]}; expected resourceSpans or resourceLogs (OTLP), or data (Jaeger)."
        raise DecodeError(msg)
    return Contents(
        spans_from_document(document, limits),
        started_spans_from_document(document, limits),
        len(fields & _OTHER_FIELDS),
    )


def _from_protobuf(body: bytes, limits: Limits) -> Contents:
    signal = _signal_of(body)
    if signal is TracesData:
        return Contents(spans_from_protobuf(body, limits), _NOTHING)
    if signal is LogsData:
        return Contents(_NOTHING, started_spans_from_protobuf_logs(body, limits))
    if signal is MetricsData:
        return Contents(_NOTHING, _NOTHING, others=1)
    with suppress(DecodeError):
        decoded = spans_from_protobuf(body, limits)
        if decoded.spans:  # protobuf reads some of them
            return Contents(decoded, _NOTHING)
    msg = f"{len(body)} bytes that are neither JSON nor an OTLP protobuf message with spans, log records or metrics."
    raise DecodeError(msg)


def _signal_of(body: bytes) -> type[Message] | None:
    """What kind of message it is. The wire does not say: what would be a span's id decides, and so on."""
    if not body:
        return TracesData
    for kind, has in _SIGNS.items():
        message = kind()
        try:
            message.ParseFromString(body)
        except ProtobufError:
            continue
        if any(has(message)):
            return kind
    return None


def _spans(message: TracesData) -> Iterator[bool]:
    return (
        len(span.span_id) == _SPAN_ID_BYTES
        for of_resource in message.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    )


def _records(message: LogsData) -> Iterator[bool]:
    return (
        bool(record.time_unix_nano or record.observed_time_unix_nano)
        for of_resource in message.resource_logs
        for of_scope in of_resource.scope_logs
        for record in of_scope.log_records
    )


def _metrics(message: MetricsData) -> Iterator[bool]:
    return (
        metric.WhichOneof("data") is not None
        for of_resource in message.resource_metrics
        for of_scope in of_resource.scope_metrics
        for metric in of_scope.metrics
    )


_SIGNS: Final[dict[type[Message], Callable[..., Iterator[bool]]]] = {
    TracesData: _spans,
    LogsData: _records,
    MetricsData: _metrics,
}
"""Message -> whether each of its entries has what only such entries have."""
